"""``RedisBackplane``: topics over Redis or Valkey."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from functools import partial
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from picows_server.backplane.counting import EngineCounts
from picows_server.backplane.delivery import Delivery, Feed
from picows_server.backplane.envelope import PRODUCER_SIZE, decode_records, plain_envelope
from picows_server.backplane.interface import (
    BackplaneError,
    BackplaneReceiver,
    BackplaneStats,
    History,
    HistoryRule,
    Position,
    Publication,
)
from picows_server.backplane.outbox import Batch, Outbox
from picows_server.backplane.reconnecting import KeptConnection
from picows_server.backplane.redis_dialing import RedisDialer, encode_command
from picows_server.backplane.redis_pipe import RedisPipe, RedisSubscription
from picows_server.backplane.redis_scripts import ANNOUNCE, COUNT, HISTORY, PUBLISH, RedisScript

__all__ = ["RedisBackplane"]

# What is sent ahead of its acknowledgement; the rest waits, and makes larger batches.
_IN_FLIGHT = 256
_IN_FLIGHT_BYTES = 1_048_576
# Entries of a history in one reply.
_PAGE = 1000
# What the engine says of a state that passes. The connection is made anew, and all is sent again.
_PASSING = frozenset(
    {"BUSY", "LOADING", "MISCONF", "NOREPLICAS", "NOSCRIPT", "OOM", "PICOWSORDER", "READONLY"}
)


class RedisBackplane:
    """Carries topics over Redis 6 or newer, or Valkey; made in any thread, used in one loop.

    Needs the extra ``redis``. Reconnects without end. Topics with history lose nothing as long as
    the engine keeps its data and the buffer of publishers lasts; other topics are delivered at most
    once, and every possible loss is reported as a gap.

    :param url: ``redis://user:password@host:port/0``, ``rediss://`` for TLS, ``unix:///path``; with
        ``sentinels`` its host is the name of the service.
    :param prefix: of all keys and channels. Everybody with the same prefix shares topics.
    :param sentinels: ``(host, port)`` of each Sentinel.
    :param connect_timeout: seconds for a connection with its authentication, and for the first
        start.
    :param probe_interval: seconds between messages that the backplane sends to itself; if one has
        not come back by the next, both connections are given up.
    :param max_pending_messages: published and not acknowledged; above it ``publish`` raises
        :class:`BackplaneFull`.
    :param max_pending_bytes: likewise; a little more memory is used per message.
    :param max_payload: bytes of one message.
    :param topic_ttl: seconds after which a topic is forgotten to which nobody publishes: a later
        message begins a new epoch.
    :param producer_ttl: seconds for which the engine remembers what a process has published last; a
        process must not be without the engine for longer, or it may publish twice.
    :param presence_ttl: seconds after which a process that has died is no longer counted; None:
        nothing is counted.
    :param close_timeout: seconds that :meth:`close` waits for acknowledgements.
    :param options: more options of redis-py's ``Connection``, such as ``ssl_ca_certs``.
    :raises ImportError: redis or hiredis is not installed.
    """

    supports_history = True

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "picows:",
        sentinels: Sequence[Tuple[str, int]] = (),
        connect_timeout: float = 5.0,
        probe_interval: float = 5.0,
        max_pending_messages: int = 100_000,
        max_pending_bytes: int = 67_108_864,
        max_payload: int = 8_388_608,
        topic_ttl: float = 86_400.0,
        producer_ttl: float = 86_400.0,
        presence_ttl: Optional[float] = 60.0,
        close_timeout: float = 5.0,
        options: Optional[Mapping[str, Any]] = None,
    ) -> None:
        self._dialer = RedisDialer(url, dict(options or {}), sentinels, connect_timeout)
        self._prefix = prefix.encode("utf-8")
        self._max_payload = max_payload
        self._probe_interval = probe_interval
        self._topic_ttl = _seconds(topic_ttl)
        self._producer_ttl = _seconds(producer_ttl)
        self._presence_ttl = presence_ttl
        self._close_timeout = close_timeout
        self._counts = EngineCounts()
        self._producer = os.urandom(PRODUCER_SIZE)
        self._process = self._producer.hex().encode("ascii")
        self._probe_channel = self._prefix + b"probe:" + self._process
        self._outbox = Outbox(self._counts, max_pending_messages, max_pending_bytes)
        self._run = b""
        self._pipe: Optional[RedisPipe] = None
        self._subscription: Optional[RedisSubscription] = None
        self._in_flight_last: Dict[str, int] = {}
        self._feeds_by_channel: Dict[bytes, Feed] = {}
        self._unconfirmed: Dict[Feed, asyncio.Future[None]] = {}
        self._announced: Dict[str, int] = {}
        self._is_flushing = False
        self._is_started = self._is_closed = self._was_connected = False
        self._has_probe_returned = True
        self._timers: List[asyncio.TimerHandle] = []
        self._drained: Optional[asyncio.Future[None]] = None

    @property
    def supports_count(self) -> bool:
        return self._presence_ttl is not None

    @property
    def is_connected(self) -> bool:
        return self._pipe is not None and self._subscription is not None

    async def start(self, receiver: BackplaneReceiver) -> None:
        """Connect; once.

        :raises BackplaneError: the engine cannot be reached within ``connect_timeout``, or refuses.
        """
        if self._is_started:
            raise BackplaneError("a backplane is started once; make a new one")
        self._is_started = True
        self._loop = asyncio.get_running_loop()
        self._receiver = receiver
        self._delivery = Delivery(receiver, self._producer, self._counts, self._fetch)
        make = partial(KeptConnection, errors=self._dialer.errors, counts=self._counts)
        self._pipes = make(self._dial_pipe, on_open=self._piped, on_lost=self._unpiped)
        self._subscriptions = make(
            self._dial_subscription, on_open=self._listening, on_lost=self._not_listening
        )
        try:
            await self._pipes.start()
            await self._subscriptions.start()
        except BaseException:
            self._is_closed = True
            await self._pipes.stop()
            raise
        self._probe_due = self._loop.time() + self._probe_interval
        self._every(self._probe_interval, self._probe)
        if self._presence_ttl is not None:
            self._every(min(1.0, self._presence_ttl / 4), self._announce_changes)
            self._every(self._presence_ttl / 3, self._announced.clear)

    def subscribe(self, topic: str, history: Optional[HistoryRule]) -> None:
        feeds = self._delivery.feeds
        if topic in feeds:
            return
        feed = feeds[topic] = Feed(topic, history)
        self._feeds_by_channel[self._channel(topic)] = feed
        self._unconfirmed[feed] = self._loop.create_future()
        self._request(feed)

    def unsubscribe(self, topic: str) -> None:
        feed = self._delivery.feeds.pop(topic, None)
        if feed is None:
            return
        channel = self._channel(topic)
        del self._feeds_by_channel[channel]
        if self._subscription is not None:
            self._subscription.write(encode_command(b"UNSUBSCRIBE", channel))
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
        if self._is_closed:
            raise BackplaneError("the backplane is closed")
        if len(payload) > self._max_payload:
            raise BackplaneError(
                f"a payload of {len(payload)} bytes; max_payload={self._max_payload} allows no more"
            )
        self._outbox.add(topic, payload, opcode, key, history, token)
        if not self._is_flushing and self._pipe is not None:
            self._is_flushing = True
            self._loop.call_soon(self._flush)

    async def history(self, topic: str, since: Optional[Position], rule: HistoryRule) -> History:
        pipe = self._pipe
        if pipe is None:
            raise BackplaneError(f"the engine {self._dialer.name} is not connected")
        publications: List[Publication] = []
        while True:
            reply = await pipe.ask(self._history_command(topic, since, rule))
            page = self._history_page(topic, since, reply)
            publications += page.publications
            if not page.recovered:
                return page._replace(publications=[])
            if since is None or not page.publications:
                return page._replace(publications=publications)
            since = page.publications[-1].position
            if since == page.position:
                return page._replace(publications=publications)

    async def subscribed(self, topic: str) -> None:
        feed = self._delivery.feeds.get(topic)
        if feed is None:
            raise BackplaneError(f"{topic!r} is not subscribed to")
        waiter = self._unconfirmed.get(feed)
        if waiter is None:
            return
        await asyncio.wait([waiter])
        if waiter.cancelled():
            raise BackplaneError(f"{topic!r} is not subscribed to any more")

    async def count(self, topic: str) -> int:
        if self._presence_ttl is None:
            raise BackplaneError("presence_ttl=None: nothing is counted")
        if self._pipe is None:
            raise BackplaneError(f"the engine {self._dialer.name} is not connected")
        self._announce(topic)
        return int(await self._pipe.ask(_call(COUNT, [self._key(topic, b"n")])))

    def stats(self) -> BackplaneStats:
        return self._counts.stats(
            pending=self._outbox.messages,
            pending_bytes=self._outbox.bytes,
            subscriptions=len(self._feeds_by_channel),
        )

    async def close(self) -> None:
        """Wait for acknowledgements, at most ``close_timeout``, and disconnect."""
        if self._is_closed or not self._is_started:
            self._is_closed = True
            return
        self._is_closed = True
        if self._outbox.messages:
            self._drained = self._loop.create_future()
            await asyncio.wait([self._drained], timeout=self._close_timeout)
        for timer in self._timers:
            timer.cancel()
        if self._presence_ttl is not None and self._pipe is not None:
            for topic in list(self._announced):
                self._tell_count(topic, 0)
            with suppress(BackplaneError, asyncio.TimeoutError):
                await asyncio.wait_for(self._pipe.ask(encode_command(b"PING")), 1.0)
        await self._subscriptions.stop()
        await self._pipes.stop()
        self._subscription = self._pipe = None
        self._outbox.clear()
        for waiter in self._unconfirmed.values():
            waiter.cancel()
        self._unconfirmed.clear()

    # Commands

    async def _dial_pipe(self) -> RedisPipe:
        connection = await self._dialer.open()
        pipe = RedisPipe(connection, self._dialer.refusal)
        try:
            for script in (PUBLISH, HISTORY, COUNT, ANNOUNCE):
                await asyncio.wait_for(
                    pipe.ask(encode_command(b"SCRIPT", b"LOAD", script.text)),
                    self._dialer.timeout,
                )
            self._run = await self._run_id(pipe)
        except (BackplaneError, asyncio.TimeoutError) as error:
            await pipe.close()
            reason = str(error) or "it does not respond"
            raise BackplaneError(
                f"the engine {self._dialer.name} cannot be used: {reason}"
            ) from None
        except BaseException:
            await pipe.close()
            raise
        return pipe

    async def _run_id(self, pipe: RedisPipe) -> bytes:
        try:
            info = await asyncio.wait_for(
                pipe.ask(encode_command(b"INFO", b"server")), self._dialer.timeout
            )
        except BackplaneError:
            return b""  # the user may not; then a restart is seen by offsets only
        said: Dict[bytes, bytes] = dict(line.partition(b":")[::2] for line in info.split())
        if b"cluster" in {said.get(b"redis_mode"), said.get(b"server_mode")}:
            raise BackplaneError(
                "it is a node of a Redis Cluster; ShardedBackplane spreads topics over engines that"
                " are not"
            )
        return said.get(b"run_id", b"")

    def _piped(self, pipe: RedisPipe) -> None:
        self._pipe = pipe
        self._has_probe_returned = True
        self._announced.clear()
        self._flush()
        for feed in self._delivery.feeds.values():
            if feed.is_filling:
                self._delivery.refill(feed)
            elif feed in self._unconfirmed:
                self._request(feed)
        self._tell_connected("the engine can be reached")

    def _unpiped(self, cause: str) -> None:
        self._pipe = None
        self._outbox.rewind()
        self._in_flight_last.clear()
        self._tell_connected(cause)

    def _flush(self) -> None:
        self._is_flushing = False
        pipe, outbox = self._pipe, self._outbox
        if pipe is None:
            return
        while (
            outbox.has_waiting
            and outbox.in_flight < _IN_FLIGHT
            and outbox.bytes_in_flight < _IN_FLIGHT_BYTES
        ):
            batch = outbox.take()
            if batch.history is None:
                envelope = plain_envelope(self._producer, batch.records)
                command = encode_command(b"PUBLISH", self._channel(batch.topic), envelope)
            else:
                command = self._publish_command(batch, batch.history)
            pipe.send(command, partial(self._acknowledged, pipe, batch))

    def _publish_command(self, batch: Batch, rule: HistoryRule) -> bytes:
        topic = batch.topic
        before = self._in_flight_last.get(topic, 0)
        self._in_flight_last[topic] = batch.last
        kept = self._topic_ttl if rule.seconds is None else _seconds(rule.seconds)
        return _call(
            PUBLISH,
            [self._key(topic, b"m"), self._key(topic, b"s")],
            self._run,
            self._process,
            max(kept, self._topic_ttl),
            batch.last,
            before,
            rule.size,
            _milliseconds(rule),
            kept,
            self._channel(topic),
            b"PUBLISH",
            self._producer,
            self._producer_ttl,
            *batch.records,
        )

    def _acknowledged(self, pipe: RedisPipe, batch: Batch, reply: Any) -> None:
        if isinstance(reply, self._dialer.refusal):
            text = str(reply)
            # redis-py has taken the first word from the errors that it knows.
            if self._dialer.is_passing(reply) or text.split(" ", 1)[0] in _PASSING:
                pipe.lose(f"the engine {self._dialer.name} refuses for now: {text}")
                return
            self._outbox.fail(batch)
            self._delivery.gap([batch.topic], f"the engine refuses what is published: {text}")
        else:
            self._outbox.acknowledge(batch)
        if self._in_flight_last.get(batch.topic) == batch.last:
            del self._in_flight_last[batch.topic]
        if self._outbox.has_waiting and not self._is_flushing:
            self._is_flushing = True
            self._loop.call_soon(self._flush)
        if self._drained is not None and not self._outbox.messages and not self._drained.done():
            self._drained.set_result(None)

    # Subscriptions

    async def _dial_subscription(self) -> RedisSubscription:
        connection = await self._dialer.open()
        return RedisSubscription(connection, self._message, self._confirmed)

    def _listening(self, subscription: RedisSubscription) -> None:
        self._subscription = subscription
        self._has_probe_returned = True
        subscription.write(encode_command(b"SUBSCRIBE", self._probe_channel))
        for feed in self._delivery.feeds.values():
            self._request(feed)
        # Confirmed after all others: what is published from now on arrives.
        self._last_requested = self._probe_channel + b":all"
        subscription.write(encode_command(b"SUBSCRIBE", self._last_requested))
        self._tell_connected("the engine can be reached")

    def _not_listening(self, cause: str) -> None:
        self._subscription = None
        for feed in self._delivery.feeds.values():
            feed.is_confirmed = False
            if feed not in self._unconfirmed:
                self._unconfirmed[feed] = self._loop.create_future()
        self._lost_because = cause
        self._tell_connected(cause)

    def _request(self, feed: Feed) -> None:
        """Subscribe at the engine; of history, it must be known before where the topic is."""
        if self._subscription is None:
            return
        if feed.history is None or feed.last is not None:
            self._subscription.write(encode_command(b"SUBSCRIBE", self._channel(feed.topic)))
        elif self._pipe is not None:
            self._pipe.send(
                self._history_command(feed.topic, None, feed.history), partial(self._begin, feed)
            )

    def _begin(self, feed: Feed, reply: Any) -> None:
        if isinstance(reply, self._dialer.refusal):
            self._refused(reply)
        elif self._delivery.feeds.get(feed.topic) is feed and feed.last is None:
            feed.last = self._history_page(feed.topic, None, reply).position
            if self._subscription is not None:
                self._subscription.write(encode_command(b"SUBSCRIBE", self._channel(feed.topic)))

    def _confirmed(self, channel: bytes) -> None:
        if channel == self._probe_channel:
            return
        feed = self._feeds_by_channel.get(channel)
        if feed is None:
            if channel.startswith(self._probe_channel):
                self._all_confirmed()
            return
        feed.is_confirmed = True
        if feed.history is not None and not feed.is_filling:
            self._delivery.refill(feed)
        waiter = self._unconfirmed.pop(feed, None)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _all_confirmed(self) -> None:
        cause = self.__dict__.pop("_lost_because", None)
        if cause is not None:
            topics = [feed.topic for feed in self._delivery.feeds.values() if feed.history is None]
            if topics:
                self._delivery.gap(topics, f"the connection to the engine was lost: {cause}")

    def _message(self, channel: bytes, data: bytes) -> None:
        feed = self._feeds_by_channel.get(channel)
        if feed is not None:
            self._delivery.arrived(feed, data)
        elif channel == self._probe_channel:
            self._has_probe_returned = True

    # History

    def _history_command(self, topic: str, since: Optional[Position], rule: HistoryRule) -> bytes:
        return _call(
            HISTORY,
            [self._key(topic, b"m"), self._key(topic, b"s")],
            self._run,
            self._process,
            self._topic_ttl,
            b"" if since is None else since.offset,
            b"" if since is None else since.epoch.encode("ascii", "replace"),
            _milliseconds(rule),
            _PAGE,
        )

    def _history_page(self, topic: str, since: Optional[Position], reply: Any) -> History:
        offset, epoch, is_recovered, entries = reply
        position = Position(offset, epoch.decode("ascii"))
        publications = []
        first = 0 if since is None else since.offset + 1
        for index, entry in enumerate(entries):
            record = decode_records(entry, PRODUCER_SIZE)[0]
            at = Position(first + index, position.epoch)
            publications.append(
                self._delivery.publication(topic, entry[:PRODUCER_SIZE], record, at)
            )
        return History(publications, position, bool(is_recovered))

    def _fetch(self, feed: Feed) -> None:
        pipe, since, rule = self._pipe, feed.last, feed.history
        if pipe is not None and since is not None and rule is not None:
            command = self._history_command(feed.topic, since, rule)
            pipe.send(command, partial(self._fetched, feed, since))

    def _fetched(self, feed: Feed, since: Position, reply: Any) -> None:
        if isinstance(reply, self._dialer.refusal):
            self._refused(reply)
            return
        if self._delivery.feeds.get(feed.topic) is not feed or feed.last != since:
            return
        page = self._history_page(feed.topic, since, reply)
        last = page.publications[-1].position if page.publications else None
        if page.recovered and last is not None and last != page.position:
            # More pages follow: this one is complete up to its last entry.
            self._delivery.filled_in_part(feed, page._replace(position=last))
            self._fetch(feed)
        else:
            self._delivery.filled(feed, page)

    def _refused(self, reply: Any) -> None:
        # The same again on a new connection, after a pause.
        if self._pipe is not None:
            self._pipe.lose(f"the engine {self._dialer.name} refuses: {reply}")

    # Time

    def _every(self, seconds: float, callback: Any) -> None:
        index = len(self._timers)

        def run() -> None:
            self._timers[index] = self._loop.call_later(seconds, run)
            callback()

        self._timers.append(self._loop.call_later(seconds, run))

    def _probe(self) -> None:
        # A loop that was blocked has not read what may have come.
        is_late = self._loop.time() - self._probe_due > self._probe_interval / 2
        self._probe_due = self._loop.time() + self._probe_interval
        pipe, subscription = self._pipe, self._subscription
        if pipe is None or subscription is None or (is_late and not self._has_probe_returned):
            return
        if not self._has_probe_returned:
            self._counts.silences += 1
            cause = f"the engine {self._dialer.name} is silent for {self._probe_interval} s"
            pipe.lose(cause)
            subscription.lose(cause)
            return
        self._has_probe_returned = False
        pipe.send(encode_command(b"PUBLISH", self._probe_channel, b"probe"), _ignore)

    def _announce_changes(self) -> None:
        if self._pipe is None:
            return
        feeds = self._delivery.feeds
        for topic in feeds:
            self._announce(topic)
        for topic in [topic for topic in self._announced if topic not in feeds]:
            self._tell_count(topic, 0)
            del self._announced[topic]

    def _announce(self, topic: str) -> None:
        count = self._receiver.local_count(topic)
        if count != self._announced.get(topic, 0):
            self._tell_count(topic, count)
            self._announced[topic] = count

    def _tell_count(self, topic: str, count: int) -> None:
        if self._pipe is not None and self._presence_ttl is not None:
            key, ttl = self._key(topic, b"n"), _seconds(self._presence_ttl)
            self._pipe.send(_call(ANNOUNCE, [key], self._process, count, ttl), _ignore)

    def _tell_connected(self, cause: str) -> None:
        if self.is_connected != self._was_connected:
            self._was_connected = self.is_connected
            self._receiver.connected(self._was_connected, cause)

    # Names

    def _channel(self, topic: str) -> bytes:
        return self._key(topic, b"c")

    def _key(self, topic: str, what: bytes) -> bytes:
        # A hash tag ends with the first brace.
        name = topic.encode("utf-8", "surrogatepass").replace(b"%", b"%25").replace(b"}", b"%7D")
        return b"%b{%b}:%b" % (self._prefix, name, what)


def _call(script: RedisScript, keys: List[bytes], *arguments: Any) -> bytes:
    parts = [each if isinstance(each, bytes) else b"%d" % each for each in arguments]
    return encode_command(b"EVALSHA", script.digest, b"%d" % len(keys), *keys, *parts)


def _seconds(value: float) -> int:
    return max(1, int(value + 0.999))


def _milliseconds(rule: HistoryRule) -> int:
    return 0 if rule.seconds is None else max(1, int(rule.seconds * 1000))


def _ignore(reply: Any) -> None:
    """A reply that changes nothing; a lost probe is noticed by the next one."""
