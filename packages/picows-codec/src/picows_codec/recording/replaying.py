"""replay: what a connection has received once goes through the codec again, to any listener."""

from __future__ import annotations

import asyncio
import inspect
import re
from contextlib import suppress
from typing import Any, Callable, Coroutine, Dict, Iterator, List, Optional, Tuple, Union

from picows_codec.coroutines.connection import WSConnection
from picows_codec.coroutines.inbox import Inbox, QueueMarks
from picows_codec.deflate.negotiation import NAME, parse_extensions
from picows_codec.deflate.parameters import WSPermessageDeflate
from picows_codec.disconnect import WSDisconnectCause, WSDisconnectKind, WSState
from picows_codec.errors import WSConnectionClosed, WSHandshakeError, WSUsageError
from picows_codec.listener import WSListener
from picows_codec.listener_factory import bind_listener_factory, bind_route
from picows_codec.recording.file_format import Record, RecordingError
from picows_codec.recording.reading import AnyPath, files_of, read_recording
from picows_codec.tap_types import WSDirection
from picows_codec.testing.frames import CLOSE, accept_of, parse_all, size_of
from picows_codec.testing.memory_connection import MemoryConnection, MemoryLog
from picows_codec.testing.memory_transport import MemoryTransport
from picows_codec.transport import WSTransport

__all__ = ["replay"]

Target = Union[WSListener, Callable[..., Any]]

# What is made anew for each handshake.
_OWN = frozenset(
    {
        "host",
        "upgrade",
        "connection",
        "sec-websocket-key",
        "sec-websocket-version",
        "sec-websocket-protocol",
        "sec-websocket-extensions",
    }
)
_NO_TIMEOUTS: Dict[str, Any] = {
    "websocket_handshake_timeout": None,
    "close_timeout": None,
    "stall_timeout": None,
}
_ACCEPT = re.compile(rb"(?im)^(sec-websocket-accept[ \t]*:[ \t]*)(\S+)")
# Loop iterations after which a replay that waits for its reader does so without a core.
_PATIENCE = 100


async def replay(
    path: AnyPath,
    target: Target,
    speed: Optional[float] = None,
    *,
    connection: Optional[int] = None,
    on_record: Optional[Callable[[Record], object]] = None,
    raise_errors: bool = True,
    **options: Any,
) -> List[WSDisconnectCause]:
    """Feed what was recorded through the codec, in memory, to a listener or a coroutine.

    Each connection gets an endpoint of its role, which takes the same way as a live one: the
    opening handshake with what was negotiated, frames, fragments, compression, the end. What is
    sent meanwhile goes nowhere. One loop iteration passes for each read that was recorded. Where
    this side closed or dropped the connection, that of a listener is closed or dropped as well.

    Returns how each connection ended, in the order in which they began. One whose handshake was
    refused ends with ``HANDSHAKE_FAILURE``; the listener factory is not called then. Where a server
    had accepted, its factory decides again, without the credentials that are not recorded.

    :param path: a file of a :class:`Recorder`; those that it was rotated into are read first.
    :param target: a listener; a listener factory, as the package of the connection's role takes
        it; or a coroutine function that takes a :class:`WSConnection`. A listener cannot serve two
        connections at the same time: pass a factory for such a recording.
    :param speed: None: as fast as possible. 1.0: at the recorded pace, 2.0: twice as fast.
    :param connection: the number of the only connection to replay.
    :param on_record: called with each :class:`Record` before it is fed, sent ones included.
    :param raise_errors: whether to raise what a callback raised. Otherwise it only ends its
        connection, as it does live.
    :param options: of the connections. By default there are no timeouts and no pings, and
        ``compression`` is what was negotiated.
    :raises RecordingError: the file is no recording, or is damaged, or has nothing to replay.
    :raises BaseException: what a callback, the factory or the coroutine raised.
    """
    if speed is not None and (isinstance(speed, bool) or not isinstance(speed, (int, float))):
        raise TypeError(f"speed must be a number or None, not {speed!r}")
    if speed is not None and not speed > 0:
        raise WSUsageError(f"speed must be above 0, or None, not {speed!r}")
    running = _Running(target, raise_errors, {**_NO_TIMEOUTS, **options})
    pace = _Pace(speed)
    try:
        for record in _records(path):
            if connection is not None and record.connection != connection:
                continue
            await pace.wait_for(record)
            if on_record is not None:
                on_record(record)
            await running.take(record)
        await running.end_all()
    finally:
        await running.drop_all()
    if not running.causes:
        number = "" if connection is None else f" {connection}"
        reason = running.reason or f"there is no connection{number} in it"
        raise RecordingError(f"{path} has nothing to replay: {reason}")
    return [running.causes[number] for number in sorted(running.causes)]


