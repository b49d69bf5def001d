"""Target: permessage-deflate, negotiated and used by a connection of either role (RFC 7692).

Input: a byte of flags (1: a server; 2: without context takeover; 4: small limits; 8: the rest is a
Sec-WebSocket-Extensions header; 16: the listener sends every frame back), a byte that says how the
bytes arrive, and frames, see ``_frame``. The oracle is Python's zlib.
"""

from __future__ import annotations

import codecs
import zlib
from typing import List, NamedTuple, Optional, Tuple

from fuzz.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    INVALID_DATA,
    PING,
    PROTOCOL_ERROR,
    TEXT,
    TOO_BIG,
    Rules,
    encode_frame,
    read_frames,
)
from fuzz.harness import Input, check, cut
from fuzz.memory import MemoryLoop, MemoryTransport
from fuzz.session import ANSWER, REQUEST, SilentLogger
from picows_codec import (
    ClientHandshake,
    ServerHandshake,
    WSEndpoint,
    WSFrame,
    WSListener,
    WSOptions,
    WSPermessageDeflate,
    WSTransport,
)
from picows_codec.deflate.negotiation import accept_answer, accept_offers

__all__ = ["run"]

KEY = b"\x01\x02\x03\x04"
TAIL = b"\x00\x00\xff\xff"
END = b"\x01\x00\x00\xff\xff"
# What picows has follow a message with context takeover, to find out about an incomplete one.
NEXT = b"\xf8\x00\x00\xff\xff"
OPCODES = (TEXT, BINARY, CONTINUATION, PING)
MAX_FRAME, MAX_MESSAGE = 300, 400
MAX_FRAMES = 40
ALONE = b"; server_no_context_takeover; client_no_context_takeover"


def run(data: bytes) -> None:
    """Negotiate, or receive what zlib inflates in the same way."""
    source = Input(data)
    flags, pattern = source.byte(), source.byte()
    if flags & 8:
        _negotiate(source.rest().decode("latin-1"))
        return
    wire = _Peer(is_alone=bool(flags & 2))
    frames = []
    while not source.exhausted and len(frames) < MAX_FRAMES:
        frames.append(_frame(source, wire))
    model = _Model(is_alone=bool(flags & 2), is_limited=bool(flags & 4))
    for frame in frames:
        model.take(frame)
    key = KEY if flags & 1 else None
    stream = b"".join(encode_frame(frame.head, frame.payload, key) for frame in frames)
    for pieces in ([stream], [*cut(stream, pattern)]):
        _Subject(flags).play(pieces, model)


# Negotiation


def _negotiate(header: str) -> None:
    """Whatever a peer sends, there is an agreement, or a ValueError that says why not."""
    for parameters in (
        WSPermessageDeflate(),
        WSPermessageDeflate(server_no_context_takeover=True, server_max_window_bits=10),
        WSPermessageDeflate(client_compresses=True, client_max_window_bits=9),
    ):
        try:
            accepted = accept_offers([header], parameters)
        except ValueError:
            accepted = None
        if accepted is not None:
            answer, server = accepted
            # A client that leaves the rest to the server accepts every answer of ours.
            client = accept_answer([answer], WSPermessageDeflate(client_compresses=True))
            check(client.receive_bits >= server.send_bits, "the client's window is too small")
            check(server.receive_bits >= client.send_bits, "the server's window is too small")
            check(client.receive_alone or not server.receive_alone or client.send_alone, answer)
        try:
            agreement = accept_answer([header], parameters)
        except ValueError:
            continue
        check(8 <= agreement.receive_bits <= 15, "no such window", agreement)
        check(agreement.send_bits == 0 or 9 <= agreement.send_bits <= 15, "not zlib's", agreement)


# What the peer sends


class _Frame(NamedTuple):
    head: int
    payload: bytes


class _Peer:
    """Compresses what the input asks for."""

    def __init__(self, *, is_alone: bool) -> None:
        self._is_alone = is_alone
        self._deflater = zlib.compressobj(6, zlib.DEFLATED, -15)

    def deflate(self, payload: bytes, *, fin: bool) -> bytes:
        data = self._deflater.compress(payload) + self._deflater.flush(zlib.Z_SYNC_FLUSH)
        if fin:
            data = data[:-4] or b"\x00"
            if self._is_alone:
                self._deflater = zlib.compressobj(6, zlib.DEFLATED, -15)
        return data


