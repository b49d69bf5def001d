"""``NatsBackplane``: topics over NATS core."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections import deque
from inspect import signature
from typing import (
    Any,
    Container,
    Deque,
    Dict,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    Union,
)
from urllib.parse import urlsplit

from picows_codec import WSInvalidOptionError
from picows_server.backplane.cancellation import end, finish, within
from picows_server.backplane.counting import EngineCounts
from picows_server.backplane.delivery import Delivery, Feed
from picows_server.backplane.envelope import (
    ENVELOPE_OVERHEAD,
    PRODUCER_SIZE,
    RECORD_OVERHEAD,
    plain_envelope,
)
from picows_server.backplane.interface import (
    BackplaneError,
    BackplaneReceiver,
    BackplaneStats,
    History,
    HistoryRule,
    Position,
)
from picows_server.backplane.lifecycle import Lifecycle
from picows_server.backplane.nats_client import confirm, guard_closing, release, send, watch
from picows_server.backplane.nats_credentials import import_nkeys, read_credentials
from picows_server.backplane.options import (
    check_options,
    check_url,
    checked_library_options,
    checked_prefix,
)
from picows_server.backplane.outbox import Outbox, OutboxBounds
from picows_server.backplane.reconnecting import KeptConnection

__all__ = ["NatsBackplane", "nats_subject"]

_LOGGER = logging.getLogger("picows.server.backplane")
_NO_HISTORY = "NATS core keeps no history; RedisBackplane does"
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
_CHARACTERS = [chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in range(256)]
# What is sent ahead of its acknowledgement; the rest waits, and makes larger batches.
_IN_FLIGHT_BYTES = 1_048_576
# A server disconnects whoever sends a longer line than its max_control_line, 4,096 by default.
_MAX_SUBJECT = 4000
# Seconds until what was sent is confirmed: one PING for all of it.
_CONFIRM_PAUSE = 0.005
# Topics whose subject is remembered.
_SUBJECTS_KNOWN = 100_000


def nats_subject(prefix: str, topic: str) -> str:
    """Return the subject of a topic: dots stay, all else that is not plain is percent-encoded."""
    tokens = topic.encode("utf-8", "surrogatepass").split(b".")
    # A token may not be empty. No other one is a lone percent sign.
    encoded = ["".join(map(_CHARACTERS.__getitem__, token)) or "%" for token in tokens]
    return f"{prefix}.t.{'.'.join(encoded)}"


class _Session:
    """One connection of the client library, until it is lost."""

    def __init__(self, client: Any, feeds: Dict[str, Feed], lost: asyncio.Future[str]) -> None:
        self.client = client
        #: Where its messages go, by subject.
        self.feeds = feeds
        self._lost = lost
        self.tasks: List[asyncio.Task[None]] = []
        #: What it is subscribed to, by topic.
        self.subscriptions: Dict[str, Any] = {}
        #: Topics to subscribe to, and without a feed, to unsubscribe from.
        self.requests: Deque[Tuple[str, Optional[Feed]]] = deque()
        self.has_requests = asyncio.Event()
        #: Messages that had come when the last probe was due.
        self.received = 0

    def request(self, topic: str, feed: Optional[Feed]) -> None:
        self.requests.append((topic, feed))
        self.has_requests.set()

    async def lost(self) -> str:
        return await asyncio.shield(self._lost)

    def lose(self, cause: str) -> None:
        if not self._lost.done():
            self._lost.set_result(cause)

    def run(self, coroutine: Any) -> None:
        """Run a task of this connection, whose failure ends it."""
        task = asyncio.get_running_loop().create_task(coroutine)
        task.add_done_callback(self._ended)
        self.tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.lose(str(error) or type(error).__name__)

    async def close(self) -> None:
        self.lose("it was closed")
        await end(asyncio.gather(*self.tasks, return_exceptions=True))
        await release(self.client)


class NatsBackplane:
    """Carries topics over NATS core; made in any thread, used in one loop.

    Needs the extra ``nats``. Reconnects without end, to any of the servers. Messages are delivered
    at most once: every possible loss is reported as a gap. There is no history, and no count of
    subscribers.

    :param url: ``nats://user:password@host:port``, ``nats://token@host`` or ``tls://``; or a
        sequence of them, servers of one cluster.
    :param prefix: first token of all subjects. Everybody with the same prefix shares topics.
    :param credentials: path of a ``.creds`` file, which is read anew for each connection. Needs
        ``nats-py[nkeys]``.
    :param ssl_context: for ``tls://``.
    :param connect_timeout: seconds for a connection with its authentication.
    :param probe_interval: seconds between messages that the backplane sends to itself; if by the
        next neither one has come back nor any other message has come, the connection is given up.
    :param max_pending_messages: published and not acknowledged; above it ``publish`` raises
        :class:`BackplaneFull`.
    :param max_pending_bytes: likewise.
    :param close_timeout: seconds that :meth:`close` waits for acknowledgements.
    :param options: more options of ``nats.connect``, such as ``nkeys_seed``.
    :raises WSInvalidOptionError: an option is out of range, the prefix is no subject, or a URL
        cannot be read.
    :raises TypeError: an option is of another type, or nats-py does not know it.
    :raises ImportError: nats-py is not installed, or nkeys, and the options need it.
    """

    supports_history = False
    supports_count = False

    def __init__(
        self,
        url: Union[str, Sequence[str]],
        *,
        prefix: str = "picows",
        credentials: Optional[str] = None,
        ssl_context: Optional[Any] = None,
        connect_timeout: float = 5.0,
        probe_interval: float = 5.0,
        max_pending_messages: int = 100_000,
        max_pending_bytes: int = 67_108_864,
        close_timeout: float = 5.0,
        options: Optional[Mapping[str, Any]] = None,
    ) -> None:
        check_options(
            connect_timeout=connect_timeout,
            probe_interval=probe_interval,
            max_pending_messages=max_pending_messages,
            max_pending_bytes=max_pending_bytes,
            close_timeout=close_timeout,
        )
        if not _is_subject(checked_prefix(prefix)):
            raise WSInvalidOptionError(
                f"prefix={prefix!r} is no subject: printable characters without *, > and spaces are"
                " wanted, with single dots between them"
            )
        try:
            import nats.aio.client  # noqa: PLC0415 - an extra
        except ImportError:
            raise ImportError(
                "NatsBackplane needs nats-py: pip install 'picows-server[nats]'"
            ) from None
        self._library: Any = nats
        self._urls = _checked_urls(url)
        self.name = ", ".join(map(_host_and_port, self._urls))
        self._options = checked_library_options(options)
        known = signature(nats.aio.client.Client.connect).parameters
        _check_known(self._options, known)
        if "skip_subject_validation" in known:
            # The prefix was checked, and the rest of a subject is made of what NATS takes.
            self._options.setdefault("skip_subject_validation", True)
        if credentials is not None:
            self._options["user_credentials"] = credentials
        if ssl_context is not None:
            self._options["tls"] = ssl_context
        self._nkeys = import_nkeys(self._options)
        self._prefix = prefix
        self._timeout = connect_timeout
        self._probe_interval = probe_interval
        self._close_timeout = close_timeout
        self._counts = EngineCounts()
        self._outbox = Outbox(self._counts, OutboxBounds(max_pending_messages, max_pending_bytes))
        self._max_payload = 0
        self._session: Optional[_Session] = None
        self._subjects: Dict[str, bytes] = {}
        self._unconfirmed: Dict[Feed, asyncio.Future[None]] = {}
        self._lost_because: Optional[str] = None
        self._lifecycle = Lifecycle()
        self._has_probe_returned = True
        self._drained: Optional[asyncio.Future[None]] = None
        self._probe_timer: Optional[asyncio.TimerHandle] = None

    @property
    def is_connected(self) -> bool:
        return self._session is not None

    async def start(self, receiver: BackplaneReceiver) -> None:
        """Connect; once.

        :raises BackplaneError: no server can be reached within ``connect_timeout``, or it refuses.
        """
        with self._lifecycle.starting():
            await self._connect(receiver)

    async def _connect(self, receiver: BackplaneReceiver) -> None:
        self._loop = asyncio.get_running_loop()
        self._has_waiting, self._has_sent = asyncio.Event(), asyncio.Event()
        self._receiver = receiver
        # Not before, because processes that were forked must not have the same name.
        self._producer = os.urandom(PRODUCER_SIZE)
        self._probe_subject = f"{self._prefix}.probe.{self._producer.hex()}"
        self._delivery = Delivery(receiver, self._producer, self._counts, _no_fetch)
        self._kept = KeptConnection(self._dial, self._opened, self._lost, self._counts)
        try:
            await self._kept.start()
            self._lifecycle.check_is_open()
        except BaseException:
            await finish(self._disconnect())
            raise
        self._probe_due = self._loop.time() + self._probe_interval
        self._probe_timer = self._loop.call_later(self._probe_interval, self._probe)

    def subscribe(self, topic: str, history: Optional[HistoryRule]) -> None:
        if history is not None:
            raise BackplaneError(_NO_HISTORY)
        feeds = self._delivery.feeds
        if topic in feeds:
            return
        self._check_length(topic)
        feed = feeds[topic] = Feed(topic, None)
        self._unconfirmed[feed] = self._loop.create_future()
        if self._session is not None:  # or it is, with all others
            self._session.request(topic, feed)

    def unsubscribe(self, topic: str) -> None:
        feed = self._delivery.forget(topic)
        if feed is None:
            return
        if self._session is not None:
            self._session.request(topic, None)
        waiter = self._unconfirmed.pop(feed, None)
        if waiter is not None:
            waiter.cancel()

    def publish(
        self,
        topic: str,
        payload: bytes,
        opcode: int,
        *,
        key: Optional[str],
        history: Optional[HistoryRule],
        token: Optional[int],
    ) -> None:
        if history is not None:
            raise BackplaneError(_NO_HISTORY)
        if self._lifecycle.is_closed:
            raise BackplaneError("the backplane is closed")
        if topic not in self._subjects:
            self._check_length(topic)
        size = len(payload) + RECORD_OVERHEAD + (0 if key is None else 4 * len(key))
        if size > self._max_payload:
            raise BackplaneError(
                f"a payload of {len(payload)} bytes; the server's max_payload="
                f"{self._max_payload} allows no more, with what is sent beside it"
            )
        self._outbox.add(topic, payload, opcode, key, None, token)
        self._has_waiting.set()

    def _check_length(self, topic: str) -> None:
        # A character takes at most 12 bytes.
        if len(self._prefix) + 12 * len(topic) < _MAX_SUBJECT:
            return
        size = len(nats_subject(self._prefix, topic))
        if size > _MAX_SUBJECT:
            raise BackplaneError(
                f"a topic whose subject has {size} bytes; NATS takes {_MAX_SUBJECT}: lower"
                " max_topic_length"
            )

    async def history(
        self, topic: str, since: Optional[Position], rule: HistoryRule, last: int = 0
    ) -> History:
        raise BackplaneError(_NO_HISTORY)

    async def subscribed(self, topic: str) -> None:
        feed = self._delivery.feeds.get(topic)
        if feed is None:
            raise BackplaneError(f"no connection of this process is subscribed to {topic!r}")
        while True:
            waiter = self._unconfirmed.get(feed)
            if waiter is None:
                return
            await asyncio.wait([waiter])
            if not waiter.cancelled():
                return
            former, feed = feed, self._delivery.feeds.get(topic)
            if feed is None or feed is former:
                raise BackplaneError(f"{topic!r} is not subscribed to any more")

    async def count(self, topic: str) -> int:
        raise BackplaneError(
            "NATS counts no subscribers; RedisBackplane does, or ask each process by yourself"
        )

    def stats(self) -> BackplaneStats:
        return self._counts.stats(
            pending=self._outbox.bounds.messages,
            pending_bytes=self._outbox.bounds.bytes,
            subscriptions=len(self._delivery.feeds) if self._lifecycle.is_started else 0,
            servers=1 if self._lifecycle.is_started else 0,
            servers_connected=1 if self.is_connected else 0,
        )

    async def close(self) -> None:
        """Wait for acknowledgements, at most ``close_timeout``, and disconnect."""
        if not await self._lifecycle.closing():
            return
        try:
            if self._outbox.bounds.messages:
                self._drained = self._loop.create_future()
                await asyncio.wait([self._drained], timeout=self._close_timeout)
        finally:
            await finish(self._disconnect())

    async def _disconnect(self) -> None:
        if self._probe_timer is not None:
            self._probe_timer.cancel()
        await self._kept.stop()
        self._session = None
        self._outbox.clear()
        for waiter in self._unconfirmed.values():
            waiter.cancel()
        self._unconfirmed.clear()

    # The connection

    async def _dial(self) -> _Session:
        errors = []
        for url in random.sample(self._urls, len(self._urls)):
            try:
                return await self._dial_one(url)
            except BackplaneError as error:
                errors.append(str(error))
        raise BackplaneError("; ".join(errors))

    async def _dial_one(self, url: str) -> _Session:
        lost: asyncio.Future[str] = self._loop.create_future()
        last: Deque[str] = deque(maxlen=1)
        feeds: Dict[str, Feed] = {}

        async def on_error(error: Any) -> None:
            text = str(error) or type(error).__name__
            last.append(text)
            if self._session is not None and "permissions violation" in text.lower():
                _LOGGER.warning("the engine %s refuses: %s", self.name, text)
                self._delivery.gap(None, f"the engine refuses: {text}")

        def lose(_: Any = None) -> None:
            if not lost.done():
                lost.set_result(last[-1] if last else "the server has closed it")

        async def on_closed() -> None:
            lose()

        name = _host_and_port(url)
        options = {
            "name": "picows",
            **self._options,
            # One attempt, and one policy for further ones: ours.
            "allow_reconnect": False,
            "max_reconnect_attempts": 1,
            "reconnect_time_wait": 0,
            "connect_timeout": self._timeout,
            "error_cb": on_error,
            "closed_cb": on_closed,
        }
        client = self._library.aio.client.Client()
        client.msg_class = self._message_class(feeds)
        guard_closing(client)
        try:
            options.update(read_credentials(self._nkeys, self._options))
            await within(self._timeout, client.connect(url, **options))
        except asyncio.TimeoutError:
            await release(client)
            raise BackplaneError(
                f"the engine {name} did not respond within {self._timeout} s"
            ) from None
        except (OSError, self._library.errors.Error, ValueError, BackplaneError) as error:
            await release(client)
            text = last[-1] if last else str(error) or type(error).__name__
            parts = urlsplit(url)
            secret = parts.password or parts.username  # which is a token without a password
            if secret:
                text = text.replace(secret, "***")
            raise BackplaneError(f"the engine {name} cannot be used: {text}") from None
        except BaseException:
            await release(client)
            raise
        watch(client, lose)
        return _Session(client, feeds, lost)

    def _opened(self, session: _Session) -> None:
        is_first = self._max_payload == 0
        self._max_payload = session.client.max_payload
        self._outbox.limit(self._max_payload - ENVELOPE_OVERHEAD)
        self._has_probe_returned = True
        self._session = session
        session.run(self._listen(session, None if is_first else self._lost_because))
        session.run(self._send(session))
        session.run(self._confirm(session))
        self._receiver.connected(True, "the engine can be reached")

    def _lost(self, cause: str) -> None:
        self._session = None
        self._lost_because = cause
        self._outbox.rewind()
        for feed in self._delivery.feeds.values():
            if feed not in self._unconfirmed:
                self._unconfirmed[feed] = self._loop.create_future()
        self._receiver.connected(False, cause)

    async def _listen(self, session: _Session, lost_because: Optional[str]) -> None:
        client, requests, feeds = session.client, session.requests, self._delivery.feeds
        await client.subscribe(self._probe_subject)
        requests.clear()
        requests.extend(feeds.items())
        while True:
            confirmed = await self._request(session)
            session.has_requests.clear()
            await confirm(client, self._timeout)
            if self._session is not session:
                return  # the client library has swallowed that this was cancelled
            for feed in confirmed:
                waiter = self._unconfirmed.pop(feed, None)
                if waiter is not None and not waiter.done():
                    waiter.set_result(None)
            if lost_because is not None:
                # Now, because the application's snapshot must precede what comes from now on.
                if feeds:
                    self._delivery.gap(
                        list(feeds), f"the connection to the engine was lost: {lost_because}"
                    )
                lost_because = None
            await session.has_requests.wait()

    async def _request(self, session: _Session) -> List[Feed]:
        feeds, subscriptions, asked = self._delivery.feeds, session.subscriptions, []
        while session.requests:
            topic, feed = session.requests.popleft()
            if feed is None:
                subscription = subscriptions.pop(topic, None)
                if subscription is not None:
                    del session.feeds[subscription.subject]
                    await subscription.unsubscribe()
            elif feeds.get(topic) is feed and topic not in subscriptions:
                subject = nats_subject(self._prefix, topic)
                session.feeds[subject] = feed
                subscriptions[topic] = await session.client.subscribe(subject)
                asked.append(feed)
        return asked

    def _message_class(self, feeds: Mapping[str, Feed]) -> Any:
        """Return what takes the messages of a connection.

        The client library calls it to make its own message, and does no more with None. Else it has
        a queue and a task for each subject, which take longer than all that is done here, and it
        drops messages for which a queue is too short.
        """
        arrived = self._delivery.arrived

        def take(*, subject: str, data: bytes, **_: Any) -> None:
            """Called per message of the engine; watched by the bench of backplanes."""
            feed = feeds.get(subject)
            if feed is None:
                if subject == self._probe_subject:
                    self._has_probe_returned = True
                return
            try:
                arrived(feed, data)
            except Exception:  # the client library would stop reading
                _LOGGER.exception("topic %r: a message cannot be delivered", feed.topic)

        return take

    def _subject(self, topic: str) -> bytes:
        subject = self._subjects.get(topic)
        if subject is None:
            if len(self._subjects) >= _SUBJECTS_KNOWN:
                self._subjects.clear()
            subject = self._subjects[topic] = nats_subject(self._prefix, topic).encode()
        return subject

    async def _send(self, session: _Session) -> None:
        client = session.client
        while True:
            commands = self._take_commands(client.max_payload)
            if commands:
                await send(client, commands)
            if self._session is not session:
                return  # the client library has swallowed that this was cancelled
            if self._outbox.in_flight:
                self._has_sent.set()
            self._has_waiting.clear()
            await self._has_waiting.wait()

    def _take_commands(self, max_payload: int) -> List[bytes]:
        """Return PUB commands of what waits, as much as may be under way.

        Called per burst of what is published; watched by the bench of backplanes.
        """
        outbox, subjects, producer, commands = self._outbox, self._subjects, self._producer, []
        while outbox.waiting and outbox.bytes_in_flight < _IN_FLIGHT_BYTES:
            batch = outbox.take()
            envelope = plain_envelope(producer, batch.records)
            size = len(envelope)
            if size > max_payload:
                outbox.fail(batch)
                self._delivery.gap(
                    [batch.topic],
                    f"the engine refuses a message of {size} bytes; its max_payload={max_payload}",
                )
                continue
            subject = subjects.get(batch.topic) or self._subject(batch.topic)
            commands.append(b"PUB %b %d\r\n%b\r\n" % (subject, size, envelope))
        return commands

    async def _confirm(self, session: _Session) -> None:
        """Acknowledge what the server has processed: all that was sent before a PING."""
        outbox, client = self._outbox, session.client
        while True:
            await self._has_sent.wait()
            await asyncio.sleep(_CONFIRM_PAUSE)
            if client.pending_data_size:
                continue  # the client library would send the PING ahead of it
            if self._session is not session:
                return
            self._has_sent.clear()
            batches = outbox.sent()
            # Silence is the probe's to notice; this ends with the connection.
            await confirm(client, 3600)
            if self._session is not session:
                return  # what the next connection has sent is not acknowledged by this one
            outbox.acknowledge(*batches)
            if self._drained is not None and not outbox.bounds.messages:
                self._drained.cancel()
            if outbox.in_flight:
                self._has_sent.set()
            if outbox.waiting:
                self._has_waiting.set()

    def _probe(self) -> None:
        self._probe_timer = self._loop.call_later(self._probe_interval, self._probe)
        # A loop that was blocked has not read what may have come.
        is_late = self._loop.time() - self._probe_due > self._probe_interval / 2
        self._probe_due = self._loop.time() + self._probe_interval
        session = self._session
        if session is None or (is_late and not self._has_probe_returned):
            return
        before, session.received = session.received, session.client.stats["in_msgs"]
        if not self._has_probe_returned:
            if session.received > before:
                return  # it is behind others, which come faster than they are handled
            self._counts.silences += 1
            session.lose(f"the engine {self.name} is silent for {self._probe_interval} s")
            return
        self._has_probe_returned = False
        session.tasks = [task for task in session.tasks if not task.done()]
        session.run(session.client.publish(self._probe_subject, b"probe"))


def _is_subject(text: str) -> bool:
    is_printable = text.isprintable() and not any(each in text for each in " *>")
    return is_printable and all(text.split("."))


def _checked_urls(url: Any) -> List[str]:
    urls = list(url) if isinstance(url, (list, tuple)) else [url]
    if not urls:
        raise WSInvalidOptionError("at least one URL is wanted, such as nats://host:4222")
    for each in urls:
        # The client library takes a host and a port alone for nats://.
        is_short = isinstance(each, str) and each and "//" not in each
        check_url(f"nats://{each}" if is_short else each, "nats", "tls", "ws", "wss")
    return urls


def _check_known(options: Mapping[str, Any], known: Container[str]) -> None:
    unknown = [name for name in options if name not in known]
    if unknown:
        raise TypeError(f"options: nats.connect knows no {', '.join(map(repr, unknown))}")


def _host_and_port(url: str) -> str:
    parts = urlsplit(url if "//" in url else f"nats://{url}")
    return f"{parts.hostname}:{parts.port or 4222}"


def _no_fetch(_: Feed) -> None:
    """Nothing has positions here."""
