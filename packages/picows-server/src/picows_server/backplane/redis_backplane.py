"""``RedisBackplane``: topics over Redis or Valkey."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from picows_server.backplane.counting import EngineCounts
from picows_server.backplane.delivery import Delivery, Feed
from picows_server.backplane.envelope import PRODUCER_SIZE, decode_records
from picows_server.backplane.interface import (
    BackplaneError,
    BackplaneReceiver,
    BackplaneStats,
    History,
    HistoryRule,
    Position,
    Publication,
)
from picows_server.backplane.outbox import Batch, Outbox, OutboxBounds
from picows_server.backplane.redis_cluster import RedisCluster
from picows_server.backplane.redis_commands import RedisCommands
from picows_server.backplane.redis_dialing import Redirection, RedisDialer, encode_command
from picows_server.backplane.redis_node import RedisNode

__all__ = ["RedisBackplane"]

# How often a question follows the topic from server to server.
_MOST_REDIRECTIONS = 20


class RedisBackplane:
    """Carries topics over Redis 6 or newer, or Valkey; made in any thread, used in one loop.

    Needs the extra ``redis``. If the server is a node of a cluster (Redis 7 or newer, or Valkey),
    all primaries are used, and topics are spread over them. Reconnects without end. Topics with
    history lose nothing as long as the engine keeps its data and the buffer of publishers lasts;
    other topics are delivered at most once, and every possible loss is reported as a gap.

    :param url: ``redis://user:password@host:port/0``, ``rediss://`` for TLS, ``unix:///path``; with
        ``sentinels`` its host is the name of the service.
    :param prefix: of all keys and channels. Everybody with the same prefix shares topics.
    :param sentinels: ``(host, port)`` of each Sentinel.
    :param startup_nodes: ``(host, port)`` of more servers of a cluster, in case that of the URL
        cannot be reached when the process starts.
    :param connect_timeout: seconds for a connection with its authentication, and for the first
        start.
    :param probe_interval: seconds between messages that the backplane sends to itself; if one has
        not come back by the next, both connections to that server are given up.
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
        startup_nodes: Sequence[Tuple[str, int]] = (),
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
        self._seeds = [self._dialer, *(self._dialer.at(*address) for address in startup_nodes)]
        self._prefix = prefix
        self._max_payload = max_payload
        self._probe_interval = probe_interval
        self._presence_ttl = presence_ttl
        self._close_timeout = close_timeout
        self._counts = EngineCounts()
        self._producer = os.urandom(PRODUCER_SIZE)
        self._commands = RedisCommands(
            self._producer, prefix.encode("utf-8"), topic_ttl, producer_ttl, presence_ttl
        )
        self._bounds = OutboxBounds(max_pending_messages, max_pending_bytes)
        # Either one server, or those of a cluster.
        self._node: Optional[RedisNode] = None
        self._cluster: Optional[RedisCluster] = None
        self._waiters: Dict[Feed, asyncio.Future[None]] = {}
        self._announced: Dict[str, int] = {}
        self._is_started = self._is_closed = self._was_connected = False
        self._timers: List[asyncio.TimerHandle] = []
        self._drained: Optional[asyncio.Future[None]] = None

    @property
    def supports_count(self) -> bool:
        return self._presence_ttl is not None

    @property
    def is_connected(self) -> bool:
        where = self._node or self._cluster
        return where is not None and where.is_connected

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
        try:
            await self._connect()
        except BaseException:
            self._is_closed = True
            await self._disconnect()
            raise
        if not self.is_connected:
            receiver.connected(False, "some servers of the cluster cannot be reached")
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
        if self._cluster is not None:
            self._cluster.subscribe(feed)
        elif self._node is not None:
            self._node.add(feed)

    def unsubscribe(self, topic: str) -> None:
        feed = self._delivery.feeds.pop(topic, None)
        if feed is None:
            return
        if self._cluster is not None:
            self._cluster.unsubscribe(feed)
        elif self._node is not None:
            self._node.remove(feed)
        waiter = self._waiters.pop(feed, None)
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
        node = self._node
        if node is not None:
            outbox = node.outbox
        elif self._cluster is not None:
            outbox, node = self._cluster.publishing(topic)
        else:
            raise BackplaneError("the backplane is not started")
        outbox.add(topic, payload, opcode, key, history, token)
        if node is not None:
            node.flush_soon()

    async def history(self, topic: str, since: Optional[Position], rule: HistoryRule) -> History:
        publications: List[Publication] = []
        while True:
            page = self._page(
                topic,
                since,
                await self._ask(topic, partial(self._commands.history, topic, since, rule)),
            )
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
        if feed.is_confirmed:
            return
        waiter = self._waiters.get(feed)
        if waiter is None:
            waiter = self._waiters[feed] = self._loop.create_future()
        await asyncio.wait([waiter])
        if waiter.cancelled():
            raise BackplaneError(f"{topic!r} is not subscribed to any more")

    async def count(self, topic: str) -> int:
        if self._presence_ttl is None:
            raise BackplaneError("presence_ttl=None: nothing is counted")
        self._announce(topic)
        return int(await self._ask(topic, lambda _: self._commands.count(topic), is_count=True))

    def stats(self) -> BackplaneStats:
        nodes = self._nodes()
        return self._counts.stats(
            pending=self._bounds.messages,
            pending_bytes=self._bounds.bytes,
            subscriptions=len(self._delivery.feeds) if self._is_started else 0,
            servers=len(nodes),
            servers_connected=sum(node.is_connected for node in nodes),
            moved=0 if self._cluster is None else self._cluster.moved,
        )

    async def close(self) -> None:
        """Wait for acknowledgements, at most ``close_timeout``, and disconnect."""
        if self._is_closed or not self._is_started:
            self._is_closed = True
            return
        self._is_closed = True
        if self._bounds.messages:
            self._drained = self._loop.create_future()
            await asyncio.wait([self._drained], timeout=self._close_timeout)
        for timer in self._timers:
            timer.cancel()
        for topic in list(self._announced):
            self._tell_count(topic, 0)
        pipes = [node.pipe for node in self._nodes() if node.pipe is not None]
        if self._announced and pipes:
            asked = [asyncio.ensure_future(pipe.ask(encode_command(b"PING"))) for pipe in pipes]
            _, late = await asyncio.wait(asked, timeout=1.0)
            for each in late:
                each.cancel()
        await self._disconnect()
        for waiter in self._waiters.values():
            waiter.cancel()
        self._waiters.clear()

    # Servers

    async def _connect(self) -> None:
        seed = await self._seed()
        if not seed.is_cluster:
            self._node = seed
            if len(self._seeds) > 1:
                raise BackplaneError(
                    f"startup_nodes= are of a cluster, and the engine {seed.name} is no node of"
                    " one; leave them out, or use ShardedBackplane for several engines"
                )
            seed.probe_on(self._commands.probe_channel(b"0"))
            await seed.listen()
            return
        try:
            if "{" in self._prefix:
                raise BackplaneError(
                    f"prefix={self._prefix!r} has a brace, by which a cluster would have all topics"
                    " in one slot; use a prefix without"
                )
            self._commands.shard()
            self._cluster = RedisCluster(
                self._make_node,
                self._seeds,
                self._commands,
                partial(Outbox, self._counts, self._bounds),
                self._resume,
                self._tell_connected,
            )
            await self._cluster.start(seed)
        finally:
            await seed.stop()

    async def _seed(self) -> RedisNode:
        """Return the first server that can be reached, with its connection for commands."""
        errors = []
        for dialer in self._seeds:
            node = self._make_node(dialer)
            try:
                await node.connect()
            except BackplaneError as error:
                errors.append(str(error))
            else:
                return node
        raise BackplaneError("; ".join(errors))

    def _make_node(self, dialer: RedisDialer) -> RedisNode:
        outbox = Outbox(self._counts, self._bounds)
        return RedisNode(self, dialer, self._commands, outbox, self._delivery, self._counts)

    async def _disconnect(self) -> None:
        if self._cluster is not None:
            await self._cluster.stop()
        elif self._node is not None:
            await self._node.stop()
            self._node.outbox.clear()

    def _nodes(self) -> List[RedisNode]:
        if self._cluster is not None:
            return self._cluster.nodes
        return [] if self._node is None else [self._node]

    def _node_of(self, topic: str) -> Optional[RedisNode]:
        return self._node if self._cluster is None else self._cluster.node_of(topic)

    def _tell_connected(self, cause: str) -> None:
        if self.is_connected != self._was_connected:
            self._was_connected = self.is_connected
            self._receiver.connected(self._was_connected, cause)

    # What servers tell

    def changed(self, node: RedisNode, cause: str) -> None:
        if node.pipe is not None:
            self._announced.clear()
        if self._cluster is not None:
            self._cluster.connection_changed(node)
            cause = f"{node.name}: {cause}"
        self._tell_connected(cause)

    def confirmed(self, feed: Feed) -> None:
        if feed.history is not None:
            self._delivery.look(feed)
        waiter = self._waiters.pop(feed, None)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def moved(self, node: RedisNode, feed: Feed) -> None:
        if self._cluster is not None:
            self._cluster.subscription_ended(node, feed)

    def redirected(self, node: RedisNode, redirection: Redirection) -> bool:
        return self._cluster is not None and self._cluster.subscription_refused(node, redirection)

    def refused(self, node: RedisNode, batch: Batch, reply: Any) -> bool:
        if self._cluster is None:
            return False
        redirection = node.dialer.redirection(reply)
        if redirection is None and not str(reply).startswith("PICOWSORDER"):
            return False
        return self._cluster.refused(node, batch, redirection)

    def replied(self, node: RedisNode, batch: Batch) -> None:
        if self._cluster is not None:
            self._cluster.replied(node, batch.topic)
        if self._drained is not None and not self._bounds.messages and not self._drained.done():
            self._drained.set_result(None)

    # History

    async def _ask(
        self, topic: str, command: Callable[[bytes], bytes], *, is_count: bool = False
    ) -> Any:
        """Return the reply of the server that has a topic.

        :param command: called with the run of that server.
        """
        reply, asked = None, None
        for _ in range(_MOST_REDIRECTIONS):
            node = asked or self._node_of(topic)
            if node is None:
                raise BackplaneError(f"the engine {self._dialer.name} is not connected")
            is_asked = asked is not None or topic in node.asked
            reply = await node.reply(command(node.run), is_asked=is_asked)
            if not isinstance(reply, self._dialer.refusal):
                return reply
            redirection = node.dialer.redirection(reply)
            if redirection is None or self._cluster is None:
                break
            asked = None
            if is_count and redirection.kind == "ASK":
                # Of this key only: the others of the topic may not have moved.
                asked = self._cluster.target_of(node, redirection)
            else:
                await asyncio.sleep(self._cluster.follow(node, topic, redirection))
        raise BackplaneError(f"the engine refuses: {reply}")

    def _again(self, node: RedisNode, topic: str, reply: Any, again: Callable[[], None]) -> None:
        """Do something again that a server has refused."""
        redirection = node.dialer.redirection(reply)
        if redirection is not None and self._cluster is not None:
            self._loop.call_later(self._cluster.follow(node, topic, redirection), again)
        elif node.pipe is not None:
            # The same on a new connection, after a pause.
            node.pipe.lose(f"the engine {node.name} refuses: {reply}")

    def _page(self, topic: str, since: Optional[Position], reply: Any) -> History:
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

    def locate(self, feed: Feed) -> None:
        node, topic, rule = self._node_of(feed.topic), feed.topic, feed.history
        if node is not None and rule is not None and self._is_current(feed) and feed.last is None:
            command = self._commands.history(topic, None, rule, node.run)
            node.send(topic, command, partial(self._located, node, feed))

    def _located(self, node: RedisNode, feed: Feed, reply: Any) -> None:
        if isinstance(reply, self._dialer.refusal):
            self._again(node, feed.topic, reply, partial(self.locate, feed))
        elif self._is_current(feed) and feed.last is None:
            feed.last = self._page(feed.topic, None, reply).position
            home = self._node if self._cluster is None else self._cluster.home_of(feed)
            if home is not None:
                home.request(feed)

    def _fetch(self, feed: Feed) -> None:
        node, since, rule = self._node_of(feed.topic), feed.last, feed.history
        if node is not None and since is not None and rule is not None and self._is_current(feed):
            command = self._commands.history(feed.topic, since, rule, node.run)
            node.send(feed.topic, command, partial(self._fetched, node, feed, since))

    def _fetched(self, node: RedisNode, feed: Feed, since: Position, reply: Any) -> None:
        if isinstance(reply, self._dialer.refusal):
            self._again(node, feed.topic, reply, partial(self._fetch, feed))
            return
        if not self._is_current(feed) or feed.last != since:
            return
        page = self._page(feed.topic, since, reply)
        last = page.publications[-1].position if page.publications else None
        if page.recovered and last is not None and last != page.position:
            # More pages follow: this one is complete up to its last entry.
            self._delivery.filled_in_part(feed, page._replace(position=last))
            self._fetch(feed)
        else:
            self._delivery.filled(feed, page)

    def _resume(self, topic: str) -> None:
        """Go on with a topic whose commands another server gets from now on."""
        feed = self._delivery.feeds.get(topic)
        home = None if feed is None or self._cluster is None else self._cluster.home_of(feed)
        if feed is not None and home is not None:
            home.resume(feed)

    def _is_current(self, feed: Feed) -> bool:
        return self._delivery.feeds.get(feed.topic) is feed

    # Time

    def _every(self, seconds: float, callback: Callable[[], None]) -> None:
        index = len(self._timers)

        def run() -> None:
            self._timers[index] = self._loop.call_later(seconds, run)
            callback()

        self._timers.append(self._loop.call_later(seconds, run))

    def _probe(self) -> None:
        # A loop that was blocked has not read what may have come.
        is_late = self._loop.time() - self._probe_due > self._probe_interval / 2
        self._probe_due = self._loop.time() + self._probe_interval
        for node in self._nodes():
            node.probe(self._probe_interval, is_late)

    # Presence

    def _announce_changes(self) -> None:
        feeds = self._delivery.feeds
        for topic in feeds:
            self._announce(topic)
        for topic in [topic for topic in self._announced if topic not in feeds]:
            if self._tell_count(topic, 0):
                del self._announced[topic]

    def _announce(self, topic: str) -> None:
        count = self._receiver.local_count(topic)
        if count != self._announced.get(topic, 0) and self._tell_count(topic, count):
            self._announced[topic] = count

    def _tell_count(self, topic: str, count: int) -> bool:
        node = self._node if self._cluster is None else self._cluster.owner_of(topic)
        if node is None or node.pipe is None:
            return False
        told = partial(self._told_count, node, topic)
        node.pipe.send(self._commands.announce(topic, count), told)
        return True

    def _told_count(self, node: RedisNode, topic: str, reply: Any) -> None:
        if self._cluster is None or not isinstance(reply, self._dialer.refusal):
            return
        redirection = node.dialer.redirection(reply)
        if redirection is not None and redirection.kind == "MOVED":
            self._cluster.follow(node, topic, redirection)
        # Nobody was told: it is told again, whatever it is then.
        self._announced[topic] = -1
