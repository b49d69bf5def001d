"""Runs the kernels' measurements in an interpreter that has the codec; prints JSON.

python -m bench.micro.kernels_worker SECONDS [NAME ...]
"""

from __future__ import annotations

import asyncio
import json
import logging
import platform
import statistics
import sys
from dataclasses import asdict, dataclass
from functools import partial
from time import perf_counter
from typing import Any, Callable, Iterator, List, Optional, Sequence

import kernels_loops as loops

from picows_codec import (
    ClientHandshake,
    ServerHandshake,
    WSEndpoint,
    WSListener,
    WSOptions,
    __version__,
    encode_frame_header,
    mask,
    simd,
)
from picows_codec.http.key import accept_for_key

__all__ = ["Figure", "main"]

REPEATS = 7
MASK_SIZES = (16, 64, 125, 256, 1024, 8192, 100_000, 1_000_000)
OFFSETS = (0, 1, 8, 33)
CHUNKS = (64, 256, 1460, 4096, 16384, 65536, 262144)
STREAM = 1 << 18  # bytes of frames that the endpoint is fed again and again
KEY = b"\x12\x34\x56\x78"
REQUEST_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
REQUEST = (
    "GET /stream?symbol=all HTTP/1.1\r\n"
    "Host: example.com:9001\r\n"
    "User-Agent: bench\r\n"
    "Accept-Encoding: gzip, deflate\r\n"
    "Origin: https://example.com\r\n"
    "Upgrade: websocket\r\n"
    "Connection: keep-alive, Upgrade\r\n"
    f"Sec-WebSocket-Key: {REQUEST_KEY}\r\n"
    "Sec-WebSocket-Version: 13\r\n\r\n"
).encode("ascii")


@dataclass
class Figure:
    """Nanoseconds per operation: the median and the best of several runs."""

    name: str
    detail: str
    ns: float
    best_ns: float
    size: Optional[int]  # bytes of an operation, where throughput says something


def timed(seconds: float, run: Callable[[int], float], per_run: int = 1) -> List[float]:
    """Return nanoseconds per operation of some runs of ``seconds`` / REPEATS each."""
    n = 1
    target = seconds / REPEATS
    while True:
        taken = run(n)
        if taken >= target / 4:
            break
        n = int(n * min(100.0, max(2.0, target / 2 / max(taken, 1e-9))))
    n = max(1, int(n * target / taken))
    return [run(n) / (n * per_run) * 1e9 for _ in range(REPEATS)]