def _frame(source: Input, wire: _Peer) -> _Frame:
    """Read a frame: a byte, the payload's size in a byte, and the payload.

    Bits of the first byte: 1 and 2 choose the opcode, 4 is FIN, 8 is RSV1, 16 compresses the
    payload, 32 repeats it.
    """
    bits = source.byte()
    payload = source.take(source.byte())
    if bits & 32:
        payload *= 40
    if bits & 16:
        payload = wire.deflate(payload, fin=bool(bits & 4))
    head = OPCODES[bits & 3] | (0x80 if bits & 4 else 0) | (0x40 if bits & 8 else 0)
    return _Frame(head, payload)


# What must come of it


class _Model:
    """The frames that the listener gets, and how the connection fails.

    ``is_exact``: False once a final block came, after which zlib tells too little to compare.
    """

    def __init__(self, *, is_alone: bool, is_limited: bool) -> None:
        self.frames: List[Tuple[int, bool, bytes]] = []
        self.codes: Optional[Tuple[int, ...]] = None
        self.is_exact = True
        self._is_alone = is_alone
        self._max_frame = MAX_FRAME if is_limited else 1 << 30
        self._max_message = MAX_MESSAGE if is_limited else 1 << 30
        self._inflater = zlib.decompressobj(-15)
        self._opcode = 0
        self._is_compressed = self._has_bytes = False
        self._size = 0
        self._text = codecs.getincrementaldecoder("utf-8")()

    def take(self, frame: _Frame) -> None:
        if self.codes is not None or not self.is_exact:
            return
        opcode, fin, rsv = frame.head & 0x0F, bool(frame.head & 0x80), frame.head & 0x70
        if opcode == PING:
            if rsv or not fin or len(frame.payload) > 125:
                self.codes = (PROTOCOL_ERROR,)
            return
        if (opcode == CONTINUATION) != (self._opcode != 0) or (rsv and opcode == CONTINUATION):
            self.codes = (PROTOCOL_ERROR,)
            return
        if opcode != CONTINUATION:
            self._opcode, self._size, self._is_compressed = opcode, 0, rsv != 0
            self._has_bytes = False
            self._text.reset()
        payload = frame.payload
        if len(payload) > self._max_frame:
            self.codes = (TOO_BIG,)
            return
        if self._is_compressed:
            inflated = self._inflate(payload, fin=fin)
            if inflated is None:
                return
            payload = inflated
        self._size += len(payload)
        if len(payload) > self._max_frame or self._size > self._max_message:
            self.codes = (TOO_BIG,)
        elif self._opcode == TEXT and not self._is_text(payload, fin=fin):
            self.codes = (INVALID_DATA,)
        else:
            self.frames.append((opcode, fin, payload))
        if fin:
            self._opcode = 0

    def _inflate(self, payload: bytes, *, fin: bool) -> Optional[bytes]:
        self._has_bytes = self._has_bytes or bool(payload)
        if not self._has_bytes:
            return b""
        try:
            inflated = self._inflater.decompress(payload)
            if fin and not self._inflater.eof:
                inflated += self._inflater.decompress(TAIL + (b"" if self._is_alone else NEXT))
        except zlib.error:
            # The limit may be reached before the error is.
            self.codes = (INVALID_DATA, TOO_BIG)
            return None
        if self._inflater.eof:
            self.is_exact = False
            return None
        if fin and self._is_alone:
            is_complete = self._is_complete()
            self._inflater = zlib.decompressobj(-15)
            if not is_complete:
                self.codes = (INVALID_DATA, TOO_BIG)
                return None
        return inflated

    def _is_complete(self) -> bool:
        """Whether the last block was: a final one can then follow."""
        try:
            rest = self._inflater.decompress(END)
        except zlib.error:
            return False
        return self._inflater.eof and not self._inflater.unused_data and not rest

    def _is_text(self, payload: bytes, *, fin: bool) -> bool:
        try:
            self._text.decode(payload, final=fin)
        except UnicodeDecodeError:
            return False
        pending = self._text.getstate()[0]
        # Python waits for the third byte of a surrogate, which no third byte makes valid.
        return not (pending[:1] == b"\xed" and pending[1:] >= b"\xa0")


