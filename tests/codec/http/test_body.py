from __future__ import annotations

import sys
from typing import List, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picows_codec.http.body import ChunkedDecoder, parse_content_length

# Content-Length


@pytest.mark.parametrize(
    ("value", "length"),
    [
        (b"0", 0),
        (b"000", 0),
        (b"17", 17),
        (b"0017", 17),
        (str(sys.maxsize // 10).encode(), sys.maxsize // 10),
        (str(sys.maxsize + 1).encode(), sys.maxsize),
        (b"9" * 100, sys.maxsize),
        (b"", None),
        (b"-1", None),
        (b"+1", None),
        (b"1 ", None),
        (b"1, 1", None),
        (b"0x1", None),
        (b"1.0", None),
        (b"9" * 100 + b"x", None),
    ],
)
def test_content_length(value: bytes, length: Optional[int]) -> None:
    assert parse_content_length(value) == length


# Chunked

CHUNKED = b'4\r\nWiki\r\n0a ;name="v"\r\n0123456789\r\n000\r\nTrailer: x\r\n\r\n'
CONTENT = b"Wiki0123456789"


def test_chunked_whole() -> None:
    decoder = ChunkedDecoder()
    assert decoder.feed(CHUNKED) == CONTENT
    assert decoder.done
    assert not decoder.broken
    assert decoder.feed(b"4\r\nmore\r\n") == b""


def test_chunked_byte_by_byte() -> None:
    decoder = ChunkedDecoder()
    content = b"".join(decoder.feed(bytes([byte])) for byte in CHUNKED)
    assert content == CONTENT
    assert decoder.done


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=5), st.integers(1, 50))
def test_chunked_round_trip(chunks: List[bytes], step: int) -> None:
    coded = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    decoder = ChunkedDecoder()
    content = b"".join(
        decoder.feed(coded[start : start + step]) for start in range(0, len(coded), step)
    )
    assert content == b"".join(chunks)
    assert decoder.done
    assert not decoder.broken


@pytest.mark.parametrize(
    ("coded", "content"),
    [
        (b"x", b""),
        (b"\r\n", b""),
        (b";a\r\n", b""),
        (b"4x\r\n", b""),
        (b"4\n", b""),
        (b"4\rx", b""),
        (b"4;a\nb", b""),
        (b"4;a\x00", b""),
        (b"1\r\nab", b"a"),
        (b"1\r\na\rb", b"a"),
        (b"1\r\na\r\n\r\n", b"a"),
        (b"f" * 17, b""),
        (b"1" + b"0" * 16, b""),
    ],
)
def test_broken_chunks(coded: bytes, content: bytes) -> None:
    for pieces in ([coded], [bytes([byte]) for byte in coded]):
        decoder = ChunkedDecoder()
        assert b"".join(decoder.feed(piece) for piece in pieces) == content
        assert decoder.broken
        assert not decoder.done
        assert decoder.feed(b"1\r\na\r\n0\r\n\r\n") == b""


@given(st.binary(max_size=64))
def test_any_bytes_are_survived(data: bytes) -> None:
    assert len(ChunkedDecoder().feed(data)) <= len(data)
