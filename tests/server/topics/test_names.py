"""Names of topics: which are refused, and how the errors say so."""

from __future__ import annotations

from typing import Any

import pytest

from picows_server.topics import WSTopicError
from picows_server.topics.names import checked_name, shown


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


@pytest.mark.parametrize("name", [None, 1, b"x", ["x"]])
def test_no_name(name: Any) -> None:
    with pytest.raises(TypeError, match="topic must be a str"):
        checked_name(name, None)


def test_a_long_name_in_an_error() -> None:
    assert checked_name("x" * 5000, None)
    assert len(shown("x" * 5000)) < 110
