"""A cluster of Redis: which of its servers has a topic, and what moves from one to another.

All keys and the channel of a topic are in one slot, and each slot is on one primary at a time.
Everything of a topic goes there: what is published, its history, its subscription. A server that
has a slot no more says so, of commands with ``MOVED`` and of subscriptions with ``sunsubscribe``.
While the keys of a slot are on their way, ``ASK`` says which topics are there already.

What is published of a topic is parked when a server does not take it, until nothing of it is on its
way to that server, so that the order of each topic stays.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Set, Tuple

from picows_server.backplane.cancellation import end, within
from picows_server.backplane.delivery import Feed
from picows_server.backplane.interface import BackplaneError
from picows_server.backplane.outbox import Batch, Outbox
from picows_server.backplane.redis_commands import SLOTS, RedisCommands, slot_of
from picows_server.backplane.redis_dialing import Redirection, RedisDialer, encode_command
from picows_server.backplane.redis_node import RedisNode
from picows_server.backplane.redis_pipe import RedisPipe

__all__ = ["RedisCluster"]

# Seconds between two looks at the map: at least, at most while something is amiss, and else.
_LEAST = 0.1
_UNSETTLED = 1.0
_SETTLED = 60.0
# Seconds until a server is asked again: after MOVED or ASK, and when nobody has the topic now.
_REDIRECTED = 0.01
_NOBODY = 0.1
# Sharded pub/sub came with it.
_OLDEST = 7
_ASK_FOR_MAP = encode_command(b"CLUSTER", b"SLOTS")

_Address = Tuple[str, int]


class _Range(NamedTuple):
    """Slots of one primary."""

    first: int
    last: int
    address: _Address


class _Parked:
    """What waits until it is known which server has a topic."""

    __slots__ = ("node", "outbox", "pauses", "returned")

    def __init__(self, node: Optional[RedisNode], outbox: Outbox) -> None:
        #: Where some of it may be on its way.
        self.node = node
        #: What that server did not take.
        self.returned: List[Batch] = []
        #: What came after it.
        self.outbox = outbox
        #: Timers that run.
        self.pauses = 0


class RedisCluster:
    """The primaries of a cluster.

    :param make_node: called with a dialer; returns a server that is not connected yet.
    :param seeds: servers that know the others.
    :param make_outbox: returns one with the bounds that all servers share.
    :param resume: called with a topic whose commands may have been lost on their way.
    :param changed: called with a cause when other servers have the slots.
    """

    def __init__(
        self,
        make_node: Callable[[RedisDialer], RedisNode],
        seeds: List[RedisDialer],
        commands: RedisCommands,
        make_outbox: Callable[[], Outbox],
        resume: Callable[[str], None],
        changed: Callable[[str], None],
    ) -> None:
        self._make_node = make_node
        self._seeds = seeds
        self._commands = commands
        self._make_outbox = make_outbox
        self._resume = resume
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._nodes: Dict[_Address, RedisNode] = {}
        self._owners: List[Optional[RedisNode]] = [None] * SLOTS
        self._has_all_slots = False
        # Topics that are on a server to which their slot is on its way.
        self._asked: Dict[str, RedisNode] = {}
        self._parked: Dict[str, _Parked] = {}
        # Where topics were subscribed to; those that are nowhere, and why messages are lost if so.
        self._homes: Dict[Feed, RedisNode] = {}
        self._homeless: Dict[Feed, Optional[str]] = {}
        # Confirmed subscriptions that the map has elsewhere.
        self._suspects: Set[Tuple[Feed, RedisNode]] = set()
        self._has_moved = False
        self._wanted = asyncio.Event()
        self._informed: Optional[RedisNode] = None
        self._task: Optional[asyncio.Task[None]] = None
        self._endings: Set[asyncio.Task[None]] = set()
        #: Subscriptions that were confirmed, and had to go to another server.
        self.moved = 0

    @property
    def nodes(self) -> List[RedisNode]:
        """The servers, connected or not."""
        return list(self._nodes.values())

    @property
    def is_connected(self) -> bool:
        """Whether all slots can be reached."""
        return self._has_all_slots and all(node.is_connected for node in self.nodes)

    async def start(self, seed: RedisNode) -> None:
        """Connect to all primaries; those that cannot be reached yet are tried again and again.

        :param seed: a server with a connection for commands.
        :raises BackplaneError: none can be used.
        """
        major = seed.version.split(".")[0]
        if major.isdecimal() and int(major) < _OLDEST:
            raise BackplaneError(
                f"the cluster's server {seed.name} has version {seed.version}, and sharded pub/sub"
                f" needs {_OLDEST}.0; upgrade it, or use ShardedBackplane with servers that are no"
                " cluster"
            )
        ranges = await self._ask(seed.pipe, seed.dialer)
        if not ranges:
            raise BackplaneError(
                f"the cluster of {seed.name} has no slots; redis-cli --cluster create assigns them"
            )
        for each in ranges:
            self._node_at(each.address, connects=False)
        self._apply(ranges)
        nodes = self.nodes
        outcomes = await asyncio.gather(*map(_start, nodes), return_exceptions=True)
        errors = [each for each in outcomes if isinstance(each, BaseException)]
        if len(errors) == len(nodes):
            raise errors[0]
        for node, outcome in zip(nodes, outcomes):
            if isinstance(outcome, BaseException):
                node.connect_soon()
        self._task = self._loop.create_task(self._keep())

    async def stop(self) -> None:
        """Disconnect from all; what is not acknowledged has failed."""
        if self._task is not None:
            await end(self._task)
        await asyncio.gather(*(node.stop() for node in self.nodes), *self._endings)
        for node in self.nodes:
            node.outbox.clear()
        for parked in self._parked.values():
            parked.outbox.put(parked.returned)
            parked.outbox.clear()
        self._parked.clear()

    # Where a topic is

    def node_of(self, topic: str) -> Optional[RedisNode]:
        """Return the server that has a topic's keys; None: nobody has them now."""
        node = self._asked.get(topic) if self._asked else None
        return self.owner_of(topic) if node is None else node

    def publishing(self, topic: str) -> Tuple[Outbox, Optional[RedisNode]]:
        """Return where a message is to be put, and who sends it then."""
        parked = self._parked.get(topic) if self._parked else None
        if parked is None:
            node = self.node_of(topic)
            if node is not None:
                return node.outbox, node
            parked = self._park(topic, None)
        return parked.outbox, None

    def subscribe(self, feed: Feed) -> None:
        """Subscribe at the server that owns the topic's slot."""
        node = self.owner_of(feed.topic)
        if node is None:
            self._homeless[feed] = None
        else:
            self._homes[feed] = node
            node.add(feed)

    def unsubscribe(self, feed: Feed) -> None:
        """Subscribe to it no more."""
        self._homeless.pop(feed, None)
        node = self._homes.pop(feed, None)
        if node is not None:
            node.remove(feed)

    def home_of(self, feed: Feed) -> Optional[RedisNode]:
        """Return where a topic is subscribed to; None: nowhere yet."""
        return self._homes.get(feed)

    def owner_of(self, topic: str) -> Optional[RedisNode]:
        """Return the server that has the slot of a topic, with its channel; None: nobody."""
        return self._owners[slot_of(self._commands.channel(topic))]

    # What servers say

    def follow(self, node: RedisNode, topic: str, redirection: Redirection) -> float:
        """Learn where a topic is; return the seconds after which to try again."""
        if redirection.kind not in {"ASK", "MOVED"}:
            self._ask_at(topic, None)
            return _NOBODY
        target = self.target_of(node, redirection)
        if redirection.kind == "ASK":
            self._ask_at(topic, target)
            return _REDIRECTED
        self._ask_at(topic, None)
        former = self._owners[redirection.slot]
        if target is not former:
            self._owners[redirection.slot] = target
            self._has_moved = True
            self._informed = node
            self._wanted.set()
            if former is not None:
                self._part(former)
        return _REDIRECTED

    def target_of(self, node: RedisNode, redirection: Redirection) -> RedisNode:
        """Return the server that ``MOVED`` or ``ASK`` names."""
        return self._node_at((redirection.host or node.dialer.host, redirection.port))

    def refused(self, node: RedisNode, batch: Batch, redirection: Optional[Redirection]) -> bool:
        """Take a batch back that a server has refused; return whether this was its fate.

        :param redirection: None: perhaps because the one before it was redirected.
        """
        topic = batch.topic
        parked = self._parked.get(topic)
        if redirection is None and parked is None:
            return False
        if not node.outbox.withdraw(batch):
            return True
        if parked is None:
            parked = self._park(topic, node)
        parked.returned.append(batch)
        parked.pauses += 1
        pause = 0.0 if redirection is None else self.follow(node, topic, redirection)
        self._loop.call_later(pause, self._paused, topic, parked)
        return True

    def replied(self, node: RedisNode, topic: str) -> None:
        """A batch of a topic is not on its way any more."""
        if topic in node.asked:
            # Its subscribers are at the owner of its slot still.
            owner = self.owner_of(topic)
            if owner is not None and owner is not node:
                owner.send(topic, self._commands.look(topic), _ignore)
        if self._parked:
            self._release(topic)

    def subscription_refused(self, node: RedisNode, redirection: Redirection) -> bool:
        """Take what a server says of a subscription; return whether its others are good."""
        if redirection.kind != "MOVED":
            return False
        pause = self.follow(node, "", redirection)
        for channel, feed in list(node.feeds.items()):
            if not feed.is_confirmed and slot_of(channel) == redirection.slot:
                self._leave(feed, node, is_ended=True)
        self._loop.call_later(pause, self._settle_homeless)
        return True

    def subscription_ended(self, node: RedisNode, feed: Feed) -> None:
        """Look for a topic that a server has no more; it knows who has."""
        self._informed = node
        self._wanted.set()
        self._leave(feed, node, is_ended=True)

    def connection_changed(self, node: RedisNode) -> None:
        """A server is connected, or lost."""
        if node.pipe is None:
            for topic, parked in list(self._parked.items()):
                if parked.node is node:
                    parked.returned += node.outbox.take_topic(topic)
                    self._release(topic)
        else:
            for topic in list(node.asked):
                self._resume(topic)
        if not node.is_connected:
            self._wanted.set()

    def _ask_at(self, topic: str, node: Optional[RedisNode]) -> None:
        """Send what is about a topic to a server that does not own its slot; None: do not."""
        former = self._asked.get(topic)
        if former is node:
            return
        if former is not None:
            former.asked.discard(topic)
            del self._asked[topic]
        if node is not None:
            self._asked[topic] = node
            node.asked.add(topic)
        before = former or self.owner_of(topic)
        if before is not None:
            self._part(before)

    # What is published

    def _park(self, topic: str, node: Optional[RedisNode]) -> _Parked:
        parked = self._parked[topic] = _Parked(node, self._make_outbox())
        if node is not None:
            parked.outbox.put(node.outbox.take_topic(topic))
        return parked

    def _part(self, node: RedisNode) -> None:
        """Park what waits for a server that does not have its topic any more."""
        for topic in node.outbox.topics():
            if topic not in self._parked and self.node_of(topic) is not node:
                self._park(topic, node)
                self._release(topic)

    def _paused(self, topic: str, parked: _Parked) -> None:
        parked.pauses -= 1
        self._release(topic)

    def _release(self, topic: str) -> None:
        """Publish what was parked, if it is known where to."""
        parked = self._parked.get(topic)
        if parked is None or parked.pauses:
            return
        if parked.node is not None and parked.node.outbox.has_sent(topic):
            return
        node = self.node_of(topic)
        if node is None:
            return
        del self._parked[topic]
        parked.returned.sort(key=_last)
        node.outbox.put([*parked.returned, *parked.outbox.take_topic(topic)])
        node.flush_soon()

    # What is subscribed to

    def _settle_homeless(self) -> None:
        """Subscribe to what is nowhere at the owners of its slots."""
        nodes = set()
        for feed, lost_because in list(self._homeless.items()):
            node = self.owner_of(feed.topic)
            if node is not None:
                del self._homeless[feed]
                self._homes[feed] = node
                node.add(feed, lost_because)
                nodes.add(node)
        for node in nodes:
            node.mark()

    def _leave(self, feed: Feed, node: RedisNode, *, is_ended: bool = False) -> None:
        cause = node.remove(feed, is_ended=is_ended)
        if feed.is_confirmed:
            self.moved += 1
            if feed.history is None:
                cause = "the topic has moved to another server of the cluster"
        feed.is_confirmed = feed.is_filling = False
        feed.waiting.clear()
        del self._homes[feed]
        self._homeless[feed] = cause

    # The map

    async def _keep(self) -> None:
        due, pause = self._loop.time() + _SETTLED, _LEAST
        while True:
            with suppress(asyncio.TimeoutError):
                # Many processes do not ask at once.
                tick = random.uniform(_UNSETTLED / 2, _UNSETTLED)  # noqa: S311
                await within(tick, self._wanted.wait())
                pause = min(2 * pause, _UNSETTLED)
            is_settled = self.is_connected and not (
                self._parked or self._homeless or self._asked or self._suspects
            )
            if not self._wanted.is_set():
                pause = _LEAST
                if is_settled and self._loop.time() < due:
                    continue
            self._wanted.clear()
            due = self._loop.time() + _SETTLED
            ranges = await self._find()
            if ranges:
                self._apply(ranges)
            # While slots move one by one.
            await asyncio.sleep(pause)

    async def _find(self) -> List[_Range]:
        """Return the map; empty: nobody knows it now."""
        nodes = [node for node in self.nodes if node.pipe is not None]
        random.shuffle(nodes)
        nodes.sort(key=lambda node: node is not self._informed)
        self._informed = None
        for node in nodes:
            with suppress(BackplaneError):
                ranges = await self._ask(node.pipe, node.dialer)
                if ranges:
                    return ranges
        # The servers have other addresses now, perhaps.
        for dialer in self._seeds:
            with suppress(BackplaneError):
                pipe = RedisPipe(await dialer.open(), dialer.refusal)
                try:
                    ranges = await self._ask(pipe, dialer)
                finally:
                    await pipe.close()
                if ranges:
                    return ranges
        return []

    @staticmethod
    async def _ask(pipe: Optional[RedisPipe], dialer: RedisDialer) -> List[_Range]:
        if pipe is None:
            raise BackplaneError(f"the engine {dialer.name} is not connected")
        try:
            said = await within(dialer.timeout, pipe.ask(_ASK_FOR_MAP))
        except asyncio.TimeoutError:
            raise BackplaneError(
                f"the engine {dialer.name} did not respond within {dialer.timeout} s"
            ) from None
        ranges = []
        for first, last, (host, port, *_), *_ in said:
            # A server that does not know its own address is where it was asked.
            name = host.decode("ascii", "replace") if host else dialer.host
            ranges.append(_Range(first, last, (name, port)))
        return ranges

    def _node_at(self, address: _Address, *, connects: bool = True) -> RedisNode:
        node = self._nodes.get(address)
        if node is None:
            node = self._nodes[address] = self._make_node(self._seeds[0].at(*address))
            if connects:
                node.connect_soon()
        return node

    def _apply(self, ranges: List[_Range]) -> None:
        """Take up a new map."""
        owners: List[Optional[RedisNode]] = [None] * SLOTS
        for first, last, address in ranges:
            owners[first : last + 1] = [self._node_at(address)] * (last + 1 - first)
        is_new, self._owners = owners != self._owners, owners
        self._has_all_slots = None not in owners
        self._forget_asked()
        for address, node in list(self._nodes.items()):
            if node not in owners and not node.asked:
                self._drop(address, node)
        if is_new or self._has_moved or self._suspects:
            self._has_moved = False
            self._look_for_moved()
        for node in self.nodes:
            self._part(node)
            self._place_probe(node)
        self._settle_homeless()
        for topic in list(self._parked):
            self._release(topic)
        if is_new:
            self._changed("other servers of the cluster have the slots")

    def _forget_asked(self) -> None:
        """Send what is about a topic to the owner of its slot, if that has come or helps."""
        for topic, node in list(self._asked.items()):
            is_owner = self.owner_of(topic) is node
            if is_owner or node.pipe is None:
                self._ask_at(topic, None)
                if not is_owner:
                    self._resume(topic)

    def _look_for_moved(self) -> None:
        """Move subscriptions that are not where the map has them.

        A server says which subscriptions it has ended. So the map, which may be an old one, is
        believed the second time only.
        """
        suspects = set()
        for feed, node in list(self._homes.items()):
            if self.owner_of(feed.topic) is node:
                if (feed, node) in self._suspects:
                    # What was to be fetched meanwhile had nowhere to go.
                    self._resume(feed.topic)
                continue
            if not feed.is_confirmed or (feed, node) in self._suspects:
                self._leave(feed, node)
            else:
                suspects.add((feed, node))
        self._suspects = suspects

    def _drop(self, address: _Address, node: RedisNode) -> None:
        """Disconnect from a server that has no slots any more."""
        del self._nodes[address]
        node.release()
        for topic in node.outbox.topics():
            parked = self._parked.get(topic)
            if parked is None:
                self._park(topic, node)
            else:
                parked.returned += node.outbox.take_topic(topic)
        for feed in list(node.feeds.values()):
            self._leave(feed, node, is_ended=True)
        ending = self._loop.create_task(node.stop())
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    def _place_probe(self, node: RedisNode) -> None:
        channel = node.probe_channel
        if channel is not None and self._owners[slot_of(channel)] is node:
            return
        if node not in self._owners:  # its first slot is on its way: no channel would do
            node.probe_on(None)
            return
        candidates = (self._commands.probe_channel(b"%d" % number) for number in range(10 * SLOTS))
        mine = (each for each in candidates if self._owners[slot_of(each)] is node)
        node.probe_on(next(mine, None))


async def _start(node: RedisNode) -> None:
    await node.connect()
    await node.listen()


def _last(batch: Batch) -> int:
    return batch.last


def _ignore(reply: Any) -> None:
    """Who is not there is told by the history."""
