"""connected: an open connection without a network, for unit tests of listeners and coroutines."""

from __future__ import annotations

import asyncio
import zlib
from typing import Any, Callable, Coroutine, Iterable, List, Optional, Tuple, TypeVar, Union
from urllib.parse import urlsplit

from picows_codec.constants import WSMsgType
from picows_codec.coroutines.connection import WSConnection
from picows_codec.coroutines.inbox import Inbox, QueueMarks
from picows_codec.disconnect import WSDisconnectCause
from picows_codec.errors import WSStateError, WSUsageError
from picows_codec.listener import WSListener
from picows_codec.listener_factory import bind_listener_factory, bind_route
from picows_codec.testing.clock import FakeLoop
from picows_codec.testing.frames import Frame
from picows_codec.testing.memory_connection import (
    HeaderPairs,
    MemoryConnection,
    MemoryLog,
    pairs_of,
)
from picows_codec.transport import WSTransport

__all__ = ["Connected", "connected"]

T = TypeVar("T")
Message = Union[str, bytes, bytearray, memoryview]
_DEFLATE = ("Sec-WebSocket-Extensions", "permessage-deflate")
_TAIL = b"\x00\x00\xff\xff"  # RFC 7692, 7.2.2


class Connected:
    """One end of an open connection; the test is the peer, the network and the clock.

    Made by :func:`connected`. Every method that lets something happen also runs what is then due in
    the loop, before it returns: callbacks, tasks, and what they make due. Time stands still until
    :meth:`advance`. What a callback of the listener raises, these methods raise.

    The codec below is the real one: handshakes, masking, limits, closing and deadlines are those of
    a connection over a socket. Where the peer's part of a closing handshake is wanted, call
    :meth:`receive_close` and :meth:`receive_eof`.
    """

    def __init__(
        self,
        connection: MemoryConnection,
        log: MemoryLog,
        *,
        raise_errors: bool,
    ) -> None:
        self._connection = connection
        self._log = log
        self._raises = raise_errors
        self._listener = connection.endpoint.listener
        self._awaited = WSConnection(self._listener) if isinstance(self._listener, Inbox) else None
        self._sent: List[Frame] = []
        self._inflater: Any = None
        self._is_compressed = False
        self._peer_has_closed = False

    # What is tested

    @property
    def transport(self) -> WSTransport:
        """The connection's :class:`WSTransport`, as listeners get it."""
        return self._connection.ws

    @property
    def listener(self) -> Any:
        """The listener, also when the connection has ended."""
        return self._listener

    @property
    def connection(self) -> WSConnection:
        """The :class:`WSConnection`, if :func:`connected` was called without a listener."""
        if self._awaited is None:
            raise WSUsageError("this connection has a listener: call connected() without one")
        return self._awaited

    @property
    def disconnect_cause(self) -> Optional[WSDisconnectCause]:
        """How the connection ended; None while it has not."""
        return self._connection.cause

    @property
    def is_disconnected(self) -> bool:
        """Whether the connection has ended, and the listener was told."""
        return self._connection.network.lost

    @property
    def log(self) -> List[str]:
        """What the connection has logged, a text for each line."""
        return self._log.lines

    # What the peer does

    def receive(self, *messages: Message, opcode: Optional[int] = None) -> None:
        """Messages of the peer arrive, all in one read.

        A str is a TEXT message, bytes are a BINARY one, unless ``opcode`` says otherwise:
        ``receive(b"", opcode=WSMsgType.PING)``.

        :raises WSStateError: the connection has ended, or the peer has sent a CLOSE frame. What a
            peer does that breaks this rule, :meth:`receive_bytes` does.
        """
        self._check_open()
        build = self._connection.build
        self.receive_bytes(
            b"".join(build(*_opcode_and_payload(message, opcode)) for message in messages)
        )

    def receive_fragments(self, *pieces: Message, opcode: Optional[int] = None) -> None:
        """One message of the peer arrives, each piece in a frame and a read of its own.

        Raises as :meth:`receive` does.
        """
        self._check_open()
        build = self._connection.build
        found = [_opcode_and_payload(piece, opcode) for piece in pieces]
        self.receive_bytes(
            *(
                build(0 if index else kind, payload, fin=index == len(found) - 1)
                for index, (kind, payload) in enumerate(found)
            )
        )

    def receive_close(self, code: int = 1000, reason: str = "") -> None:
        """A CLOSE frame of the peer arrives (RFC 6455, 5.5.1).

        Raises as :meth:`receive` does.
        """
        self._check_open()
        self._peer_has_closed = True
        self._connection.receive_close(code, reason)
        self._finish()

    def receive_bytes(self, *pieces: bytes) -> None:
        """Any bytes of the peer arrive, each piece in a read of its own."""
        self._connection.feed(*pieces)
        self._finish()

    def receive_eof(self) -> None:
        """The peer sends no more, as if it had closed its socket."""
        self._connection.feed_eof()
        self._finish()

    def lose(self, error: Optional[BaseException] = None) -> None:
        """The connection breaks, with an error such as ``ConnectionResetError()``, or without."""
        self._connection.lose(error)
        self._finish()

    def stop_reading(self, room: int = 0) -> None:
        """The peer reads no more: ``room`` bytes are still sent, then the write queue fills."""
        self._connection.network.room = room

    def read_again(self) -> None:
        """The peer reads all that waits in the write queue, and goes on reading."""
        self._connection.network.room = None
        self._connection.drain()
        self._finish()

    def _check_open(self) -> None:
        if self.is_disconnected:
            raise WSStateError(f"nothing arrives any more: {self.disconnect_cause}")
        if self._peer_has_closed:
            raise WSStateError("nothing may follow the peer's CLOSE frame (RFC 6455, 5.5.1)")

    # What it was sent

    @property
    def sent(self) -> List[Frame]:
        """The frames that were sent since the connection opened, or since ``sent.clear()``.

        Each has ``opcode`` (a :class:`WSMsgType`), ``payload`` (bytes, unmasked, and inflated if
        the message was compressed), ``text``, ``fin``, ``rsv``.
        """
        for frame in self._connection.new_frames():
            self._sent.append(self._decoded(frame))
        self._raise_errors()
        return self._sent

    @property
    def sent_messages(self) -> List[Union[str, bytes]]:
        """The data messages among ``sent``: a str for TEXT, bytes for BINARY, fragments joined."""
        found: List[Union[str, bytes]] = []
        opcode, parts = WSMsgType.TEXT, b""
        for frame in self.sent:
            if frame.opcode >= WSMsgType.CLOSE:
                continue
            if frame.opcode:
                opcode, parts = WSMsgType(frame.opcode), b""
            parts += frame.payload
            if frame.fin:
                found.append(parts.decode() if opcode is WSMsgType.TEXT else parts)
        return found

    # Time, and coroutines

    @property
    def loop(self) -> Any:
        """The event loop: a :class:`FakeLoop`, or the one that was passed."""
        return self._connection.loop

    def advance(self, seconds: float) -> None:
        """Let time pass: what is due meanwhile happens, in its order."""
        self._fake_loop().advance(seconds)
        self._finish()

    def run(self, coro: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end and return its result.

        :raises TimeoutError: it waits for something that does not happen by itself.
        """
        result: T = self._fake_loop().run(coro)
        self._finish()
        return result

    def start_task(self, coro: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Make a task of a coroutine, and run it until it waits for something.

        What it raises is not raised here: ask ``task.result()`` at the end of the test.
        """
        task: asyncio.Task[T] = self.loop.create_task(coro)
        self._finish()
        return task

    def _fake_loop(self) -> FakeLoop:
        loop = self._connection.loop
        if not isinstance(loop, FakeLoop):
            raise WSUsageError("there is no fake clock, because a loop was passed")
        return loop

    def _finish(self) -> None:
        self._connection.run_ready()
        self._raise_errors()

    def _raise_errors(self) -> None:
        if self._raises and self._log.errors:
            error, traceback = self._log.errors.pop(0)
            raise error.with_traceback(traceback)

    def _decoded(self, frame: Frame) -> Frame:
        payload, opcode = frame.payload, WSMsgType(frame.opcode)
        if opcode < WSMsgType.CLOSE:
            if opcode:
                self._is_compressed = bool(frame.rsv & 4)
            if self._is_compressed:
                if self._inflater is None:
                    self._inflater = zlib.decompressobj(-15)
                payload = self._inflater.decompress(payload + _TAIL * frame.fin)
        return Frame(opcode, payload, frame.fin, frame.rsv)

    def __repr__(self) -> str:
        return f"<Connected {self._connection.role} {self.transport!r}>"


def connected(
    target: Union[WSListener, Callable[..., Any], None] = None,
    *,
    role: str = "client",
    url: str = "ws://localhost/",
    headers: HeaderPairs = (),
    subprotocols: Iterable[str] = (),
    peer_headers: HeaderPairs = (),
    loop: Optional[asyncio.AbstractEventLoop] = None,
    raise_errors: bool = True,
    **options: Any,
) -> Connected:
    """Open a connection without a network, for a unit test.

    ::

        def test_resubscribes():
            link = connected(Feed())
            assert link.sent_messages == ['{"op": "subscribe"}']
            link.receive('{"price": 1.5}')
            assert link.listener.price == 1.5

    :param target: a listener, a listener factory as :func:`ws_connect` or ``ws_create_server``
        takes it, or None for a :class:`WSConnection` (``Connected.connection``).
    :param role: ``"client"`` or ``"server"``: which end ``target`` is.
    :param url: of the request: what ``transport.request`` says.
    :param headers: a client's extra headers: a mapping or pairs.
    :param subprotocols: those that a client offers or a server speaks. The peer agrees on the
        first one.
    :param peer_headers: further headers of the peer: of its response, or of its request. A mapping
        or pairs.
    :param loop: an event loop to use instead of a :class:`FakeLoop`: then no time can be advanced,
        and what is due happens when that loop runs.
    :param raise_errors: whether what a callback of the listener raises is also raised here; it ends
        the connection in either case, unless ``disconnect_on_exception=False``.
    :param options: those of the connection, such as ``enable_auto_ping`` or ``compression``, on
        which the peer agrees.
    :raises BaseException: what the factory or ``on_ws_connected`` raised.
    """
    if role not in ("client", "server"):
        raise WSUsageError(f"role must be 'client' or 'server', not {role!r}")
    if "extra_headers" in options:
        raise TypeError("connected() has no option 'extra_headers': write headers=")
    if isinstance(subprotocols, (str, bytes)):
        raise TypeError(f"subprotocols must be an iterable of str, not {subprotocols!r}")
    parts = urlsplit(url)
    names = tuple(subprotocols)
    agreed = [("Sec-WebSocket-Protocol", names[0])] if names else []
    peer_pairs = pairs_of(peer_headers)
    given = {name.lower() for name, _ in peer_pairs}
    if options.get("compression") is not None and _DEFLATE[0].lower() not in given:
        agreed.append(_agreement(options["compression"], role))
    log = MemoryLog()
    connection = MemoryConnection(
        role,
        _factory_of(target, role),
        logger=log,
        loop=loop,
        target=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        host=parts.netloc.rpartition("@")[2] or "localhost",
        headers=headers,
        subprotocols=names,
        peer_headers=[*agreed, *peer_pairs],
        transport_options={"secure": parts.scheme == "wss"},
        **options,
    )
    opened = connection.endpoint.opened
    connection.start()
    connection.open()
    if opened.done() and opened.exception() is not None:
        if log.errors:  # with its traceback
            raise log.errors[0][0].with_traceback(log.errors[0][1])
        raise opened.exception()
    if raise_errors and log.errors:  # of on_ws_connected, which did not end the connection
        raise log.errors[0][0].with_traceback(log.errors[0][1])
    return Connected(connection, log, raise_errors=raise_errors)


def _agreement(compression: Any, role: str) -> Tuple[str, str]:
    """What the peer says to what was asked for."""
    value = _DEFLATE[1]
    if role == "client":
        if getattr(compression, "server_no_context_takeover", False):
            value += "; server_no_context_takeover"
        bits = getattr(compression, "server_max_window_bits", None)
        if bits is not None:
            value += f"; server_max_window_bits={bits}"
    return _DEFLATE[0], value


def _factory_of(target: Any, role: str) -> Callable[..., Any]:
    if target is None:
        return lambda *_: Inbox(QueueMarks())
    if isinstance(target, WSListener):
        return lambda *_: target
    bind = bind_listener_factory if role == "client" else bind_route
    found: Callable[..., Any] = bind(target)
    return found


def _opcode_and_payload(message: Message, opcode: Optional[int]) -> Tuple[int, bytes]:
    if isinstance(message, str):
        return (WSMsgType.TEXT if opcode is None else opcode), message.encode()
    if not isinstance(message, (bytes, bytearray, memoryview)):
        raise TypeError(f"a message is a str or bytes, not {type(message).__name__}: {message!r}")
    return (WSMsgType.BINARY if opcode is None else opcode), bytes(message)