class Kernels:
    """All measurements; ``names`` chooses among them by the beginning of their names."""

    def __init__(self, seconds: float, names: Sequence[str]) -> None:
        self._seconds = seconds
        self._names = names

    def run(self) -> Iterator[Figure]:
        """Measure one after another."""
        yield from self._masking()
        yield from self._headers()
        yield from self._texts()
        yield from self._parser()
        yield from self._handshakes()
        yield from self._endpoints()

    def _measure(
        self,
        name: str,
        detail: str,
        run: Callable[[int], float],
        size: Optional[int] = None,
        per_run: int = 1,
    ) -> Iterator[Figure]:
        if self._names and not any(name.startswith(wanted) for wanted in self._names):
            return
        values = timed(self._seconds, run, per_run)
        yield Figure(name, detail, statistics.median(values), min(values), size)

    def _masking(self) -> Iterator[Figure]:
        chosen = simd.level()
        for level in simd.available_levels():
            simd.set_level(level)
            for size in MASK_SIZES:
                for offset in OFFSETS if size in {256, 8192} else OFFSETS[:1]:
                    yield from self._measure(
                        "mask",
                        f"{level}, in place, {size} B at offset {offset}",
                        partial(loops.mask_in_place, size=size, offset=offset),
                        size,
                    )
                    yield from self._measure(
                        "mask",
                        f"{level}, copy, {size} B at offset {offset}",
                        partial(loops.mask_copy, size=size, source_offset=offset, target_offset=14),
                        size,
                    )
        simd.set_level(chosen)
        yield from self._measure("key", "masking key", loops.masking_key)

    def _headers(self) -> Iterator[Figure]:
        for masked in (False, True):
            for size in (64, 256, 100_000):
                detail = f"frame of {size} B{', masked' if masked else ''}"
                yield from self._measure(
                    "header encode",
                    detail,
                    partial(loops.header_encode, size=size, masked=masked),
                )
                yield from self._measure(
                    "header decode",
                    detail,
                    partial(loops.header_decode, size=size, masked=masked),
                )

    def _texts(self) -> Iterator[Figure]:
        chosen = simd.level()
        texts = {"ASCII": "price ", "two-byte": "\u043a\u0443\u0440\u0441", "CJK": "\u884c\u60c5"}
        for level in simd.available_levels():
            simd.set_level(level)
            for kind, piece in texts.items():
                for size in (64, 1024, 65536):
                    text = (piece * size).encode()
                    text = text[: size - size % len(piece.encode())]
                    yield from self._measure(
                        "utf8",
                        f"{level}, {kind}, {len(text)} B",
                        partial(loops.utf8_valid, text=text),
                        len(text),
                    )
        simd.set_level(chosen)

    def _parser(self) -> Iterator[Figure]:
        for masked in (False, True):
            for size in (64, 256, 8192):
                count = max(1, 65536 // size)
                frames = frame(size, masked) * count
                yield from self._measure(
                    "parser",
                    f"whole frames of {size} B{', masked' if masked else ''}",
                    partial(loops.parse_frames, frames=frames, masked=masked, count=count),
                    size,
                    count,
                )

    def _handshakes(self) -> Iterator[Figure]:
        options = WSOptions()
        yield from self._measure(
            "handshake", "head of an upgrade request", lambda n: loops.parse_head(n, REQUEST)
        )

        def serve(n: int) -> float:
            start = perf_counter()
            for _ in range(n):
                handshake = ServerHandshake(lambda request: WSListener(), options=options)
                handshake.feed_data(REQUEST)
                handshake.take_to_send()
            taken = perf_counter() - start
            if not handshake.accepted:
                raise RuntimeError("the request was refused")
            return taken

        yield from self._measure("handshake", "server, request to response", serve)

        def connect(n: int) -> float:
            start = perf_counter()
            for _ in range(n):
                handshake = ClientHandshake(
                    "/", "example.com", lambda request, response: WSListener(), options=options
                )
                handshake.take_to_send()
            return perf_counter() - start

        yield from self._measure("handshake", "client, to the request", connect)

    def _endpoints(self) -> Iterator[Figure]:
        for size in (64, 256):
            count = STREAM // size
            stream = frame(size, masked=True) * count
            for chunk in CHUNKS:
                yield from self._measure(
                    "endpoint",
                    f"frames of {size} B in chunks of {chunk} B, server, compiled listener",
                    partial(feed, stream=stream, count=count, chunk=chunk),
                    size,
                    count,
                )


def frame(size: int, masked: bool) -> bytes:
    """Return a frame with a BINARY message."""
    payload = b"x" * size
    if not masked:
        return encode_frame_header(2, size) + payload
    return encode_frame_header(2, size, masking_key=KEY) + mask.mask(payload, KEY)


class Nowhere:
    """A transport that takes everything."""

    def write(self, data: bytes) -> None:
        """Take bytes."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Tell nothing."""
        return default

    def set_write_buffer_limits(
        self, high: Optional[int] = None, low: Optional[int] = None
    ) -> None:
        """Have no buffer."""

    def get_write_buffer_size(self) -> int:
        """Have no buffer."""
        return 0

    def is_closing(self) -> bool:
        """Never close."""
        return False

    def close(self) -> None:
        """Never close."""

    def abort(self) -> None:
        """Never close."""


def feed(n: int, stream: bytes, count: int, chunk: int) -> float:
    """Feed a server's endpoint ``count`` frames n times, ``chunk`` bytes at a time."""
    chunks = [stream[start : start + chunk] for start in range(0, len(stream), chunk)]
    options = WSOptions()
    listener = loops.CountingListener()
    handshake = ServerHandshake(lambda request: listener, options=options)
    loop = asyncio.new_event_loop()
    endpoint = WSEndpoint(options, handshake, loop, logging.getLogger("bench"))
    endpoint.connection_made(Nowhere())
    endpoint.data_received(REQUEST)
    data_received = endpoint.data_received
    start = perf_counter()
    for _ in range(n):
        for piece in chunks:
            data_received(piece)
    taken = perf_counter() - start
    endpoint.connection_lost(None)
    loop.close()
    if listener.count != n * count:
        raise RuntimeError("frames are missing")
    return taken


def main() -> None:
    """Print all figures as one line of JSON each."""
    if accept_for_key(REQUEST_KEY) != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=":
        sys.exit("the codec is broken")
    facts = {
        "codec": __version__,
        "python": platform.python_version(),
        "simd": simd.level(),
    }
    print(json.dumps(facts), flush=True)
    for one in Kernels(float(sys.argv[1]), sys.argv[2:]).run():
        print(json.dumps(asdict(one)), flush=True)


if __name__ == "__main__":
    main()