def _records(path: AnyPath) -> Iterator[Record]:
    for each in files_of(path):
        yield from read_recording(each)


class _Pace:
    """Waits as long as it took when it was recorded."""

    def __init__(self, speed: Optional[float]) -> None:
        self._speed = speed
        self._last: Optional[Record] = None
        self._due = 0.0

    async def wait_for(self, record: Record) -> None:
        last, self._last = self._last, record
        if self._speed is None:
            return
        loop = asyncio.get_running_loop()
        if last is None:
            self._due = loop.time()
            return
        passed = record.monotonic_ns - last.monotonic_ns
        if passed < 0:  # the machine was started again
            passed = max(0, record.time_ns - last.time_ns)
        self._due += passed / 1e9 / self._speed
        left = self._due - loop.time()
        if left > 0:
            await asyncio.sleep(left)


class _Sink(MemoryTransport):
    """Forgets what is written, once the opening handshake has begun."""

    def write(self, data: Any) -> None:
        super().write(data)
        if len(self.writes) > 1:
            del self.writes[1:]

    def _count(self, name: str) -> None:
        pass


class _Log(MemoryLog):
    """Keeps exceptions only, because nobody reads the lines."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802
        return False

    def debug(
        self, message: str, *args: object, exc_info: object = None, extra: object = None
    ) -> None:
        pass

    info = debug

    def error(
        self,
        message: str,
        *args: object,
        exc_info: Optional[BaseException] = None,
        extra: object = None,
    ) -> None:
        super().error(message, *args, exc_info=exc_info)
        self.lines.clear()


class _Running:
    """The connections of a replay."""

    def __init__(self, target: Target, raise_errors: bool, options: Dict[str, Any]) -> None:
        self.causes: Dict[int, WSDisconnectCause] = {}
        self.reason: Optional[str] = None  # why something could not be replayed
        self._target = target
        self._raises = raise_errors
        self._options = options
        self._connections: Dict[int, _Replayed] = {}
        self._order: Dict[int, int] = {}

    async def take(self, record: Record) -> None:
        number = record.connection
        if record.kind == "open":
            self._open(record)
            return
        replayed = self._connections.get(number)
        if replayed is None:
            return
        try:
            if record.kind == "end":
                await self._end(number, record.facts.get("cause"))
            else:
                await replayed.take(record)
        except _CannotBeReplayed as error:
            self.reason = str(error)
            await self._connections.pop(number).drop()

    def _open(self, record: Record) -> None:
        before = self._connections.get(record.connection)
        if before is not None and "continues" in record.facts:
            before.pass_over(record.facts["continues"]["heads"])
            return
        if isinstance(self._target, WSListener) and self._connections:
            raise WSUsageError(
                "connections overlap in this recording: pass a listener factory, or the number of"
                " one connection"
            )
        self._connections[record.connection] = _Replayed(
            record, self._target, self._options, raise_errors=self._raises
        )

    async def _end(self, number: int, recorded: Optional[str] = None) -> None:
        replayed = self._connections[number]
        cause = await replayed.end(recorded)
        if cause is not None:
            self.causes[number] = cause
        elif self.reason is None:
            self.reason = f"connection {number} has no whole opening handshake"
        del self._connections[number]

    async def end_all(self) -> None:
        for number in list(self._connections):
            await self._end(number)

    async def drop_all(self) -> None:
        await asyncio.gather(*(replayed.drop() for replayed in self._connections.values()))


class _CannotBeReplayed(Exception):
    pass


class _Replayed:
    """One connection of a recording."""

    def __init__(
        self, record: Record, target: Target, options: Dict[str, Any], *, raise_errors: bool
    ) -> None:
        self._role = record.role or "client"
        self._target = target
        self._options = options
        self._raises = raise_errors
        self._log = _Log()
        self._request = b""
        self._memory: Optional[MemoryConnection] = None
        self._task: Optional[asyncio.Task[Any]] = None
        self._continues: Optional[Dict[str, Any]] = record.facts.get("continues")
        self._repeated = 0
        self._refusal: Optional[int] = None  # role server: the recorded status if it is not 101
        self._skipped = bytes.fromhex(self._continues["head"]) if self._continues else b""

    def pass_over(self, heads: int) -> None:
        """The next file begins with so many heads that were in the files before it."""
        self._repeated = heads

    async def take(self, record: Record) -> None:
        is_received = record.direction is WSDirection.RECEIVED
        if record.is_handshake and self._repeated:
            self._repeated -= 1
        elif record.is_handshake:
            await self._take_head(record.data, is_received)
        elif is_received and self._memory is not None:
            data = record.data if self._continues is None else self._behind(record.data)
            await self._feed(data)
        elif not is_received and self._memory is not None and self._task is None:
            self._close_as_then(self._memory.ws, record.data)

    def _close_as_then(self, transport: WSTransport, sent: bytes) -> None:
        """Begin the closing handshake where this side did, maybe not by its listener."""
        frames, rest = parse_all(sent)
        if not rest and frames and frames[-1].opcode == CLOSE and transport.state is WSState.OPEN:
            payload = frames[-1].payload
            code = int.from_bytes(payload[:2], "big") if payload else None
            transport.send_close(code, payload[2:])

    async def _take_head(self, head: bytes, is_received: bool) -> None:
        is_request = is_received == (self._role == "server")
        if is_request:
            self._request = head
            if self._role == "client":
                self._begin(self._client_options())
            return
        if self._continues is not None:
            self._check_continuation(head)
        if self._role == "client":
            if self._memory is not None:
                await self._feed(self._with_own_accept(head))
        elif self._memory is None:
            status = _status_of(head)
            if 100 <= status < 200 and status != 101:
                return  # RFC 9110, 15.2: another head follows
            self._refusal = None if status == 101 else status
            self._begin(self._server_options(head))
            await self._feed(self._request)

    def _begin(self, options: Dict[str, Any]) -> None:
        loop = asyncio.get_running_loop()
        self._memory = MemoryConnection(
            self._role,
            self._factory(),
            logger=self._log,
            loop=loop,
            transport_class=_Sink,
            **{**options, **self._options},
        )
        self._memory.start()

    def _factory(self) -> Callable[..., Any]:
        target: Any = self._target
        if self._refusal is not None:
            return self._refuse
        if isinstance(target, WSListener):
            return lambda *_: target
        if inspect.iscoroutinefunction(target):
            return lambda *_: Inbox(QueueMarks(), self._start_task)
        bind: Any = bind_listener_factory if self._role == "client" else bind_route
        found: Callable[..., Any] = bind(target)
        return found

    def _refuse(self, _: Any) -> None:
        raise WSHandshakeError(f"the recorded response was {self._refusal}", status=self._refusal)

    def _start_task(self, inbox: Inbox) -> None:
        handler: Any = self._target
        work: Coroutine[Any, Any, Any] = handler(WSConnection(inbox))
        self._task = asyncio.get_running_loop().create_task(work)

    async def _feed(self, data: bytes) -> None:
        memory = self._memory
        if memory is None:
            return
        if data:
            memory.feed(data)
        await self._let_happen()

    async def _let_happen(self) -> None:
        """One loop iteration, and as many as a reader wants that has paused reading."""
        memory = self._memory
        await asyncio.sleep(0)
        iterations = 0
        while memory is not None and memory.network.undelivered and not memory.network.lost:
            if self._task is not None and self._task.done():
                break  # nobody reads any more
            iterations += 1
            await asyncio.sleep(0 if iterations < _PATIENCE else 0.001)
        self._raise_errors()

    def _raise_errors(self) -> None:
        errors = self._log.errors[:]
        self._log.errors.clear()
        if self._raises and errors and self._refusal is None:
            error, traceback = errors[0]
            raise error.with_traceback(traceback)

    async def end(self, recorded: Optional[str] = None) -> Optional[WSDisconnectCause]:
        memory = self._memory
        if memory is None:
            return None
        if recorded == WSDisconnectKind.LOCAL_ABORT.name and self._task is None:
            memory.ws.disconnect(graceful=False)
        memory.feed_eof()
        await self._let_happen()
        if self._task is not None and not memory.network.lost:
            await asyncio.sleep(0)
        if not memory.network.lost:
            memory.lose()
        while not memory.network.lost:  # noqa: ASYNC110 - it is, in a few iterations
            await asyncio.sleep(0)
        if self._task is not None:
            with suppress(WSConnectionClosed):  # how the connection ended; as serve does
                await self._task
        self._raise_errors()
        return memory.cause

    async def drop(self) -> None:
        """Leave nothing behind."""
        if self._memory is not None and not self._memory.network.lost:
            self._memory.lose()
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0)  # until connection_lost was called

    # The opening handshake

    def _client_options(self) -> Dict[str, Any]:
        first_line, fields = _parsed(self._request)
        words = first_line.split(" ")
        values = dict(fields)
        options: Dict[str, Any] = {
            "target": words[1] if len(words) == 3 and words[1].startswith("/") else "/",
            "host": values.get("host", "localhost"),
            "headers": [(name, value) for name, value in fields if name not in _OWN],
            "subprotocols": _listed(fields, "sec-websocket-protocol"),
        }
        compression = _compression_of(fields)
        if compression is not None:
            options["compression"] = compression
        return options

    def _server_options(self, response: bytes) -> Dict[str, Any]:
        _, fields = _parsed(response)
        options: Dict[str, Any] = {"subprotocols": _listed(fields, "sec-websocket-protocol")}
        compression = _compression_of(fields)
        if compression is not None:
            options["compression"] = compression
        return options

    def _with_own_accept(self, response: bytes) -> bytes:
        """The response, as it would be to the request with this endpoint's key."""
        recorded, own = _key_of(self._request), _key_of(self._written())
        match = _ACCEPT.search(response)
        if match is None or match[2] != accept_of(recorded):
            return response  # a wrong one stays wrong
        return response[: match.start(2)] + accept_of(own) + response[match.end(2) :]

    def _written(self) -> bytes:
        return b"" if self._memory is None else self._memory.network.written

    # A file that goes on with a connection

    def _check_continuation(self, response: bytes) -> None:
        continues = self._continues or {}
        if continues.get("is_lost"):
            raise _CannotBeReplayed("a connection had received what are no frames")
        _, fields = _parsed(response)
        sender = "client" if self._role == "server" else "server"
        for name, parameters in _extensions(fields):
            if name == NAME and f"{sender}_no_context_takeover" not in dict(parameters):
                raise _CannotBeReplayed(
                    "the beginning of a compressed connection with context takeover is in a file"
                    " that is not there any more"
                )

    def _behind(self, data: bytes) -> bytes:
        """What comes behind the message that was under way when the file began."""
        continues = self._continues or {}
        left = int(continues["left"])
        continues["left"] = max(0, left - len(data))
        data = self._skipped + data[left:]
        while data and continues["in_message"] and not continues["left"]:
            size = size_of(data)
            if size is None:
                break
            opcode, fin = data[0] & 0x0F, bool(data[0] & 0x80)
            if size > len(data):
                continues["left"] = size - len(data)
            data = data[size:]
            if opcode < 8:
                continues["in_message"] = not fin
        if continues["left"] or continues["in_message"]:
            self._skipped = data
            return b""
        self._continues = None
        return data


