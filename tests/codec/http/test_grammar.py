from __future__ import annotations

from typing import List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picows_codec.http.grammar import is_field_value, is_token, list_contains, list_elements

# Tokens and values

LINE_BYTES = frozenset([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
EVERY_BYTE = range(256)


def test_token() -> None:
    assert is_token(b"a")
    assert not is_token(b"")
    assert not is_token(b"a ")


def test_every_byte_in_a_value() -> None:
    for byte in EVERY_BYTE:
        assert is_field_value(bytes([byte])) == (byte in LINE_BYTES)
        assert is_field_value(bytes([0x61, byte])) == (byte in LINE_BYTES)


def test_empty_value() -> None:
    assert is_field_value(b"")


# Lists


@pytest.mark.parametrize(
    ("value", "elements"),
    [
        (b"", []),
        (b",", []),
        (b" , \t,", []),
        (b"a", [b"a"]),
        (b"a,b", [b"a", b"b"]),
        (b" a ,\tb\t, c d ,,", [b"a", b"b", b"c d"]),
    ],
)
def test_list(value: bytes, elements: List[bytes]) -> None:
    assert list_elements(value) == elements


@given(
    st.lists(
        st.tuples(
            st.text("abc-1", max_size=3).map(str.encode),
            st.sampled_from([b"", b" ", b"\t "]),
            st.sampled_from([b"", b" "]),
        )
    )
)
def test_list_round_trip(parts: List[tuple]) -> None:
    value = b",".join(before + element + after for element, before, after in parts)
    assert list_elements(value) == [element for element, _, _ in parts if element]


@pytest.mark.parametrize(
    "value",
    [b"upgrade", b"UPGRADE", b"Upgrade", b"keep-alive, Upgrade", b",a,uPgRaDe ,b", b"\tupgrade"],
)
def test_list_contains(value: bytes) -> None:
    assert list_contains(value, b"upgrade")


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"upgrad",
        b"upgrades",
        b"no-upgrade",
        b"up grade",
        b"a upgrade",
        b"upgrade;q=1",
        b'"upgrade"',
    ],
)
def test_list_does_not_contain(value: bytes) -> None:
    assert not list_contains(value, b"upgrade")


def test_case_is_that_of_letters_only() -> None:
    # "[" and "{", "\x0d" and "-", "@" and "`" differ in the same bit as letters do.
    assert not list_contains(b"keep\x0dalive", b"keep-alive")
    assert not list_contains(b"@", b"`")
    assert not list_contains(b"[", b"{")


@given(st.binary(max_size=64))
def test_any_bytes_are_survived(data: bytes) -> None:
    assert is_token(data) in (True, False)
    assert len(b"".join(list_elements(data))) <= len(data)
