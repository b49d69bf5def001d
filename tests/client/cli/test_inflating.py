"""gzip, zlib and raw DEFLATE, within bounds."""

from __future__ import annotations

import gzip
import os
import zlib

import pytest

from picows_client.cli.inflating import TooMuchInflated, inflated

TEXT = b'{"price": 1.5}' * 50


def raw(data: bytes, flush: int = zlib.Z_FINISH) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush(flush)


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(TEXT),
        zlib.compress(TEXT),
        raw(TEXT),
        raw(TEXT, zlib.Z_SYNC_FLUSH),
        gzip.compress(TEXT[:300]) + gzip.compress(TEXT[300:]),
    ],
    ids=["gzip", "zlib", "raw", "flushed", "members"],
)
def test_inflated(data: bytes) -> None:
    assert inflated(data) == TEXT


def test_nothing_inside() -> None:
    assert inflated(gzip.compress(b"")) == b""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        gzip.compress(TEXT)[:-9],
        gzip.compress(TEXT) + b"more",
        b"\x1f\x8b",
        b"\x00" * 9,
    ],
    ids=["nothing", "text", "cut off", "followed", "magic number", "zeros"],
)
def test_what_is_not_compressed(data: bytes) -> None:
    assert inflated(data) is None


def test_noise() -> None:
    for _ in range(200):
        data = os.urandom(64)
        assert inflated(b"\xff" + data) is None  # begins with a block of a kind that there is not


def test_bounds() -> None:
    data = gzip.compress(bytes(1000))
    assert inflated(data, 1000) == bytes(1000)
    with pytest.raises(TooMuchInflated, match="999 bytes"):
        inflated(data, 999)
    with pytest.raises(TooMuchInflated):
        inflated(data + data, 1500)
    with pytest.raises(TooMuchInflated):
        inflated(zlib.compress(bytes(100 * 1024 * 1024)))


def test_many_members() -> None:
    """They take time without inflating to anything."""
    empty = gzip.compress(b"")
    assert inflated(empty * 999 + gzip.compress(TEXT)) == TEXT
    for count in (1001, 500_000):
        with pytest.raises(TooMuchInflated, match="1000 members"):
            inflated(empty * count)


def test_members_of_several_pieces() -> None:
    noise = os.urandom(200_000)
    assert inflated(gzip.compress(noise) + gzip.compress(noise)) == noise + noise
