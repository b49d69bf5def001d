"""What peers name: what is refused, and how the errors say so."""

from __future__ import annotations

from typing import Any, List

import pytest

from picows_server.topics import Position, WSTopicError
from picows_server.topics.names import (
    checked_count,
    checked_key,
    checked_name,
    checked_position,
    shown,
)

# What a peer's JSON may have in place of anything.
ANYTHING: List[Any] = [1, 1.5, True, b"x", ["x"], {"x": 1}, [[[[]]]] * 1000, 10**5000]


@pytest.mark.parametrize("name", ["x", "book.BTC", "b\u00fcch\u00e4r", "a b", "x" * 10])
def test_names(name: str) -> None:
    assert checked_name(name, 10) is name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("", "must not be empty"),
        ("x" * 11, "'xxxxxxxxxxx' has 11 characters, and max_topic_length is 10"),
        ("a\nb", r"'a\\nb' has characters that cannot be printed"),
        ("\ud800", "cannot be printed"),
    ],
)
def test_names_that_are_refused(name: str, text: str) -> None:
    with pytest.raises(WSTopicError, match=text) as caught:
        checked_name(name, 10)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("wrong", [*ANYTHING, None], ids=lambda wrong: type(wrong).__name__)
def test_no_name(wrong: Any) -> None:
    with pytest.raises(WSTopicError, match="topic must be a str, not ") as caught:
        checked_name(wrong, None)
    assert len(str(caught.value)) < 150


def test_keys() -> None:
    for key in (None, "", "x" * 10, "a\nb", "\ud800"):
        assert checked_key(key, 10) is key
    with pytest.raises(WSTopicError, match=r"'xxxxxxxxxxx' has 11 characters.* is 10"):
        checked_key("x" * 11, 10)


@pytest.mark.parametrize("wrong", ANYTHING, ids=lambda wrong: type(wrong).__name__)
def test_no_key(wrong: Any) -> None:
    with pytest.raises(WSTopicError, match="key must be a str or None, not ") as caught:
        checked_key(wrong, None)
    assert len(str(caught.value)) < 150


def test_positions() -> None:
    assert checked_position(None) is None
    for since in ((5, "x"), [5, "x"], Position(5, "x")):
        assert checked_position(since) == Position(5, "x")
    assert checked_position((0, "")) == Position(0, "")
    assert checked_position((2**63 - 1, "x")) == Position(2**63 - 1, "x")


@pytest.mark.parametrize(
    "wrong",
    [
        *ANYTHING,
        *("", "1x", (1,), ("1", "x"), (1, 2), (True, "x"), (1.5, "x"), (1, None), (1, "x", "y")),
        *((-1, "x"), (2**63, "x"), (10**5000, "x")),
    ],
    ids=lambda wrong: type(wrong).__name__,
)
def test_no_position(wrong: Any) -> None:
    with pytest.raises(WSTopicError, match=r"since must be a Position, .* not ") as caught:
        checked_position(wrong)
    assert len(str(caught.value)) < 200


def test_counts() -> None:
    assert [checked_count(last) for last in (0, 7, 10**30)] == [0, 7, 10**30]


@pytest.mark.parametrize(
    "wrong", [*ANYTHING[1:-1], None, -1, "1"], ids=lambda wrong: type(wrong).__name__
)
def test_no_count(wrong: Any) -> None:
    with pytest.raises(WSTopicError, match="last must be a number of messages from 0, not "):
        checked_count(wrong)


def test_a_long_name_in_an_error() -> None:
    assert checked_name("x" * 5000, None)
    assert len(shown("x" * 5000)) < 110
