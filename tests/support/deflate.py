"""Connections that negotiated permessage-deflate, and plain zlib as the peer."""

from __future__ import annotations

import ctypes
import os
import random
import sys
import zlib
from typing import Any, List, Optional

import pytest

from picows_codec import WSListener, WSPermessageDeflate
from tests.support.connection import Connection
from tests.support.frames import CLOSE

__all__ = [
    "ALONE",
    "RANDOM",
    "TAIL",
    "DeflateConnection",
    "Peer",
    "both_contexts",
    "deflated",
    "failed_with",
    "forget_streams",
    "inflated",
]

TAIL = b"\x00\x00\xff\xff"
ALONE = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
both_contexts = pytest.mark.parametrize("answer", ["permessage-deflate", ALONE])
RANDOM = random.Random(1).randbytes(1_000_000) if sys.version_info >= (3, 9) else os.urandom(10**6)


class Peer:
    """One direction of the extension by Python's zlib, as RFC 7692, 7.2 describes it."""

    def __init__(self, *, alone: bool = False, window_bits: int = 15, level: int = 6) -> None:
        self._alone = alone
        self._bits = window_bits
        self._level = level
        self._renew()

    def _renew(self) -> None:
        self._deflater = zlib.compressobj(self._level, zlib.DEFLATED, -max(self._bits, 9))
        self._inflater = zlib.decompressobj(-self._bits)

    def deflate(self, payload: bytes) -> bytes:
        data = self._deflater.compress(payload) + self._deflater.flush(zlib.Z_SYNC_FLUSH)
        if self._alone:
            self._renew()
        return data[:-4] if data else b"\x00"

    def inflate(self, payload: bytes) -> bytes:
        data = self._inflater.decompress(payload + TAIL)
        assert not self._inflater.unused_data
        if self._alone:
            self._renew()
        return data


def deflated(payload: bytes, level: int = 6) -> bytes:
    """A message compressed by itself."""
    return Peer(level=level).deflate(payload)


def inflated(payload: bytes) -> bytes:
    return Peer().inflate(payload)


def forget_streams() -> None:
    """Drop the streams with which this thread compresses without context takeover."""
    get_dict = ctypes.pythonapi.PyThreadState_GetDict
    get_dict.restype = ctypes.c_void_p  # a borrowed reference
    local = ctypes.cast(get_dict(), ctypes.py_object).value
    local.pop("picows_codec.deflate", None)


class DeflateConnection(Connection):
    """``answer``: what the peer offers, if it is the client, or answers."""

    def __init__(
        self,
        role: str,
        listener: Optional[WSListener] = None,
        *,
        answer: str = "permessage-deflate",
        compression: Any = None,
        **options: Any,
    ) -> None:
        if compression is None:
            compression = WSPermessageDeflate(min_size=0, client_compresses=True)
        super().__init__(
            role,
            listener,
            compression=compression,
            peer_headers=[("Sec-WebSocket-Extensions", answer)],
            **options,
        )

    def compressed(self, opcode: int, payload: bytes, **options: Any) -> bytes:
        """A compressed frame of the peer; the payload as it is on the wire."""
        options.setdefault("rsv", 4 if opcode else 0)
        return self.build(opcode, payload, **options)

    def messages(self) -> List[bytes]:
        """The payloads of the frames that the listener got."""
        return [payload for _, payload, _ in self.listener.frames]


def failed_with(connection: DeflateConnection) -> int:
    """The close code with which a violation was answered."""
    assert connection.cause is not None
    (frame,) = connection.sent()
    assert frame.opcode == CLOSE
    return int.from_bytes(frame.payload[:2], "big")
