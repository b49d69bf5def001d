"""One connection under test: an endpoint, the listener and the peer that drive it, and the rules.

A :class:`Session` is told what happens (bytes arrive, the user sends, time passes) and checks what
every connection promises; ``finish`` ends it and checks the rest.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Tuple

from fuzz.frames import (
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    Frame,
    Reading,
    Rules,
    read_frames,
)
from fuzz.harness import check, cut
from fuzz.http_heads import accept_for, read_head
from fuzz.memory import MemoryLoop
from picows_codec import (
    ClientHandshake,
    ServerHandshake,
    WSConnectionError,
    WSDisconnectKind,
    WSEndpoint,
    WSFrame,
    WSListener,
    WSMessage,
    WSMessageListener,
    WSOptions,
    WSProtocolError,
    WSState,
    WSTransport,
    WSUsageError,
)
from picows_codec.connection import keepalive
from picows_codec.http import key

__all__ = ["Habits", "ListenerFault", "Session", "SilentLogger"]

# The same input must do the same in every run.
key.urandom = bytes
keepalive.urandom = bytes

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: " + accept_for(b"AAAAAAAAAAAAAAAAAAAAAA==") + b"\r\n\r\n"
)
# Longer than every timeout of a connection together, in seconds.
LONG = 100.0
# After so many pieces, bytes of the peer arrive uncut, to save time.
MAX_PIECES = 500


class ListenerFault(Exception):
    """What a listener raises here."""


@dataclass(frozen=True)
class Habits:
    """What the listener does in its callbacks."""

    on_frame: int = 0
    every: int = 1
    in_others: int = 0
    in_place: bool = False


class SilentLogger:
    """Takes what an endpoint logs; an exception in it must be the listener's."""

    def _log(
        self,
        message: str,
        *arguments: object,
        exc_info: Optional[Exception] = None,
        extra: Optional[Dict[str, object]] = None,
    ) -> None:
        text = message % arguments
        check(isinstance(exc_info, (ListenerFault, type(None))), "logged", text, exc_info)

    debug = info = warning = error = _log

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802  logging's name
        """Every line is written, so that making it is tried, too."""
        return True


