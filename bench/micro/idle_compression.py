"""Measures what compression costs an idle connection in memory, for each choice (Linux).

python -m bench.micro.idle_compression [--connections N]

Each row is a process of its own, in which connections are opened in memory. The figures are bytes
that the process has grown by, for one connection: the open connection; what a message of 262 bytes
and then one of 64 KiB add when they are received; and what they add when they are sent. The first
row is without compression. Needs the codec's wheel; libraries that are missing are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Iterator, List

from bench.micro.messages import choose_library, json_message
from picows_codec import (
    ClientHandshake,
    ServerHandshake,
    WSEndpoint,
    WSListener,
    WSMsgType,
    WSOptions,
    WSPermessageDeflate,
    encode_frame_header,
)

__all__ = ["Choice", "choices", "main"]

PAGE_SIZE = 4096
SMALL, LARGE = 262, 65536
FIRST = 1000  # connections that are not counted
COLUMNS = ("opened", "received 262 B", "and 64 KiB", "sent 262 B", "and 64 KiB")


@dataclass(frozen=True)
class Choice:
    """A row: a library (None: no compression) and the parameters of both directions."""

    library: str
    level: int = 1
    window_bits: int = 13
    memory_level: int = 5
    takeover: bool = True

    def parameters(self) -> Any:
        if self.library == "none":
            return None
        return WSPermessageDeflate(
            level=self.level,
            memory_level=self.memory_level,
            min_size=0,
            server_max_window_bits=self.window_bits,
            client_max_window_bits=self.window_bits,
            server_no_context_takeover=not self.takeover,
            client_no_context_takeover=not self.takeover,
            client_compresses=True,
        )


def choices() -> Iterator[Choice]:
    """Yield the rows whose library is there."""
    yield Choice("none")
    for bits, memory in ((9, 1), (9, 5), (12, 5), (13, 1), (13, 5), (13, 8), (15, 5), (15, 8)):
        yield Choice("zlib", 1, bits, memory)
    yield Choice("zlib", takeover=False)
    if find_spec("zlib_ng") is not None:
        for bits, memory in ((9, 5), (13, 5), (15, 5), (15, 8)):
            yield Choice("zlib-ng", 6, bits, memory)
        yield Choice("zlib-ng", 6, takeover=False)
    if find_spec("isal") is not None:
        for bits in (9, 13, 15):
            yield Choice("ISA-L", 1, bits)
        yield Choice("ISA-L", takeover=False)


class _Wire:
    """A transport that forgets what is written, once the handshake is over."""

    def __init__(self) -> None:
        self.request = b""

    def write(self, data: bytes) -> None:
        if not self.request:
            self.request = bytes(data)

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


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE_SIZE


def open_connection(options: WSOptions, loop: asyncio.AbstractEventLoop) -> Any:
    """Return a client's endpoint that is open."""
    listener = WSListener()
    handshake = ClientHandshake("/", "localhost", lambda *_: listener, options=options)
    endpoint = WSEndpoint(options, handshake, loop, logging.getLogger("bench"))
    wire: Any = _Wire()
    endpoint.connection_made(wire)
    server = ServerHandshake(lambda request: WSListener(), options=options)
    server.feed_data(wire.request)
    endpoint.data_received(server.take_to_send())
    return endpoint


def measure(choice: Choice, count: int) -> List[float]:
    """Return the figures of a row, in bytes for one connection."""
    from picows_codec.deflate.deflating import compress_once  # noqa: PLC0415

    choose_library(choice.library)
    options = WSOptions(compression=choice.parameters(), websocket_handshake_timeout=None)
    loop = asyncio.new_event_loop()
    compresses = options.compression is not None
    frames = [_frame(size, compresses, compress_once) for size in (SMALL, LARGE)]
    messages = [json_message(size) for size in (SMALL, LARGE)]
    # These stay, fill what the process had already, and have needed what is needed once.
    first = [open_connection(options, loop) for _ in range(FIRST)]
    for endpoint in first[:20]:
        _receive(endpoint, frames)
        _send(endpoint, messages)
    start = resident_bytes()
    connections = [open_connection(options, loop) for _ in range(count)]
    found = [(resident_bytes() - start) / count]
    for use, sizes in ((_receive, frames), (_send, messages)):
        start = resident_bytes()
        for one in sizes:
            for endpoint in connections:
                use(endpoint, [one])
            found.append((resident_bytes() - start) / count)
    del first
    return found


def _receive(endpoint: Any, frames: List[bytes]) -> None:
    for frame in frames:
        endpoint.data_received(frame)


def _send(endpoint: Any, messages: List[bytes]) -> None:
    for message in messages:
        endpoint.transport.send(WSMsgType.TEXT, message)


def _frame(size: int, compresses: bool, compress_once: Any) -> bytes:
    payload = json_message(size)
    if compresses:
        payload = compress_once(payload, 9)
    header = bytearray(encode_frame_header(WSMsgType.TEXT, len(payload)))
    header[0] |= 0x40 if compresses else 0
    return bytes(header) + payload


def main() -> None:
    """Measure each choice in a process of its own, and print a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m bench.micro.idle_compression")
    parser.add_argument("--connections", type=int, default=400, help="(default: %(default)s)")
    parser.add_argument("--row", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    rows = list(choices())
    if arguments.row is not None:
        figures = measure(rows[arguments.row], arguments.connections)
        print(*(f"{figure:.0f}" for figure in figures))
        return
    print("| library | level | window bits | memory level | takeover |", " | ".join(COLUMNS), "|")
    print("|---" * (5 + len(COLUMNS)) + "|")
    command = [sys.executable, "-m", "bench.micro.idle_compression"]
    for index, row in enumerate(rows):
        output = subprocess.run(
            [*command, "--row", str(index), "--connections", str(arguments.connections)],
            check=True,
            stdout=subprocess.PIPE,
            encoding="ascii",
        ).stdout
        cells = [f"{int(figure):,}" for figure in output.split()]
        what = [row.library, row.level, row.window_bits, row.memory_level]
        takeover = "yes" if row.takeover else "no"
        print("|", " | ".join([*map(str, what), takeover, *cells]), "|")


if __name__ == "__main__":
    main()
