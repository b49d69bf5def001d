"""What a message looks like in a pipe and on a terminal."""

from __future__ import annotations

import gzip
import re
from typing import Any, Union

import pytest

from picows_client.cli.arguments import parsed
from picows_client.cli.rendering import Rendering


def render(payload: Union[str, bytes], words: str = "", **options: Any) -> bytes:
    options = {"is_terminal": False, **options}
    return Rendering(parsed([*words.split(), "ws://host"]), **options).render(payload)


@pytest.mark.parametrize(
    ("payload", "words", "printed"),
    [
        ("żółw", "", "żółw\n".encode()),
        ("a\x1b[31m\r\nb\u202e", "", "a\x1b[31m\r\nb\u202e\n".encode()),
        (b"\x00\xff\n", "", b"\x00\xff\n"),
        (b"\x00\xff", "-b", b"00ff\n"),
        ("text", "-b", b"text\n"),
        ('{"a":1}', "--json", b'{\n  "a": 1\n}\n'),
        ("no json", "--json", b"no json\n"),
        (b"\x01", "--json", b"\x01"),
        (gzip.compress(b"text", mtime=0), "--gunzip", b"text\n"),
        (gzip.compress(b"\xff", mtime=0), "--gunzip", b"\xff"),
        (gzip.compress(b"[1]", mtime=0), "--gunzip --json", b"[\n  1\n]\n"),
        (gzip.compress(b"\xff", mtime=0), "--gunzip -b", b"ff\n"),
        (b"\x01", "--gunzip", b"\x01"),
        ("text", "--gunzip", b"text\n"),
    ],
)
def test_pipe(payload: Union[str, bytes], words: str, printed: bytes) -> None:
    assert render(payload, words) == printed


@pytest.mark.parametrize(
    ("payload", "words", "printed"),
    [
        ("żółw", "", "< żółw\n"),
        ("a\x1b[31m\r\n< b", "", "< a\\x1b[31m\\r\n  < b\n"),
        (b"\x00\xff", "", "< (2 bytes) 00ff\n"),
        (bytes(100), "", f"< (100 bytes) {'00' * 32}...\n"),
        (bytes(100), "-b", f"< {'00' * 100}\n"),
        ('["\u202e"]', "--json", '< [\n    "\\u202e"\n  ]\n'),
        (gzip.compress(b"a\x1bb", mtime=0), "--gunzip", "< a\\x1bb\n"),
    ],
)
def test_terminal(payload: Union[str, bytes], words: str, printed: str) -> None:
    assert render(payload, words, is_terminal=True, prefix="< ").decode() == printed


def test_bomb() -> None:
    data = gzip.compress(bytes(17 * 1024 * 1024))
    assert render(data, "--gunzip") == data
    shown = render(data, "--gunzip", is_terminal=True).decode()
    assert shown.endswith("... (it inflates to more than 16777216 bytes)\n")


def test_terminal_of_another_encoding() -> None:
    printed = render("a亀", is_terminal=True, encoding="ascii")
    assert printed == b"a\\u4e80\n"


@pytest.mark.parametrize("payload", ["text", b"\x01"])
def test_timestamps(payload: Union[str, bytes]) -> None:
    moments = [
        (0, 500_000_000),
        (1_000_123_456_789, 1_000_000_000),
        (1_002_000_000_000, 3_250_000_000),
    ]
    rendering = Rendering(
        parsed(["-t", "ws://host"]), is_terminal=False, clock=lambda: moments.pop(0)
    )
    pattern = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.(\d{6}) \+(\d+\.\d{6}) (text|01)\n"
    gaps = []
    rendering.start_gaps()
    for _ in range(2):
        found = re.fullmatch(pattern, rendering.render(payload).decode())
        assert found is not None
        gaps.append((found[1], found[2]))
    assert gaps == [("123456", "0.500000"), ("000000", "2.250000")]
    assert re.fullmatch(pattern, render(payload, "-t").decode())
