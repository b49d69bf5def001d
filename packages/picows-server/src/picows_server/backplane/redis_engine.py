"""The servers of one engine, one or the primaries of a cluster, and what comes from them."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Tuple

from picows_server.backplane.counting import EngineCounts
from picows_server.backplane.delivery import Delivery, Feed
from picows_server.backplane.envelope import PRODUCER_SIZE, decode_records
from picows_server.backplane.interface import (
    BackplaneError,
    BackplaneReceiver,
    History,
    HistoryRule,
    Position,
    Publication,
)
from picows_server.backplane.outbox import Batch, Outbox, OutboxBounds
from picows_server.backplane.redis_cluster import RedisCluster
from picows_server.backplane.redis_commands import RedisCommands
from picows_server.backplane.redis_dialing import Redirection, RedisDialer
from picows_server.backplane.redis_node import RedisNode

__all__ = ["RedisEngine"]

# How often a question follows a topic from server to server.
_MOST_REDIRECTIONS = 20
# Seconds until a history is read again that the engine does not let us read.
_REFUSED = 5.0


class RedisEngine:
    """Where the topics of one process are.

    :param seeds: servers, of which the first that can be reached is used; if it belongs to a
        cluster, so are the others of it.
    :param producer: how the process calls itself.
    :param on_change: called with a cause when connections are open or lost.
    :param on_reply: called when something that was published is settled.
    """

    def __init__(
        self,
        seeds: List[RedisDialer],
        commands: RedisCommands,
        producer: bytes,
        bounds: OutboxBounds,
        counts: EngineCounts,
        receiver: BackplaneReceiver,
        on_change: Callable[[str], None],
        on_reply: Callable[[], None],
    ) -> None:
        self._seeds = seeds
        self._commands = commands
        self._bounds = bounds
        self._counts = counts
        self._on_change = on_change
        self._on_reply = on_reply
        self._loop = asyncio.get_running_loop()
        self._delivery = Delivery(receiver, producer, counts, self._fetch)
        self._refusal = seeds[0].refusal
        # Either one server, or those of a cluster.
        self._node: Optional[RedisNode] = None
        self._cluster: Optional[RedisCluster] = None
        self._waiters: Dict[Feed, asyncio.Future[None]] = {}
        # What is published to topics with history from their subscription on until it is known
        # where they are. If it was sent before, that position would be after it.
        self._held: Dict[str, Outbox] = {}

    @property
    def is_connected(self) -> bool:
        where = self._node or self._cluster
        return where is not None and where.is_connected

    @property
    def nodes(self) -> List[RedisNode]:
        """The servers, connected or not."""
        if self._cluster is not None:
            return self._cluster.nodes
        return [] if self._node is None else [self._node]

    @property
    def feeds(self) -> Dict[str, Feed]:
        """What is subscribed to, by topic."""
        return self._delivery.feeds

    @property
    def moved(self) -> int:
        """Subscriptions that had to go to another server."""
        return 0 if self._cluster is None else self._cluster.moved

    async def connect(self) -> None:
        """Connect to all servers; of a cluster, to those that can be reached.

        :raises BackplaneError: none can be, or they cannot be used.
        """
        seed = await self._first_node()
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
            self._commands.shard()
            self._cluster = RedisCluster(
                self._make_node,
                self._seeds,
                self._commands,
                partial(Outbox, self._counts, self._bounds),
                self._resume,
                self._on_change,
            )
            await self._cluster.start(seed)
        finally:
            await seed.stop()

    async def _first_node(self) -> RedisNode:
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

    async def disconnect(self) -> None:
        """Close all connections; what is not acknowledged has failed."""
        if self._cluster is not None:
            await self._cluster.stop()
        elif self._node is not None:
            await self._node.stop()
            self._node.outbox.clear()
        for held in self._held.values():
            held.clear()
        self._held.clear()
        for waiter in self._waiters.values():
            waiter.cancel()
        self._waiters.clear()

    def node_of(self, topic: str) -> Optional[RedisNode]:
        """Return the server that has a topic's history; None: nobody has it now."""
        return self._node if self._cluster is None else self._cluster.node_of(topic)

    def owner_of(self, topic: str) -> Optional[RedisNode]:
        """Return the server that has a topic's channel; None: nobody has it now."""
        return self._node if self._cluster is None else self._cluster.owner_of(topic)

    def publishing(self, topic: str) -> Tuple[Outbox, Optional[RedisNode]]:
        """Return where a message is to be put, and who sends it then."""
        held = self._held.get(topic) if self._held else None
        if held is not None:
            return held, None
        node = self._node
        if node is not None:
            return node.outbox, node
        if self._cluster is None:
            raise BackplaneError(f"the engine {self._seeds[0].name} is not connected")
        return self._cluster.publishing(topic)

    # Subscriptions

    def subscribe(self, topic: str, history: Optional[HistoryRule]) -> None:
        """Subscribe where the topic is, and wherever it goes."""
        feeds = self._delivery.feeds
        if topic in feeds:
            return
        feed = feeds[topic] = Feed(topic, history)
        if history is not None:
            self._held[topic] = Outbox(self._counts, self._bounds)
        if self._cluster is not None:
            self._cluster.subscribe(feed)
        elif self._node is not None:
            self._node.add(feed)

    def unsubscribe(self, topic: str) -> None:
        """Subscribe to it no more."""
        feed = self._delivery.forget(topic)
        if feed is None:
            return
        self._release(topic)
        if self._cluster is not None:
            self._cluster.unsubscribe(feed)
        elif self._node is not None:
            self._node.remove(feed)
        waiter = self._waiters.pop(feed, None)
        if waiter is not None:
            waiter.cancel()

    async def subscribed(self, topic: str) -> None:
        """Return when the subscription is confirmed.

        :raises BackplaneError: it is not subscribed to, or not any more.
        """
        feed = self._delivery.feeds.get(topic)
        if feed is None:
            raise BackplaneError(f"no connection of this process is subscribed to {topic!r}")
        while not feed.is_confirmed:
            waiter = self._waiters.get(feed)
            if waiter is None:
                waiter = self._waiters[feed] = self._loop.create_future()
            await asyncio.wait([waiter])
            if not waiter.cancelled():
                return
            former, feed = feed, self._delivery.feeds.get(topic)
            if feed is None or feed is former:
                raise BackplaneError(f"{topic!r} is not subscribed to any more")

    def _release(self, topic: str) -> None:
        """Publish what was held."""
        held = self._held.pop(topic, None)
        batches = [] if held is None else held.take_topic(topic)
        if batches:
            outbox, node = self.publishing(topic)
            outbox.put(batches)
            if node is not None:
                node.flush_soon()

    # What servers tell, see RedisNodeOwner

    def changed(self, node: RedisNode, cause: str) -> None:
        if self._cluster is not None:
            self._cluster.connection_changed(node)
            cause = f"{node.name}: {cause}"
        self._on_change(cause)

    def confirmed(self, feed: Feed) -> None:
        if feed.history is not None:
            self._delivery.look(feed)
        waiter = self._waiters.pop(feed, None)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def ended(self, node: RedisNode, feed: Feed) -> None:
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
        self._on_reply()

    # History

    async def history(
        self, topic: str, since: Optional[Position], rule: HistoryRule, last: int = 0
    ) -> History:
        """Read what a topic has had since a position, see :class:`Backplane`."""
        publications: List[Publication] = []
        recovered = True
        while True:
            page = await self._read(topic, since, rule, last, is_first=not publications)
            if not page.recovered:
                publications, recovered = [], False  # begin again, with the last ones
            publications += page.publications
            if not page.publications or publications[-1].position == page.position:
                break
            since = publications[-1].position
        if not recovered:
            publications = publications[-last:]  # others may have come while pages were read
        return History(publications, page.position, recovered)

    async def _read(
        self, topic: str, since: Optional[Position], rule: HistoryRule, last: int, *, is_first: bool
    ) -> History:
        command = partial(self._commands.history, topic, since, rule, last=last, is_first=is_first)
        return self._page(topic, await self.ask(topic, command))

    async def ask(
        self, topic: str, command: Callable[[bytes], bytes], *, is_count: bool = False
    ) -> Any:
        """Return the reply of the server that has a topic.

        :param command: called with the run of that server.
        :param is_count: it is about a key that moves apart from the others of the topic.
        :raises BackplaneError: the server cannot be reached, or refuses.
        """
        reply, asked = None, None
        for _ in range(_MOST_REDIRECTIONS):
            node = asked or (self.owner_of(topic) if is_count else self.node_of(topic))
            if node is None:
                raise BackplaneError(f"the engine {self._seeds[0].name} is not connected")
            is_asked = node is asked or (topic in node.asked and not is_count)
            reply = await node.reply(command(node.run), is_asked=is_asked)
            if not isinstance(reply, self._refusal):
                return reply
            redirection = node.dialer.redirection(reply)
            if redirection is None or self._cluster is None:
                break
            asked = None
            if is_count and redirection.kind == "ASK":
                # The others may not have moved.
                asked = self._cluster.target_of(node, redirection)
            else:
                await asyncio.sleep(self._cluster.follow(node, topic, redirection))
        raise BackplaneError(f"the engine refuses: {reply}")

    def follows(self, node: RedisNode, topic: str, reply: Any) -> bool:
        """Learn from a refusal where a topic is; return whether it said so, or may do later."""
        redirection = node.dialer.redirection(reply)
        if redirection is None or self._cluster is None:
            return False
        # ASK would be of one key only.
        if redirection.kind == "MOVED":
            self._cluster.follow(node, topic, redirection)
        return True

    def _again(self, node: RedisNode, topic: str, reply: Any, again: Callable[[], None]) -> None:
        """Do something again that a server has refused."""
        redirection = node.dialer.redirection(reply)
        if redirection is not None and self._cluster is not None:
            self._loop.call_later(self._cluster.follow(node, topic, redirection), again)
        elif not node.is_passing(reply):
            # Other topics can be had.
            self._delivery.gap([topic], f"the engine {node.name} refuses to read it: {reply}")
            self._loop.call_later(_REFUSED, again)
        elif node.pipe is not None:
            node.pipe.lose(f"the engine {node.name} refuses for now: {reply}")

    def _page(self, topic: str, reply: Any) -> History:
        offset, epoch, is_recovered, entries, first = reply
        position = Position(offset, epoch.decode("ascii"))
        publications = []
        for index, entry in enumerate(entries):
            try:
                (record,) = decode_records(entry, PRODUCER_SIZE)
            except ValueError:  # somebody else has written it
                self._counts.malformed += 1
                return History([], position, recovered=False)
            at = Position(first + index, position.epoch)
            publications.append(
                self._delivery.publication(topic, entry[:PRODUCER_SIZE], record, at)
            )
        return History(publications, position, bool(is_recovered))

    def locate(self, feed: Feed) -> None:
        node, topic, rule = self.node_of(feed.topic), feed.topic, feed.history
        is_wanted = self._is_current(feed) and not feed.is_located
        if node is not None and rule is not None and is_wanted:
            command = self._commands.history(topic, None, rule, node.run)
            node.send(topic, command, partial(self._located, node, feed))

    def _located(self, node: RedisNode, feed: Feed, reply: Any) -> None:
        if isinstance(reply, self._refusal):
            self._again(node, feed.topic, reply, partial(self.locate, feed))
        elif self._is_current(feed) and not feed.is_located:
            feed.last = self._page(feed.topic, reply).position
            self._release(feed.topic)
            home = self._node if self._cluster is None else self._cluster.home_of(feed)
            if home is not None:
                home.request(feed)

    def _fetch(self, feed: Feed) -> None:
        node, since, rule = self.node_of(feed.topic), feed.last, feed.history
        if node is not None and since is not None and rule is not None and self._is_current(feed):
            command = self._commands.history(feed.topic, since, rule, node.run)
            node.send(feed.topic, command, partial(self._fetched, node, feed, since))

    def _fetched(self, node: RedisNode, feed: Feed, since: Position, reply: Any) -> None:
        if isinstance(reply, self._refusal):
            self._again(node, feed.topic, reply, partial(self._fetch, feed))
            return
        if not self._is_current(feed) or feed.last != since:
            return
        page = self._page(feed.topic, reply)
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
