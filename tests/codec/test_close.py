from __future__ import annotations

import ctypes
from typing import Optional, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picows_codec import close as close_module
from picows_codec.close import encode_close_payload
from picows_codec.constants import WSCloseCode
from picows_codec.errors import WSInvalidCloseError
from tests.support.capi import c_function

# RFC 6455, 7.4, and the IANA registry: 1012-1014 were registered after it.
ALLOWED = {1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)}
LIMITS = "1000-1003, 1007-1014, 3000-4999, or None"

NO_VIOLATION = 0
CLOSE_PAYLOAD = -12
CLOSE_CODE = -13
CLOSE_REASON = -14

ws_close_code_allowed = c_function(
    close_module, "ws_close_code_allowed", ctypes.c_int, ctypes.c_int
)
ws_check_close_payload = c_function(
    close_module,
    "ws_check_close_payload",
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_size_t,
    ctypes.POINTER(ctypes.c_int),
)


def check(payload: bytes) -> Tuple[int, Optional[int]]:
    """The violation, and the code that was set."""
    untouched = -77
    code = ctypes.c_int(untouched)
    violation = ws_check_close_payload(payload, len(payload), ctypes.byref(code))
    return violation, None if code.value == untouched else code.value


def test_every_code() -> None:
    assert {code for code in range(65_536) if ws_close_code_allowed(code)} == ALLOWED
    for code in range(65_536):
        payload = code.to_bytes(2, "big")
        expected = (NO_VIOLATION, code) if code in ALLOWED else (CLOSE_CODE, None)
        assert check(payload) == expected
        if code in ALLOWED:
            assert encode_close_payload(code) == payload
        elif code != WSCloseCode.NO_STATUS_RECEIVED:
            with pytest.raises(WSInvalidCloseError):
                encode_close_payload(code)


@pytest.mark.parametrize("code", [-1, -1000, 65_536, 66_536, 2**31 - 1, -(2**31)])
def test_numbers_that_are_no_codes(code: int) -> None:
    assert not ws_close_code_allowed(code)


def test_check_close_payload() -> None:
    assert check(b"") == (NO_VIOLATION, 1005)
    assert check(b"\x03") == (CLOSE_PAYLOAD, None)
    assert check(b"\x03\xe8") == (NO_VIOLATION, 1000)
    assert check(b"\x03\xe8" + "r\u00e9ason".encode()) == (NO_VIOLATION, 1000)
    assert check(b"\x03\xe8" + b"x" * 123) == (NO_VIOLATION, 1000)
    assert check(b"\x03\xe8" + b"\xe2\x82") == (CLOSE_REASON, None)
    assert check(b"\x03\xe8" + b"x" * 100 + b"\xff") == (CLOSE_REASON, None)
    assert check(b"\x03\xed" + b"\xff") == (CLOSE_CODE, None)


@pytest.mark.parametrize(
    ("arguments", "payload"),
    [
        ((None,), b""),
        ((None, None), b""),
        ((None, ""), b""),
        ((1000,), b"\x03\xe8"),
        ((WSCloseCode.GOING_AWAY, None), b"\x03\xe9"),
        ((1000, ""), b"\x03\xe8"),
        ((4999, "bye"), b"\x13\x87bye"),
        ((3000, b"bye"), b"\x0b\xb8bye"),
        ((3000, bytearray(b"bye")), b"\x0b\xb8bye"),
        ((3000, memoryview(b"bye")), b"\x0b\xb8bye"),
        ((1000, "\u20ac" * 41), b"\x03\xe8" + b"\xe2\x82\xac" * 41),
        ((1000, b"x" * 123), b"\x03\xe8" + b"x" * 123),
    ],
)
def test_encode(arguments: tuple, payload: bytes) -> None:
    encoded = encode_close_payload(*arguments)
    assert type(encoded) is bytes
    assert encoded == payload


@given(code=st.sampled_from(sorted(ALLOWED)), reason=st.text(max_size=30))
def test_round_trip(code: int, reason: str) -> None:
    payload = encode_close_payload(code, reason=reason)
    assert check(payload) == (NO_VIOLATION, code)
    assert payload[2:].decode() == reason
    assert payload == encode_close_payload(code, reason.encode())


@pytest.mark.parametrize("code", [None, 1005, WSCloseCode.NO_STATUS_RECEIVED, WSCloseCode.NO_INFO])
@pytest.mark.parametrize("reason", [None, "", b""])
def test_no_code_is_sent_as_it_is_reported(code: Optional[int], reason: object) -> None:
    assert encode_close_payload(code, reason) == b""


@pytest.mark.parametrize(
    "code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65_536, -1, 10**30, WSCloseCode.NO_INFO]
)
def test_wrong_code_is_named_with_the_limits(code: int) -> None:
    with pytest.raises(WSInvalidCloseError, match=f"close code {int(code)} .* {LIMITS}"):
        encode_close_payload(code, "reason")


@pytest.mark.parametrize(
    ("code", "reason", "message"),
    [
        (1000, "x" * 124, "124 bytes long in UTF-8, a close frame has room for 123"),
        (1000, "\u20ac" * 42, "126 bytes long"),
        (1000, b"x" * 1000, "1000 bytes long"),
        (1000, "abc\ud800", "surrogate at index 3"),
        (1000, b"\xff", r"b'\\xff' is not valid UTF-8"),
        (1000, bytearray(b"\xe2\x82"), "is not valid UTF-8"),
        (None, "reason", "without a close code"),
        (None, b"reason", "without a close code"),
    ],
)
def test_wrong_reason(code: Optional[int], reason: object, message: str) -> None:
    with pytest.raises(WSInvalidCloseError, match=message):
        encode_close_payload(code, reason)


@pytest.mark.parametrize(
    ("code", "reason", "message"),
    [
        ("1000", None, "close code must be an int or None, not str"),
        (1000.0, None, "close code must be an int or None, not float"),
        (b"\x03\xe8", None, "close code must be an int or None, not bytes"),
        (1000, 5, "close reason must be str, bytes-like or None, not int"),
        (1000, ["x"], "close reason must be str, bytes-like or None, not list"),
    ],
)
def test_wrong_type(code: object, reason: object, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        encode_close_payload(code, reason)
