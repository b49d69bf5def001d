"""picows_codec.log_text: nothing that is written by others begins a line of its own."""

from __future__ import annotations

import pytest

from picows_codec import log_text
from picows_codec.log_text import one_line, quoted


def test_names() -> None:
    assert log_text.__all__ == ["one_line", "quoted"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("plain, gr\u00fcn, \u4e2d", "plain, gr\u00fcn, \u4e2d"),
        ("a\r\nb\tc\0", r"a\r\nb\tc\x00"),
        ("\u2028\udcff\x1b[31m", r"\u2028\udcff\x1b[31m"),
        (ValueError("a\nb"), r"a\nb"),
        (KeyError(), "KeyError()"),
    ],
)
def test_one_line(text: object, line: str) -> None:
    assert one_line(text) == line


def test_quoted() -> None:
    assert quoted("a\r\n'\x1b\udcff") == r'''"a\r\n'\x1b\udcff"'''
    assert quoted("a" * 100) == f"'{'a' * 100}'"
    assert quoted("a" * 101) == f"'{'a' * 100}'..."
