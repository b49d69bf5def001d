"""Target: a whole connection, of either role, over a transport in memory or a pair of sockets.

Input: six bytes that set it up (see ``_set_up``), then operations, each a byte whose low four
bits choose it and whose high four bits belong to it, with its arguments behind it.
"""

from __future__ import annotations

import gc
import select
from typing import Any, Callable, Dict, Sequence

from fuzz.frames import PING, PONG, encode_frame
from fuzz.harness import Input, check, raise_unraisable
from fuzz.memory import MemoryLoop, MemoryTransport, SocketWire, stream
from fuzz.session import Habits, Session
from picows_codec import WSAutoPingStrategy, WSEndpoint, WSMsgType, WSOptions

__all__ = ["run"]

KEY = b"\x00\x01\x02\x03"
# More of them are slower, and find no more.
MAX_OPERATIONS = 60


def run(data: bytes) -> None:
    """Play an input on a new connection."""
    source = Input(data)
    # Connections must go without the collector; it would hide those that do not.
    gc.disable()
    try:
        with raise_unraisable():
            session = _set_up(source)
            for _ in range(MAX_OPERATIONS):
                if source.exhausted:
                    break
                code = source.byte()
                OPERATIONS[code & 15](session, source, code >> 4)
                session.loop.run_ready()
            session.finish()
    finally:
        gc.enable()


def _set_up(source: Input) -> Session:
    flags, limits, timing = source.byte(), source.byte(), source.byte()
    on_frame, in_others, pattern = source.byte(), source.byte(), source.byte()
    options: Dict[str, Any] = {
        "enable_auto_pong": not flags & 2,
        "disconnect_on_exception": not flags & 4,
        "max_frame_size": (16 << 20, 125, 1000, 70000)[limits & 3],
        "max_message_size": (64 << 20, 200, 3000, 70001)[limits >> 2 & 3],
        "max_fragments_per_message": (131072, 1, 3, 10)[limits >> 4 & 3],
        "max_write_queue_size": (16 << 20, 150, 4000, 70000)[limits >> 6],
        "write_high_watermark": (65536, 100, 1000, 0)[limits >> 6],
        "read_buffer_init_size": (131072, 256)[flags >> 7],
        "enable_auto_ping": bool(timing & 1),
        "auto_ping_strategy": WSAutoPingStrategy(1 + (timing >> 1 & 1)),
        "auto_ping_idle_timeout": 2.0,
        "auto_ping_reply_timeout": 1.0,
    }
    session = Session(
        WSOptions(**options),
        is_client=bool(flags & 1),
        listener=timing >> 2 & 15,
        habits=Habits(on_frame & 7, 1 + (on_frame >> 3 & 7), in_others, bool(on_frame & 64)),
        shares_reads=not flags & 32,
        make_wire=lambda loop, endpoint: _make_wire(loop, endpoint, flags, timing),
    )
    if not flags & 64:
        session.arrive(session.greeting)
    session.pattern = pattern or 255
    return session


def _make_wire(loop: MemoryLoop, endpoint: WSEndpoint, flags: int, timing: int) -> Any:
    if timing & 128 and stream is not None:
        has_epoll = stream.Poller is not None and hasattr(select, "epoll")
        return SocketWire(loop, endpoint, with_poller=bool(timing & 64) and has_epoll)
    return MemoryTransport(loop, endpoint, is_secure=bool(flags & 8), is_buffered=bool(flags & 16))


# The peer


def _raw(session: Session, source: Input, bits: int) -> None:
    """Any bytes."""
    session.arrive(source.take(source.number(2 if bits & 1 else 1)))


def _greeting(session: Session, source: Input, bits: int) -> None:
    """The opening handshake, and a frame right behind it."""
    session.arrive(session.greeting + _peer_frame(session, 0x81, b"early" * bits))


def _frame(session: Session, source: Input, bits: int) -> None:
    """A frame that is well-formed, if its first byte is."""
    first_byte = source.byte()
    payload = source.take(source.byte())
    session.arrive(_peer_frame(session, first_byte, payload) * (1 + (bits >> 1)))