class _Callbacks:
    """What both kinds of listeners do; ``session`` is set before the connection opens."""

    session: Session

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.session.connected(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.session.disconnected(transport)

    def pause_writing(self) -> None:
        self.session.write_paused(paused=True)

    def resume_writing(self) -> None:
        self.session.write_paused(paused=False)


class _FrameListener(_Callbacks, WSListener):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self.session.frame_arrived(transport, frame)


class _MessageListener(_Callbacks, WSMessageListener):
    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        self.session.message_arrived(transport, message)


class _PingingListener(_FrameListener):
    """Has a ping of its own: a BINARY frame "?", answered by a BINARY frame "!"."""

    def send_user_specific_ping(self, transport: WSTransport) -> None:
        self.session.send(2, b"?")
        self.session.pinged(transport)

    def is_user_specific_pong(self, frame: WSFrame) -> bool:
        self.session.asked_for_pong()
        return frame.opcode == 2 and frame.get_payload_as_bytes() == b"!"


LISTENERS = (_FrameListener, _MessageListener, _PingingListener)


class Session:
    """One connection. Use it once."""

    def __init__(
        self,
        options: WSOptions,
        *,
        is_client: bool,
        listener: int,
        habits: Habits,
        shares_reads: bool,
        make_wire: Callable[[MemoryLoop, WSEndpoint], Any],
    ) -> None:
        self.options = options
        self.is_client = is_client
        self.habits = habits
        self.pattern = 255
        self.incoming = bytearray()
        self.sent: List[Frame] = []
        self.delivered: List[Any] = []
        self.calls: List[str] = []
        self.loop = MemoryLoop()
        self._listener = LISTENERS[listener % len(LISTENERS)]()
        self._listener.session = self
        self._kept: List[Tuple[Any, bytes]] = []
        self._coroutines: List[Any] = []
        self._user_closes = 0
        self._pieces = 0
        self._has_cut = False
        self._measures = False
        self._is_measuring = False
        self._expects_more = False
        self.corks: List[Any] = []
        factory = self._listener
        subject: Any = (
            ClientHandshake("/", "localhost", lambda *_: factory, options=options)
            if is_client
            else ServerHandshake(lambda _: factory, options=options)
        )
        self._endpoint = WSEndpoint(
            options, subject, self.loop, SilentLogger(), shared_reads=shares_reads
        )
        self.ws: WSTransport = self._endpoint.transport
        self._opened = self._endpoint.opened
        self.wire = make_wire(self.loop, self._endpoint)

    # What happens

    @property
    def greeting(self) -> bytes:
        """The peer's half of the opening handshake."""
        return ANSWER if self.is_client else REQUEST

    def arrive(self, data: bytes) -> None:
        """The peer's bytes arrive, cut as ``pattern`` says."""
        pieces = [*cut(data, self.pattern)] if self._pieces < MAX_PIECES else [data]
        self._pieces += len(pieces)
        for piece in pieces:
            if not self.wire.is_reading():
                return
            # Noted first: the endpoint may end within.
            size = len(self.incoming)
            self.incoming += piece
            self._expects_more = False
            del self.incoming[size + self.wire.deliver(piece) :]
            is_over = self._has_cut or self.ws.state != WSState.OPEN
            check(is_over or not self._expects_more, "last_in_buffer was False for the last frame")
            self.loop.run_ready()

    def call(self, method: Callable[..., object], *arguments: object, **options: object) -> bool:
        """The user calls something; whether that was allowed. Misuse raises what is documented."""
        try:
            method(*arguments, **options)
        except (WSUsageError, TypeError, IndexError, BufferError):
            return False
        return True

    def send(
        self, opcode: int, payload: bytes, *, fin: bool = True, rsv: int = 0, in_place: bool = False
    ) -> None:
        """The user sends a frame."""
        frame = Frame(opcode, fin, rsv, payload)
        if opcode == CLOSE:
            self._user_closes += 1
        else:
            # Noted first: a callback within the call may send, too.
            self.sent.append(frame)
        bits = {"fin": fin, "rsv1": rsv & 4, "rsv2": rsv & 2, "rsv3": rsv & 1}
        if in_place:
            done = self._send_in_place(opcode, payload, bits)
        else:
            done = self.call(self.ws.send, opcode, payload, **bits)
        if not done and opcode != CLOSE:
            # The last one that is this very frame, not one that is equal to it.
            index = max(i for i, known in enumerate(self.sent) if known is frame)
            del self.sent[index]

    def _send_in_place(self, opcode: int, payload: bytes, bits: Dict[str, object]) -> bool:
        """Send from a buffer of the user's, who has other things in it and goes on to use it."""
        buffer = bytearray(b"other" + bytes(14) + payload)
        offset = len(buffer) - len(payload)
        done = self.call(self.ws.send_reuse_external_bytearray, opcode, buffer, offset, **bits)
        check(buffer.startswith(b"other"), "wrote in front of the header", buffer)
        kept = buffer[offset:] == payload
        check(kept or self.is_client, "changed the payload", buffer, payload)
        buffer[:] = b"\xee" * len(buffer)
        return done

    def close(self, code: object, reason: object) -> None:
        """The user sends a CLOSE frame."""
        self._user_closes += 1
        self.call(self.ws.send_close, code, reason)

    def disconnect(self, *, graceful: bool, code: int = 1000) -> None:
        """The user ends the connection."""
        self._user_closes += 1
        if self.call(self.ws.disconnect, graceful, code):
            self._has_cut = True

    def wait(self) -> None:
        """The user waits for the end."""
        coroutine = self.ws.wait_disconnected()
        if not _step(coroutine):
            self._coroutines.append(coroutine)

    def measure(self) -> None:
        """The user measures a round trip."""
        self._measures = True
        coroutine = self.ws.measure_roundtrip_time()
        self._is_measuring = True
        if not _step(coroutine):
            self._coroutines.append(coroutine)
        self._is_measuring = False

    def forget_kept(self) -> None:
        """The user drops the frames that the listener kept."""
        self._check_kept()
        self._kept.clear()

    # What the listener is told

    def connected(self, transport: WSTransport) -> None:
        self.calls.append("connected")
        check(self.calls == ["connected"], "callbacks", self.calls)
        check(transport is self.ws and transport is self._listener.transport, "transport")
        check(transport.state == WSState.OPEN, "connected while", transport.state)
        check(transport.request and transport.response, "no request or response")
        self._misbehave(transport, first_bit=0)

    def disconnected(self, transport: WSTransport) -> None:
        self.calls.append("disconnected")
        check(self.calls == ["connected", "disconnected"], "callbacks", self.calls)
        check(transport.state == WSState.CLOSED, "disconnected while", transport.state)
        check(transport.disconnect_cause is not None, "no cause")
        self._misbehave(transport, first_bit=2)

    def write_paused(self, *, paused: bool) -> None:
        check(self.calls == ["connected"], "paused or resumed", self.calls)
        self._misbehave(self.ws, first_bit=4 if paused else 6)

    def pinged(self, transport: WSTransport) -> None:
        """The listener has sent a ping of its own; it may know the pong at once."""
        if self.habits.on_frame & 1:
            transport.notify_user_specific_pong_received()
        had_cut = self._has_cut
        try:
            self._misbehave(transport, first_bit=4)
        except ListenerFault:
            if self._is_measuring:  # the fault is the caller's, and the connection goes on
                self._has_cut = had_cut
            raise

    def asked_for_pong(self) -> None:
        if self.habits.in_others >> 6 & 3 == 3:
            self.disconnect(graceful=False)

    def frame_arrived(self, transport: WSTransport, frame: WSFrame) -> None:
        payload = frame.get_payload_as_bytes()
        check(frame.payload_size == len(frame) == len(payload), "size", frame)
        check(bytes(frame) == payload, "the buffer is not the payload")
        check(not (frame.rsv1 or frame.rsv2 or frame.rsv3), "reserved bits", frame)
        check(frame.tail_size >= 0, "tail", frame.tail_size)
        if frame.opcode == CLOSE:
            check(frame.last_in_buffer, "a frame after CLOSE")
            frame.get_close_code()
            frame.get_close_reason()
        self._expects_more = not frame.last_in_buffer
        self._arrived((int(frame.opcode), bool(frame.fin), payload))
        self._act(transport, frame, payload)

    def message_arrived(self, transport: WSTransport, message: WSMessage) -> None:
        payload = message.get_payload_as_bytes()
        self._arrived((int(message.opcode), payload))
        if message.opcode == 1:
            message.get_payload_as_utf8_text()
        self._act(transport, message, payload)

    def _arrived(self, what: object) -> None:
        check(self.calls == ["connected"], "a frame outside of the connection", self.calls)
        check(not self._has_cut, "a frame after the end", what)
        self.delivered.append(what)

    def _act(self, transport: WSTransport, frame: WSMessage, payload: bytes) -> None:
        """What the listener's habits say for every n-th frame."""
        if len(self.delivered) % self.habits.every:
            return
        habit = self.habits.on_frame
        if habit == 1:
            fin = frame.fin if isinstance(frame, WSFrame) else True
            self.send(int(frame.opcode), payload, fin=fin, in_place=self.habits.in_place)
        elif habit == 2:
            self._kept.append((frame, payload))
        elif habit == 3:
            self._kept.append(
                (memoryview(frame)[len(payload) // 2 :], payload[len(payload) // 2 :])
            )
        elif habit == 4:
            self.raise_fault()
        elif habit == 5:
            self.disconnect(graceful=True, code=4000)
        elif habit == 6:
            self.close(3000, "enough")
        elif habit == 7:
            with transport.cork():
                self.send(2, b"one")
                self.send(PING, b"two")
                self.send(2, payload, in_place=self.habits.in_place)

    def _misbehave(self, transport: WSTransport, *, first_bit: int) -> None:
        """Two bits say what the listener does in a callback that is not about a frame."""
        habit = self.habits.in_others >> first_bit & 3
        if habit == 1:
            self.raise_fault()
        elif habit == 2:
            self.send(1, b"text")
        elif habit == 3:
            self.disconnect(graceful=not first_bit & 4)

    def raise_fault(self) -> None:
        if self.options.disconnect_on_exception:
            self._has_cut = True
        raise ListenerFault

    # What must hold

    def finish(self) -> None:
        """Check the connection, end it in one way or another, and check what is left of it."""
        while self.corks:
            self.corks.pop().__exit__(None, None, None)
        self.wire.peer_reads = True
        self.loop.run_ready()
        self._check_incoming()
        self._check_outgoing()
        if not self.wire.is_lost:
            self.disconnect(graceful=True)
            self.loop.advance(LONG)
            check(self.wire.is_lost, "the connection does not end:", self.ws)
        self._check_end()
        self.wire.close_all()
        self._check_kept()
        endpoint_gone, transport_gone = weakref.ref(self._endpoint), weakref.ref(self.ws)
        del self._endpoint, self.ws, self._opened, self._coroutines, self._listener.transport
        check(endpoint_gone() is None, "the endpoint outlives its connection")
        check(transport_gone() is None, "the transport outlives its connection")

    def _check_incoming(self) -> None:
        """What was delivered, and how it ended, against the model."""
        if "connected" not in self.calls:
            check(not self.delivered, "frames before the connection", self.delivered)
            return
        start = self.incoming.index(b"\r\n\r\n") + 4
        wanted = read_frames(
            bytes(self.incoming[start:]),
            Rules(
                masked=not self.is_client,
                max_frame=self.options.max_frame_size,
                max_message=self.options.max_message_size,
                max_fragments=self.options.max_fragments_per_message,
            ),
        )
        expected, delivered = self._expected(wanted), self._comparable(self.delivered)
        check(delivered == expected[: len(delivered)], "delivered", delivered, expected)
        cause = self.ws.disconnect_cause
        kind = cause.kind if cause is not None else None
        if kind is WSDisconnectKind.PROTOCOL_ERROR and "stall_timeout" in str(cause):
            # The peer's bytes did not end it, and later bytes were not read.
            check(cause.exception.code == 1008, "wrong code", cause)
            check(self.loop.time() >= self.options.stall_timeout, "too early", cause)
            return
        if kind is WSDisconnectKind.PROTOCOL_ERROR:
            check(isinstance(cause.exception, WSProtocolError), "exception", cause)
            check(cause.exception.code == wanted.violation, "wrong code", cause, wanted.violation)
        ends_by_peer = (None, WSDisconnectKind.PROTOCOL_ERROR, WSDisconnectKind.PEER_CLOSE)
        if not self._has_cut and kind in ends_by_peer:
            check(delivered == expected, "not delivered", delivered, expected)
            violated = kind is WSDisconnectKind.PROTOCOL_ERROR
            check(violated == (wanted.violation is not None), "violation", kind, wanted.violation)
            check((kind is WSDisconnectKind.PEER_CLOSE) == wanted.closed, "CLOSE", kind)

    def _expected(self, wanted: Reading) -> List[Any]:
        """What the listener has to get, by the model."""
        if isinstance(self._listener, WSMessageListener):
            return _messages(wanted.frames)
        frames = [
            (frame.opcode, frame.fin, frame.payload)
            for frame in wanted.frames
            if frame.opcode != PING or not self.options.enable_auto_pong
        ]
        return self._comparable(frames)

    def _comparable(self, frames: List[Any]) -> List[Any]:
        """Without the frames that may have been taken for pongs."""
        if not self._measures and not self.options.enable_auto_ping:
            return frames
        if isinstance(self._listener, _PingingListener):
            return [frame for frame in frames if frame[0] != 2 or frame[-1] != b"!"]
        return [frame for frame in frames if frame[0] != PONG]

    def _check_outgoing(self) -> None:
        """What was written is frames, those that the user sent in their order, and a CLOSE."""
        if not self.calls:
            return
        is_broken = self.wire.is_aborted or self.wire.is_lost
        head, _, written = bytes(self.wire.written).partition(b"\r\n\r\n")
        check(is_broken or read_head(head + b"\r\n\r\n"), "no opening handshake", head)
        reading = read_frames(written, Rules(masked=self.is_client, trusts_caller=True))
        check(reading.violation is None, "wrote a violation", reading)
        check(is_broken or reading.used == len(written), "wrote more than frames", reading, written)
        data = [frame for frame in reading.frames if not frame.opcode & 8]
        wanted = [frame for frame in self.sent if not frame.opcode & 8]
        check(data == wanted[: len(data)], "wrote", data, wanted)
        if not is_broken:
            check(data == wanted, "did not write", data, wanted)
        self._check_pings(reading)
        self._check_close(reading)

    def _check_pings(self, reading: Reading) -> None:
        own = {frame.payload for frame in self.sent if frame.opcode == PING} | {bytes(8)}
        pongs = [frame.payload for frame in reading.frames if frame.opcode == PONG]
        check({frame.payload for frame in reading.frames if frame.opcode == PING} <= own, "pings")
        start = self.incoming.index(b"\r\n\r\n") + 4
        masked = Rules(masked=not self.is_client)
        received = read_frames(bytes(self.incoming[start:]), masked).frames
        asked = {frame.payload for frame in received if frame.opcode == PING}
        asked |= {frame.payload for frame in self.sent if frame.opcode == PONG}
        check(set(pongs) <= asked, "pongs that nobody asked for", pongs, asked)

    def _check_close(self, reading: Reading) -> None:
        cause = self.ws.disconnect_cause
        if self._user_closes or cause is None:
            return
        if cause.kind is WSDisconnectKind.PROTOCOL_ERROR and not self.wire.is_aborted:
            check(reading.closed, "failed without a CLOSE frame")
            code = int.from_bytes(reading.frames[-1].payload[:2], "big")
            check(code == cause.exception.code, "close code", code, cause)

    def _check_end(self) -> None:
        """Everybody was told, once, and nothing is left to happen."""
        check(self.ws.state == WSState.CLOSED, "state", self.ws.state)
        check(self.ws.disconnect_cause is not None, "no cause")
        check(self.calls in ([], ["connected", "disconnected"]), "callbacks", self.calls)
        check(self._opened.done(), "nobody learned about the opening handshake")
        self._opened.exception()
        self.loop.run_ready()
        for coroutine in self._coroutines:
            check(_step(coroutine), "somebody still waits")
        check(not self.loop.timers, "a timer is left")
        check(not self.loop.reported, "reported", self.loop.reported)
        check(not self.call(self.ws.send, 1, b"late"), "sent after the end")
        self.ws.disconnect()
        check(_step(self.ws.wait_disconnected()), "waits for what has happened")

    def _check_kept(self) -> None:
        """Frames and views that were kept are what they were."""
        for kept, payload in self._kept:
            check(bytes(kept) == payload, "a kept frame has changed", bytes(kept), payload)


def _messages(frames: List[Frame]) -> List[Tuple[int, bytes]]:
    """The messages that frames make up (RFC 6455, 5.4)."""
    messages = []
    opcode, parts = 0, b""
    for frame in frames:
        if frame.opcode & 8:
            continue
        if frame.opcode != CONTINUATION:
            opcode, parts = frame.opcode, b""
        parts += frame.payload
        if frame.fin:
            messages.append((opcode, parts))
    return messages


def _step(coroutine: Any) -> bool:
    """Run a coroutine of the transport as far as it goes; whether it has ended."""
    try:
        coroutine.send(None)
    except (StopIteration, WSConnectionError, WSUsageError, ListenerFault):
        return True
    return False