# The connection


class _Listener(WSListener):
    def __init__(self, *, echoes: bool) -> None:
        self.echoes = echoes
        self.frames: List[Tuple[int, bool, bytes]] = []

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        check(not frame.rsv1, "RSV1 was not cleared")
        if frame.opcode == CLOSE:
            return
        payload = frame.get_payload_as_bytes()
        self.frames.append((frame.wire_opcode, frame.fin, payload))
        if self.echoes:
            transport.send(frame.opcode, frame, fin=frame.fin)


class _Subject:
    """One connection over a transport in memory."""

    def __init__(self, flags: int) -> None:
        self._is_client = not flags & 1
        self._is_alone = bool(flags & 2)
        self._listener = _Listener(echoes=bool(flags & 16))
        self._loop = MemoryLoop()
        options = WSOptions(
            compression=WSPermessageDeflate(
                client_compresses=True,
                min_size=0,
                server_no_context_takeover=self._is_alone,
                client_no_context_takeover=self._is_alone,
            ),
            max_frame_size=MAX_FRAME if flags & 4 else 1 << 30,
            max_message_size=MAX_MESSAGE if flags & 4 else 1 << 30,
        )
        handshake = (
            ClientHandshake("/", "localhost", lambda *_: self._listener, options)
            if self._is_client
            else ServerHandshake(lambda _: self._listener, options)
        )
        endpoint = WSEndpoint(options, handshake, self._loop, SilentLogger())  # type: ignore[arg-type]
        self._wire = MemoryTransport(self._loop, endpoint, is_secure=False, is_buffered=True)
        header = b"\r\nSec-WebSocket-Extensions: permessage-deflate"
        header += ALONE if self._is_alone else b""
        head = ANSWER if self._is_client else REQUEST
        self._wire.deliver(head.replace(b"\r\n\r\n", header + b"\r\n\r\n"))
        self._loop.run_ready()
        check(b"permessage-deflate" in self._wire.written, "not negotiated", self._wire.written)

    def play(self, pieces: List[bytes], model: _Model) -> None:
        for piece in pieces:
            if self._wire.is_reading():
                self._wire.deliver(piece)
            self._loop.run_ready()
        found = self._listener.frames
        if not model.is_exact:
            check(found[: len(model.frames)] == model.frames, "other frames", found, model.frames)
            return
        check(found == model.frames, "other frames", found, model.frames)
        code = self._check_sent(found)
        if model.codes is None:
            check(code is None, "failed", code)
        else:
            check(code in model.codes, "another close code", code, model.codes)
        self._wire.lose(None)
        self._loop.run_ready()

    def _check_sent(self, found: List[Tuple[int, bool, bytes]]) -> Optional[int]:
        """What was sent back inflates to what arrived. Returns the code of a CLOSE frame."""
        sent = bytes(self._wire.written)
        sent = sent[sent.index(b"\r\n\r\n") + 4 :]
        rules = Rules(masked=self._is_client, trusts_caller=True)
        reading = read_frames(sent, rules)
        check(reading.violation is None and reading.used == len(sent), "sent no frames", sent)
        inflater = zlib.decompressobj(-15)
        echoes = []
        code = None
        is_compressed = False
        for frame in reading.frames:
            if frame.opcode == CLOSE:
                code = int.from_bytes(frame.payload[:2], "big")
            if frame.opcode & 8:
                check(frame.rsv == 0, "a reserved bit on a control frame")
                continue
            payload = frame.payload
            if frame.opcode != CONTINUATION:
                is_compressed = bool(frame.rsv & 4)
            if is_compressed:
                payload = inflater.decompress(payload + (TAIL if frame.fin else b""))
                check(not inflater.eof, "a final block was sent")
                if frame.fin and self._is_alone:
                    inflater = zlib.decompressobj(-15)
            echoes.append((frame.opcode, frame.fin, payload))
        if self._listener.echoes:
            check(echoes == found, "another echo", echoes, found)
        return code
