"""Measures what decoding a message in a callback costs, for each library and kind of input.

python -m bench.micro.decoding [--seconds S] [--core N]

An endpoint in memory is fed frames; a Python listener decodes each. The first figure is an empty
callback's, which is part of all others. Needs the codec's wheel; msgspec and orjson are left out
where they are missing.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import logging
import os
import statistics
import zlib
from dataclasses import dataclass
from importlib import import_module
from time import perf_counter
from typing import Any, Callable, Dict, Iterator, List, Tuple

from rich.box import SIMPLE_HEAD
from rich.table import Table

from bench.report import new_console
from picows_codec import (
    ClientHandshake,
    ServerHandshake,
    WSEndpoint,
    WSFrame,
    WSListener,
    WSMsgType,
    WSOptions,
    WSTransport,
    encode_frame_header,
)

__all__ = ["cases", "main"]

REPEATS = 7
BATCH = 100  # frames of one read
MESSAGE = json.dumps(
    {
        "stream": "btcusdt@trade",
        "event": "trade",
        "time": 1735689600123,
        "symbol": "BTCUSDT",
        "id": 4437188020,
        "price": "93576.01000000",
        "quantity": "0.00213000",
        "buyer": 33219384131,
        "seller": 33219384017,
        "is_buyer_maker": True,
    },
    separators=(",", ":"),
).encode()

Decode = Callable[[WSFrame], Any]


@dataclass(frozen=True)
class Case:
    """A way to decode: what runs in the callback, and the payload that it is for."""

    task: str
    call: str
    decode: Decode
    payload: bytes


def cases() -> Iterator[Case]:
    """Yield every way whose library is there."""
    yield from _getters()
    yield from _msgspec()
    yield from _orjson()
    loads = json.loads
    yield Case("JSON", "json.loads(text)", lambda f: loads(f.get_payload_as_utf8_text()), MESSAGE)
    yield Case("JSON", "json.loads(bytes)", lambda f: loads(f.get_payload_as_bytes()), MESSAGE)
    yield from _zipped()


def _getters() -> Iterator[Case]:
    yield Case("payload", "nothing", lambda frame: None, MESSAGE)
    yield Case("payload", "get_payload_as_bytes()", lambda f: f.get_payload_as_bytes(), MESSAGE)
    yield Case(
        "payload", "get_payload_as_utf8_text()", lambda f: f.get_payload_as_utf8_text(), MESSAGE
    )
    yield Case("payload", "bytes(frame)", bytes, MESSAGE)


def _msgspec() -> Iterator[Case]:
    try:
        msgspec = import_module("msgspec")
    except ImportError:
        return
    fields = [(name, type(value)) for name, value in json.loads(MESSAGE).items()]
    decode = msgspec.json.Decoder(msgspec.defstruct("Trade", fields)).decode
    yield Case("JSON", "Decoder(T).decode(frame)", decode, MESSAGE)
    yield Case(
        "JSON", "Decoder(T).decode(bytes)", lambda f: decode(f.get_payload_as_bytes()), MESSAGE
    )
    untyped = msgspec.json.Decoder().decode
    yield Case("JSON", "Decoder().decode(frame)", untyped, MESSAGE)


def _orjson() -> Iterator[Case]:
    try:
        loads = import_module("orjson").loads
    except ImportError:
        return
    yield Case("JSON", "orjson.loads(bytes)", lambda f: loads(f.get_payload_as_bytes()), MESSAGE)
    yield Case(
        "JSON",
        "orjson.loads(memoryview)",
        lambda f: loads(f.get_payload_as_memoryview()),
        MESSAGE,
    )


def _zipped() -> Iterator[Case]:
    zipped = gzip.compress(MESSAGE)
    inflate = zlib.decompress
    yield Case("gzip", "zlib.decompress(frame, 31)", lambda f: inflate(f, 31), zipped)
    yield Case(
        "gzip",
        "gzip.decompress(bytes)",
        lambda f: gzip.decompress(f.get_payload_as_bytes()),
        zipped,
    )


class _Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += bytes(data)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def set_write_buffer_limits(self, high: Any = None, low: Any = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass

    abort = close


def connect(listener: WSListener, loop: asyncio.AbstractEventLoop) -> WSEndpoint:
    """Return a client's endpoint that is open."""
    options = WSOptions(websocket_handshake_timeout=None)
    handshake = ClientHandshake("/", "localhost", lambda *_: listener, options=options)
    endpoint = WSEndpoint(options, handshake, loop, logging.getLogger("bench"))
    wire = _Wire()
    endpoint.connection_made(wire)
    server = ServerHandshake(lambda request: WSListener(), options=options)
    server.feed_data(wire.written)
    endpoint.data_received(server.take_to_send())
    return endpoint


def measure(case: Case, seconds: float) -> float:
    """Return nanoseconds per message over some ``seconds``."""
    decode = case.decode

    class Decoding(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            decode(frame)

    loop = asyncio.new_event_loop()
    endpoint = connect(Decoding(), loop)
    opcode = WSMsgType.TEXT if case.payload is MESSAGE else WSMsgType.BINARY
    stream = (encode_frame_header(opcode, len(case.payload)) + case.payload) * BATCH
    receive = endpoint.data_received

    def run(count: int) -> float:
        start = perf_counter()
        for _ in range(count):
            receive(stream)
        return perf_counter() - start

    count = max(1, int(seconds / min(run(1), run(1))))
    taken = run(count) / (count * BATCH) * 1e9
    endpoint.connection_lost(None)
    loop.close()
    return taken


def measure_all(seconds: float) -> List[Tuple[Case, float]]:
    """Return the median for each case; a round measures all of them once."""
    everything = list(cases())
    rounds = [[measure(case, seconds / REPEATS) for case in everything] for _ in range(REPEATS)]
    return list(zip(everything, map(statistics.median, zip(*rounds))))


def table_of(figures: List[Tuple[Case, float]]) -> Table:
    """Return the figures as a table; ratios are within a task."""
    fastest: Dict[str, float] = {}
    for case, ns in figures:
        fastest[case.task] = min(ns, fastest.get(case.task, ns))
    table = Table(box=SIMPLE_HEAD)
    for name in ("", "", "ns", "ratio"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for case, ns in figures:
        table.add_row(case.task, case.call, f"{ns:,.0f}", f"{ns / fastest[case.task]:.2f}")
    return table


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.micro.decoding", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=0.5, help="for each figure (default: %(default)s)"
    )
    parser.add_argument("--core", type=int, help="to run on (default: any)")
    arguments = parser.parse_args()
    if arguments.core is not None:
        os.sched_setaffinity(0, {arguments.core})
    figures = measure_all(arguments.seconds)
    console = new_console()
    console.print(f"{len(MESSAGE)} bytes of JSON; every figure has the callback in it")
    console.print(table_of(figures))


if __name__ == "__main__":
    main()