def _parsed(head: bytes) -> Tuple[str, List[Tuple[str, str]]]:
    """The first line of a head, and its fields with names in lower case."""
    lines = re.sub(rb"\r?\n[ \t]+", b" ", head.lstrip(b"\r\n")).decode("latin-1").splitlines()
    fields = []
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            fields.append((name.strip().lower(), value.strip()))
    return lines[0] if lines else "", fields


def _listed(fields: List[Tuple[str, str]], name: str) -> List[str]:
    found: List[str] = []
    for each, value in fields:
        if each == name:
            found += [part.strip() for part in value.split(",")]
    return [part for part in dict.fromkeys(found) if part]  # several may be REDACTED


def _status_of(response: bytes) -> int:
    match = re.match(rb"\s*HTTP/\d\.\d (\d{3})", response)
    return 0 if match is None else int(match[1])


def _extensions(fields: List[Tuple[str, str]]) -> Iterator[Any]:
    for name, value in fields:
        if name == "sec-websocket-extensions" and value:
            try:
                yield from parse_extensions(value)
            except ValueError:
                continue


def _compression_of(fields: List[Tuple[str, str]]) -> Optional[WSPermessageDeflate]:
    """The parameters of permessage-deflate in an offer or a response."""
    for name, parameters in _extensions(fields):
        if name != NAME:
            continue
        found: Dict[str, Any] = {}
        for parameter, value in parameters:
            if parameter.endswith("_no_context_takeover"):
                found[parameter] = True
            elif value is not None and value.isdecimal():
                found[parameter] = int(value)
        return WSPermessageDeflate(**found)
    return None


def _key_of(request: bytes) -> bytes:
    match = re.search(rb"(?im)^sec-websocket-key[ \t]*:[ \t]*(\S+)", request)
    return b"" if match is None else match[1]
