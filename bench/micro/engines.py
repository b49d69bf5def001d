"""Measures sizes and times of compressed messages, for each library and choice of parameters.

python -m bench.micro.engines [--repeats N]

Messages of 262 bytes and of 4 KiB, JSON as in the streams of ``bench.run``: how large they are
compressed, relative to the plain ones, and the time of deflating and inflating one, as the lowest
of all repeats. No connections take part. Needs the codec's wheel; libraries that are missing are
left out.
"""

from __future__ import annotations

import argparse
import time
import zlib
from importlib import import_module
from typing import Any, Iterator, List, NamedTuple, Tuple

from bench.payloads import COUNTS, stream_messages

__all__ = ["main"]

MODULES = {"zlib": "zlib", "zlib-ng": "zlib_ng.zlib_ng", "ISA-L": "isal.isal_zlib"}
LEVELS = {"zlib": (1, 3, 6), "zlib-ng": (2, 3, 6), "ISA-L": (1,)}
WINDOWS = ((12, 5), (13, 5), (15, 5), (15, 8))
SIZES = (262, 4096)


class Row(NamedTuple):
    """Parameters of the stream that deflates."""

    library: str
    level: int
    window_bits: int
    memory_level: int
    takeover: bool


def rows() -> Iterator[Row]:
    """Yield the rows whose library is there."""
    for library, name in MODULES.items():
        try:
            import_module(name)
        except ImportError:
            continue
        for level in LEVELS[library]:
            for bits, memory in WINDOWS:
                yield Row(library, level, bits, memory, takeover=True)
            yield Row(library, level, 13, 5, takeover=False)


def deflate(row: Row, messages: List[bytes]) -> List[bytes]:
    """Return the messages compressed as one connection sends them, tails included."""
    stream = import_module(MODULES[row.library]).compressobj(
        row.level, zlib.DEFLATED, -row.window_bits, row.memory_level
    )
    mode = zlib.Z_SYNC_FLUSH if row.takeover else zlib.Z_FULL_FLUSH
    return [stream.compress(message) + stream.flush(mode) for message in messages]


def inflate(row: Row, compressed: List[bytes]) -> None:
    """Inflate the messages as one connection receives them."""
    stream: Any = import_module(MODULES[row.library]).decompressobj(-row.window_bits)
    for message in compressed:
        stream.decompress(message)


def measure(row: Row, messages: List[bytes], repeats: int) -> Tuple[float, float, float]:
    """Return the size of a compressed message and the microseconds of either direction."""
    deflating, inflating = [], []
    compressed: List[bytes] = []
    for _ in range(repeats):
        start = time.perf_counter()
        compressed = deflate(row, messages)
        deflated = time.perf_counter()
        inflate(row, compressed)
        deflating.append(deflated - start)
        inflating.append(time.perf_counter() - deflated)
    count = len(messages)
    size = sum(len(message) - 4 for message in compressed) / sum(map(len, messages))
    return size, min(deflating) / count * 1e6, min(inflating) / count * 1e6


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m bench.micro.engines")
    parser.add_argument("--repeats", type=int, default=9, help="(default: %(default)s)")
    repeats = parser.parse_args().repeats
    names = ["library", "level", "window bits", "memory level", "takeover"]
    for size in SIZES:
        names += [f"{size} B: size", "deflate", "inflate"]
    print("|", " | ".join(names), "|")
    print("|---" * len(names) + "|")
    for row in rows():
        cells = [*map(str, row[:4]), "yes" if row.takeover else "no"]
        for size in SIZES:
            ratio, out, into = measure(row, stream_messages(size, COUNTS[size]), repeats)
            cells += [f"{ratio:.3f}", f"{out:.1f}", f"{into:.1f}"]
        print("|", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
