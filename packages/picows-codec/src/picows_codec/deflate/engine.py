"""Which library deflates and inflates: ISA-L, zlib-ng or Python's zlib, behind one small interface.

All have zlib's classes and make the same kind of stream. Chosen by the measurements in the guide:
ISA-L deflates fastest at low levels, zlib-ng at higher ones; ISA-L inflates large messages fastest,
zlib-ng small ones.
"""

from __future__ import annotations

import zlib
from importlib import import_module
from typing import Any

__all__ = ["deflating_name", "inflating_name", "new_deflater", "new_inflater"]


def _installed(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None


zlib_ng = _installed("zlib_ng.zlib_ng")
isal_zlib = _installed("isal.isal_zlib")

# At level 1 zlib-ng compresses much less than zlib, at level 2 as much.
_LOWEST_OF_ZLIB_NG = 2
# ISA-L's level 1 compresses as much as zlib's level 3; it has nothing like the higher ones.
_HIGHEST_LIKE_ISAL = 3
# Bytes on the wire. A call of ISA-L takes more time than one of zlib-ng, each byte less.
_SMALLEST_FOR_ISAL = 512


def deflating_name(level: int) -> str:
    """Return the name of the module that deflates at a level."""
    if isal_zlib is not None and 1 <= level <= _HIGHEST_LIKE_ISAL:
        return str(isal_zlib.__name__)
    return str((zlib_ng or zlib).__name__)


def inflating_name(size: int) -> str:
    """Return the name of the module that inflates a stream that begins with ``size`` bytes."""
    return str(_inflating(size).__name__)


def _inflating(size: int) -> Any:
    if isal_zlib is not None and size >= _SMALLEST_FOR_ISAL:
        return isal_zlib
    return zlib_ng or zlib


def new_deflater(level: int, window_bits: int, memory_level: int) -> Any:
    """Return a compressor of a raw stream; ``window_bits`` from 9 to 15."""
    if isal_zlib is not None and 1 <= level <= _HIGHEST_LIKE_ISAL:
        return isal_zlib.compressobj(1, zlib.DEFLATED, -window_bits, memory_level)
    if zlib_ng is not None:
        if level:
            level = max(level, _LOWEST_OF_ZLIB_NG)
        return zlib_ng.compressobj(level, zlib.DEFLATED, -window_bits, memory_level)
    return zlib.compressobj(level, zlib.DEFLATED, -window_bits, memory_level)


def new_inflater(window_bits: int, size: int, window: bytes = b"") -> Any:
    """Return a decompressor of a raw stream.

    ``size``: bytes that it is given at first. ``window``: what its window begins with.
    """
    # zlib-ng and zlib refuse a raw window of 8 bits or not, by version; a larger one always works.
    return _inflating(size).decompressobj(-max(window_bits, 9), window)
