"""picows_codec.deflate.engine: which library deflates and inflates."""

from __future__ import annotations

import zlib
from typing import Any, Optional

import pytest

from picows_codec.deflate import engine

DATA = b"".join(b'{"id":%d,"name":"x"}' % number for number in range(300))


class Module:
    """A module that notes what it is asked for."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def compressobj(self, *arguments: Any) -> Any:
        return (self.__name__, *arguments)

    def decompressobj(self, *arguments: Any) -> Any:
        return (self.__name__, *arguments)


@pytest.mark.parametrize("bits", range(9, 16))
@pytest.mark.parametrize("level", range(10))
def test_installed_libraries_make_zlib_streams(level: int, bits: int) -> None:
    deflater = engine.new_deflater(level, bits, 5)
    inflaters = [engine.new_inflater(bits, size) for size in (0, len(DATA))]
    oracle = zlib.decompressobj(-bits)
    for _ in range(20):
        data = deflater.compress(DATA) + deflater.flush(zlib.Z_SYNC_FLUSH)
        assert data.endswith(b"\x00\x00\xff\xff")
        assert oracle.decompress(data) == DATA
        for inflater in inflaters:
            assert inflater.decompress(data, len(DATA) + 1) == DATA


@pytest.mark.parametrize(
    ("has_isal", "has_ng", "level", "deflates", "inflates_small", "inflates_large"),
    [
        (True, True, 1, "isal", "ng", "isal"),
        (True, True, 3, "isal", "ng", "isal"),
        (True, True, 4, "ng", "ng", "isal"),
        (True, True, 0, "ng", "ng", "isal"),
        (True, False, 1, "isal", "zlib", "isal"),
        (True, False, 6, "zlib", "zlib", "isal"),
        (False, True, 1, "ng", "ng", "ng"),
        (False, False, 1, "zlib", "zlib", "zlib"),
    ],
)
def test_choice(
    monkeypatch: pytest.MonkeyPatch,
    has_isal: bool,
    has_ng: bool,
    level: int,
    deflates: str,
    inflates_small: str,
    inflates_large: str,
) -> None:
    def module(name: str, is_there: bool) -> Optional[Module]:
        return Module(name) if is_there else None

    monkeypatch.setattr(engine, "isal_zlib", module("isal", has_isal))
    monkeypatch.setattr(engine, "zlib_ng", module("ng", has_ng))
    assert engine.deflating_name(level) == deflates
    if deflates != "zlib":
        name, used_level, method, bits, memory = engine.new_deflater(level, 12, 5)
        assert (name, method, bits, memory) == (deflates, zlib.DEFLATED, -12, 5)
        wanted = {"isal": 1, "ng": max(level, 2) if level else 0}
        assert used_level == wanted[deflates]
    for size, inflates in ((511, inflates_small), (512, inflates_large)):
        assert engine.inflating_name(size) == inflates
        if inflates != "zlib":
            assert engine.new_inflater(15, size) == (inflates, -15, b"")
        assert type(engine.new_inflater(8, size)) is not None


@pytest.mark.parametrize("size", [0, 10**6])
def test_window_of_an_earlier_stream(size: int) -> None:
    stream = zlib.compressobj(6, zlib.DEFLATED, -15, 8, zlib.Z_DEFAULT_STRATEGY, DATA)
    data = stream.compress(DATA) + stream.flush(zlib.Z_SYNC_FLUSH)
    assert engine.new_inflater(15, size, DATA).decompress(data) == DATA
