"""What the guide says of decoders, and the bench that measures them."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import zlib
from typing import Any, Callable, List

import pytest

from picows_client import WSFrame, WSMessage, WSMessageListener, WSTransport
from tests.examples.conftest import ROOT
from tests.support.connection import Connection, Recorder, both_roles
from tests.support.frames import BINARY, TEXT

TRADE = {"symbol": "BTCUSDT", "price": "93576.01", "id": 7, "ignored": [1, 2, {"a": None}]}
JSON = json.dumps(TRADE).encode()


class Messages(WSMessageListener):
    def __init__(self, decode: Callable[[WSMessage], Any]) -> None:
        self.decode = decode
        self.seen: List[Any] = []

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        self.seen.append(self.decode(message))


def decoded(role: str, opcode: int, payload: bytes, decode: Callable[[Any], Any]) -> List[Any]:
    """What a decoder makes of a frame, of a whole message, and of one in fragments."""
    seen: List[Any] = []

    def look(transport: WSTransport, frame: WSFrame) -> None:
        seen.append(decode(frame))

    connection = Connection(role, Recorder().act("on_ws_frame", look))
    connection.receive(opcode, payload)
    listener = Messages(decode)
    connection = Connection(role, listener)
    connection.receive(opcode, payload)
    connection.feed(
        connection.build(opcode, payload[:10], fin=False) + connection.build(0, payload[10:])
    )
    return [*seen, *listener.seen]


@both_roles
def test_gzip_in_place(role: str) -> None:
    zipped = gzip.compress(JSON)
    assert decoded(role, BINARY, zipped, lambda it: zlib.decompress(it, 31)) == [JSON] * 3
    limited = decoded(role, BINARY, zipped, lambda it: zlib.decompressobj(31).decompress(it, 5))
    assert limited == [JSON[:5]] * 3
    unzip = gzip.decompress
    assert decoded(role, BINARY, zipped, lambda it: unzip(it.get_payload_as_bytes())) == [JSON] * 3


@both_roles
def test_json(role: str) -> None:
    loads = json.loads
    assert decoded(role, TEXT, JSON, lambda it: loads(it.get_payload_as_bytes())) == [TRADE] * 3
    assert decoded(role, TEXT, JSON, lambda it: loads(it.get_payload_as_utf8_text())) == [TRADE] * 3


@both_roles
def test_msgspec_in_place(role: str) -> None:
    msgspec = pytest.importorskip("msgspec")
    kind = msgspec.defstruct("Trade", [("symbol", str), ("price", str)])
    decode = msgspec.json.Decoder(kind).decode
    assert decoded(role, TEXT, JSON, decode) == [kind("BTCUSDT", "93576.01")] * 3


@both_roles
def test_orjson(role: str) -> None:
    loads = pytest.importorskip("orjson").loads
    assert decoded(role, TEXT, JSON, lambda it: loads(it.get_payload_as_bytes())) == [TRADE] * 3
    views = decoded(role, TEXT, JSON, lambda it: loads(it.get_payload_as_memoryview()))
    assert views == [TRADE] * 3


def test_the_bench_runs() -> None:
    pytest.importorskip("rich")
    command = [sys.executable, "-m", "bench.micro.decoding", "--seconds", "0.001"]
    paths = [str(ROOT), *(path for path in sys.path if path)]
    output = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    ).stdout
    for call in ("get_payload_as_bytes()", "json.loads(text)", "zlib.decompress(frame, 31)"):
        assert call in output
