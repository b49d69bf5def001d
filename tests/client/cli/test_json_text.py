"""JSON in lines: the text of every value stays as it was."""

from __future__ import annotations

import json
import re

import pytest

from picows_client.cli.json_text import pretty_json


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            '{"a":[1,2.500,{}],"b":[]}',
            '{\n  "a": [\n    1,\n    2.500,\n    {}\n  ],\n  "b": []\n}',
        ),
        ("  [ ]  ", "[]"),
        ('"a: {b, \\"c\\"}"', '"a: {b, \\"c\\"}"'),
        ("1e400", "1e400"),
        ('{"a":1,"a":2}', '{\n  "a": 1,\n  "a": 2\n}'),
        ("0.100000000000000000001", "0.100000000000000000001"),
        ("[true,false,null]", "[\n  true,\n  false,\n  null\n]"),
        ('"\\u001b"', '"\\u001b"'),
    ],
)
def test_layout(text: str, lines: str) -> None:
    assert pretty_json(text) == lines


@pytest.mark.parametrize(
    "text", ["", "hello", "{", "[1,]", '{"a"}', '"\x1b"', "[" * 102 + "]" * 102, "[" * 10**6]
)
def test_what_is_no_json(text: str) -> None:
    assert pretty_json(text) is None


def test_long_numbers() -> None:
    digits = "7" * 10_000
    assert pretty_json(f"[{digits}]") == f"[\n  {digits}\n]"


def test_it_is_the_layout_of_the_standard_library() -> None:
    value = {"a": [1, {"b": None}, [], {}], "c": {"d": 'e,:[]{}"\\'}, "f": -1.5e-7}
    assert pretty_json(json.dumps(value)) == json.dumps(value, indent=2)


def test_colours_change_nothing_else() -> None:
    text = '{"key":"value","n":[1,true]}'
    coloured = pretty_json(text, is_coloured=True)
    assert coloured is not None
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == pretty_json(text)
    assert '\x1b[34;1m"key"\x1b[0m: \x1b[32m"value"\x1b[0m' in coloured
    assert "\x1b[36m1\x1b[0m" in coloured
    assert "\x1b[35mtrue\x1b[0m" in coloured


def test_harmless_for_a_terminal() -> None:
    assert pretty_json('["\u202e\x9b"]', is_for_terminal=True) == '[\n  "\\u202e\\x9b"\n]'
    assert pretty_json('["\u202e"]') == '[\n  "\u202e"\n]'
