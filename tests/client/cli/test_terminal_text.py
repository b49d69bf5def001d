"""What a peer wrote must not act on a terminal."""

from __future__ import annotations

import unicodedata

import pytest

from picows_client.cli.terminal_text import harmless, indented


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, żółw, 亀, 🐢\tand\nlines", "plain, żółw, 亀, 🐢\tand\nlines"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x9b1m\x90q\x9c", "\\x9b1m\\x90q\\x9c"),
        ("over\rwritten\x08\x7f", "over\\rwritten\\x08\\x7f"),
        ("user\u202egpj.exe\u2066\u2069", "user\\u202egpj.exe\\u2066\\u2069"),
        ("a\u2028b\u2029c", "a\\u2028b\\u2029c"),
        ("\ufeff\u200b\U000e0041", "\\ufeff\\u200b\\U000e0041"),
        ("\ud800", "\\ud800"),
        ("👩\u200d💻", "👩\u200d💻"),
    ],
)
def test_harmless(text: str, shown: str) -> None:
    assert harmless(text) == shown


def test_every_control_character_is_escaped() -> None:
    controls = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == "Cc"]
    assert len(controls) == 65
    kept = [character for character in controls if harmless(character) == character]
    assert kept == ["\t", "\n"]


def test_every_bidirectional_control_is_escaped() -> None:
    kinds = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    for code in range(0x110000):
        if unicodedata.bidirectional(chr(code)) in kinds:
            assert harmless(chr(code)) != chr(code)


def test_indented() -> None:
    assert indented("one\n< two\nthree", 2) == "one\n  < two\n  three"
    assert indented("one", 2) == "one"