def _large_frame(session: Session, source: Input, bits: int) -> None:
    """A frame that does not fit into one read, or the limits."""
    first_byte = source.byte()
    size = source.number(2) << (bits & 1)
    before, session.pattern = session.pattern, 255
    frame = _peer_frame(session, first_byte, b"large..." * (size // 8 + 1))
    middle = len(frame) * (1 + (bits >> 2)) // 5
    session.arrive(frame[:middle])
    session.arrive(frame[middle:])
    session.pattern = before


def _peer_frame(session: Session, first_byte: int, payload: bytes) -> bytes:
    return encode_frame(first_byte, payload, None if session.is_client else KEY)


def _peer_reads(session: Session, source: Input, bits: int) -> None:
    """The peer stops reading, or reads something."""
    session.wire.peer_reads = bool(bits & 1)
    session.wire.drain(source.byte() << (bits >> 1))


def _peer_leaves(session: Session, source: Input, bits: int) -> None:
    """The end of the stream, or of the connection."""
    if bits & 1:
        session.wire.end_of_stream()
    else:
        session.wire.lose(ConnectionResetError("reset") if bits & 2 else None)


# The user


def _send(session: Session, source: Input, bits: int) -> None:
    first_byte = source.byte()
    payload = source.take(source.byte()) * (1, 1, 50, 1000)[bits >> 1 & 3]
    session.send(
        first_byte & 15,
        payload,
        fin=bool(first_byte & 128),
        rsv=first_byte >> 4 & 7,
        in_place=bool(bits & 1),
    )


def _send_close(session: Session, source: Input, bits: int) -> None:
    code, reason = source.number(2), source.take(bits)
    session.close(code or None, reason.decode("utf-8", "replace") if bits & 1 else reason)


def _disconnect(session: Session, source: Input, bits: int) -> None:
    session.disconnect(graceful=bool(bits & 1), code=source.number(2) if bits & 2 else 1000)


def _cork(session: Session, source: Input, bits: int) -> None:
    if bits & 1 and session.corks:
        session.corks.pop().__exit__(None, None, None)
    elif len(session.corks) < 5:
        session.corks.append(session.ws.cork())
        session.corks[-1].__enter__()


def _wait(session: Session, source: Input, bits: int) -> None:
    if bits & 1:
        session.measure()
    else:
        session.wait()


def _look(session: Session, source: Input, bits: int) -> None:
    """Every attribute, at any time; kept frames are dropped."""
    session.forget_kept()
    for name in dir(session.ws):
        if not name.startswith("_"):
            getattr(session.ws, name)
    repr(session.ws)
    check(session.ws.write_queue_size >= 0, "queue", session.ws.write_queue_size)


def _misuse(session: Session, source: Input, bits: int) -> None:
    """Calls that are always wrong."""
    method, arguments = MISUSES[source.byte() % len(MISUSES)]
    check(not session.call(getattr(session.ws, method), *arguments), "allowed", method, arguments)


MISUSES = (
    ("send", (3, b"reserved")),
    ("send", (11, b"reserved")),
    ("send", (16, b"too large")),
    ("send", (-1, b"too small")),
    ("send", (None, b"no opcode")),
    ("send", (WSMsgType.TEXT, 1)),
    ("send", (WSMsgType.BINARY, "text")),
    ("send", (WSMsgType.PING, bytes(126))),
    ("send", (WSMsgType.PONG, b"", False)),
    ("send", (WSMsgType.TEXT, memoryview(bytes(8))[::2])),
    ("send_reuse_external_bytearray", (2, bytearray(20), 13)),
    ("send_reuse_external_bytearray", (2, bytearray(20), 21)),
    ("send_reuse_external_bytearray", (2, None, 14)),
    ("send_ping", (bytes(126),)),
    ("send_close", (1006,)),
    ("send_close", (1000, "x" * 124)),
    ("send_close", (None, "reason without a code")),
    ("disconnect", (True, 999)),
    ("disconnect", (False, 1000, b"\xff")),
)


# Both


def _advance(session: Session, source: Input, bits: int) -> None:
    """Time passes: up to eight seconds."""
    session.loop.advance((bits + 1) / 2)


def _cut(session: Session, source: Input, bits: int) -> None:
    session.pattern = source.byte()


def _ping_pong(session: Session, source: Input, bits: int) -> None:
    """The peer answers the pings of the library, or asks a lot itself."""
    frame = _peer_frame(session, 0x80 | PONG, bytes(8))
    if bits & 1:
        frame = _peer_frame(session, 0x80 | PING, b"ping") * 5
    session.arrive(frame)


OPERATIONS: Sequence[Callable[[Session, Input, int], None]] = (
    _raw,
    _frame,
    _send,
    _large_frame,
    _greeting,
    _peer_reads,
    _peer_leaves,
    _send_close,
    _disconnect,
    _cork,
    _wait,
    _look,
    _misuse,
    _advance,
    _cut,
    _ping_pong,
)
