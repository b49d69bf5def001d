"""One server of Redis: the connections to it, what is published through it and subscribed to there.

A standalone server is one of these; a cluster has one for each primary.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Protocol, Set

from picows_server.backplane.cancellation import within
from picows_server.backplane.counting import EngineCounts
from picows_server.backplane.delivery import Delivery, Feed
from picows_server.backplane.interface import BackplaneError
from picows_server.backplane.outbox import Batch, Outbox
from picows_server.backplane.reconnecting import KeptConnection
from picows_server.backplane.redis_commands import RedisCommands, slot_of
from picows_server.backplane.redis_dialing import Redirection, RedisDialer, encode_command
from picows_server.backplane.redis_pipe import RedisPipe, RedisSubscription

__all__ = ["RedisNode", "RedisNodeOwner"]

# What is sent ahead of its acknowledgement; the rest waits, and makes larger batches.
_IN_FLIGHT = 256
_IN_FLIGHT_BYTES = 1_048_576
_ASKING = encode_command(b"ASKING")
# What the engine says of a state that passes. The connection is made anew, and all is sent again.
_PASSING = frozenset(
    {"BUSY", "LOADING", "MISCONF", "NOREPLICAS", "NOSCRIPT", "OOM", "PICOWSORDER", "READONLY"}
)


class RedisNodeOwner(Protocol):
    """What a server tells: ``RedisEngine``."""

    def changed(self, node: RedisNode, cause: str) -> None:
        """One of its connections is open, or lost."""

    def confirmed(self, feed: Feed) -> None:
        """A topic's messages arrive from now on."""

    def locate(self, feed: Feed) -> None:
        """Find out where a topic with history is; :meth:`RedisNode.request` follows."""

    def ended(self, node: RedisNode, feed: Feed) -> None:
        """The server has ended a subscription, because it does not have the topic any more."""

    def redirected(self, node: RedisNode, redirection: Redirection) -> bool:
        """The server has refused a subscription; return whether its connection is of use."""

    def refused(self, node: RedisNode, batch: Batch, reply: Any) -> bool:
        """Take a batch that another server has to get; return whether it was taken."""

    def replied(self, node: RedisNode, batch: Batch) -> None:
        """What was published is settled here: acknowledged, failed, or taken by the owner."""


class RedisNode:
    """One server.

    :param dialer: where it is.
    :param outbox: what waits for it.
    """

    def __init__(
        self,
        owner: RedisNodeOwner,
        dialer: RedisDialer,
        commands: RedisCommands,
        outbox: Outbox,
        delivery: Delivery,
        counts: EngineCounts,
    ) -> None:
        self._owner = owner
        self.dialer = dialer
        self._commands = commands
        self.outbox = outbox
        self._delivery = delivery
        self._counts = counts
        self._loop = asyncio.get_running_loop()
        #: What was subscribed to here, by channel.
        self.feeds: Dict[bytes, Feed] = {}
        #: Topics of a slot that is on its way to this server, which has to be told so.
        self.asked: Set[str] = set()
        #: Whether it belongs to a cluster, and its version; not known before :meth:`connect`.
        self.is_cluster: Optional[bool] = None
        self.version = ""
        #: Its ``run_id``; empty: the user may not know.
        self.run = b""
        #: None: it is lost.
        self.pipe: Optional[RedisPipe] = None
        self._subscription: Optional[RedisSubscription] = None
        #: Where it is probed; None: not.
        self.probe_channel: Optional[bytes] = None
        self._has_probe_returned = True
        self._is_flushing = False
        self._in_flight_last: Dict[str, int] = {}
        # Feeds of which messages may be lost, and why; told when they are confirmed again.
        self._lossy: Dict[Feed, str] = {}
        # Channels of a cluster that were unsubscribed from; the server says so of each.
        self._leaving: Dict[bytes, int] = {}
        make = partial(KeptConnection, counts=counts)
        self._pipes = make(self._dial_pipe, on_open=self._piped, on_lost=self._unpiped)
        self._subscriptions = make(
            self._dial_subscription, on_open=self._listening, on_lost=self._not_listening
        )

    @property
    def name(self) -> str:
        """For errors and logs."""
        return self.dialer.name

    @property
    def is_connected(self) -> bool:
        return self.pipe is not None and self._subscription is not None

    async def connect(self) -> None:
        """Open the connection for commands.

        :raises BackplaneError: it cannot be had.
        """
        await self._pipes.start()

    async def listen(self) -> None:
        """Open the connection for subscriptions, after the other one.

        :raises BackplaneError: it cannot be had; the other one is closed.
        """
        try:
            await self._subscriptions.start()
        except BaseException:
            await self._pipes.stop()
            self.release()
            raise

    def connect_soon(self) -> None:
        """Open both as soon as they can be had."""
        self._pipes.start_soon()
        self._subscriptions.start_soon()

    def lose(self, cause: str) -> None:
        """Give both connections up, and make them anew."""
        if self.pipe is not None:
            self.pipe.lose(cause)
        if self._subscription is not None:
            self._subscription.lose(cause)

    def release(self) -> None:
        """Use it no more: nothing comes from it, and what is not acknowledged waits again."""
        self._pipes.cancel()
        self._subscriptions.cancel()
        self.lose("the server is not used any more")
        self.pipe = self._subscription = None
        self.outbox.rewind()
        self._in_flight_last.clear()

    async def stop(self) -> None:
        """Disconnect."""
        self.release()
        await self._subscriptions.stop()
        await self._pipes.stop()

    # Commands

    def send(self, topic: str, command: bytes, on_reply: Callable[[Any], None]) -> None:
        """Send a command about a topic; without :attr:`pipe` it is lost."""
        if self.pipe is None:
            return
        if topic in self.asked:
            self.pipe.send(_ASKING, _ignore)
        self.pipe.send(command, on_reply)

    async def reply(self, command: bytes, *, is_asked: bool) -> Any:
        """Return the reply, which may be an error of the engine.

        :param is_asked: the slot is on its way to this server, which has to be told so.
        :raises BackplaneError: it is not connected, or not any more.
        """
        if self.pipe is None:
            raise BackplaneError(f"the engine {self.name} is not connected")
        if is_asked:
            self.pipe.send(_ASKING, _ignore)
        return await self.pipe.reply(command)

    def is_passing(self, refusal: Any) -> bool:
        """Tell whether the server may accept the same on a new connection, after a pause."""
        # redis-py has taken the first word from the errors that it knows.
        return self.dialer.is_passing(refusal) or str(refusal).split(" ", 1)[0] in _PASSING

    async def _dial_pipe(self) -> RedisPipe:
        connection = await self.dialer.open()
        pipe = RedisPipe(connection, self.dialer.refusal)
        try:
            await within(self.dialer.timeout, self._introduce(pipe))
        except (BackplaneError, asyncio.TimeoutError) as error:
            await pipe.close()
            reason = str(error) or "it does not respond"
            raise BackplaneError(f"the engine {self.name} cannot be used: {reason}") from None
        except BaseException:
            await pipe.close()
            raise
        return pipe

    async def _introduce(self, pipe: RedisPipe) -> None:
        for command in self._commands.loads():
            await pipe.ask(command)
        said = await pipe.ask(encode_command(b"HELLO", b"2"))
        hello: Dict[bytes, Any] = dict(zip(said[::2], said[1::2]))
        is_cluster = hello.get(b"mode") == b"cluster"
        if self.is_cluster not in {None, is_cluster}:
            raise BackplaneError(
                "it is a node of a cluster and was none before, or the other way round; start the"
                " process again"
            )
        self.is_cluster = is_cluster
        self.version = hello.get(b"version", b"").decode("ascii", "replace")
        try:
            info = await pipe.ask(encode_command(b"INFO", b"server"))
        except BackplaneError:
            if pipe.is_lost:
                raise
            # The user may not; then a restart is seen by offsets only.
            self.run = b""
        else:
            lines: Dict[bytes, bytes] = dict(line.partition(b":")[::2] for line in info.split())
            self.run = lines.get(b"run_id", b"")

    def _piped(self, pipe: RedisPipe) -> None:
        self.pipe = pipe
        self._has_probe_returned = True
        self._flush()
        for feed in list(self.feeds.values()):
            self.resume(feed)
        self._owner.changed(self, "the engine can be reached")

    def _unpiped(self, cause: str) -> None:
        self.pipe = None
        self.outbox.rewind()
        self._in_flight_last.clear()
        self._owner.changed(self, cause)

    # Publishing

    def flush_soon(self) -> None:
        """Send what waits, at the end of this iteration of the loop."""
        if not self._is_flushing and self.pipe is not None:
            self._is_flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flushing = False
        pipe, outbox = self.pipe, self.outbox
        if pipe is None:
            return
        while (
            outbox.waiting
            and outbox.in_flight < _IN_FLIGHT
            and outbox.bytes_in_flight < _IN_FLIGHT_BYTES
        ):
            batch = outbox.take()
            before = 0
            if batch.history is not None:
                before = self._in_flight_last.get(batch.topic, 0)
                self._in_flight_last[batch.topic] = batch.last
            command = self._commands.publish(batch, before, self.run)
            self.send(batch.topic, command, partial(self._acknowledged, pipe, batch))

    def _acknowledged(self, pipe: RedisPipe, batch: Batch, reply: Any) -> None:
        if not isinstance(reply, self.dialer.refusal):
            self.outbox.acknowledge(batch)
        elif not self._owner.refused(self, batch, reply):
            if self.is_passing(reply):
                pipe.lose(f"the engine {self.name} refuses for now: {reply}")
                return
            self.outbox.fail(batch)
            self._delivery.gap([batch.topic], f"the engine refuses what is published: {reply}")
        if self._in_flight_last.get(batch.topic) == batch.last:
            del self._in_flight_last[batch.topic]
        if self.outbox.waiting:
            self.flush_soon()
        self._owner.replied(self, batch)

    # Subscriptions

    def add(self, feed: Feed, lost_because: Optional[str] = None) -> None:
        """Subscribe to a topic.

        :param lost_because: messages are lost until this is confirmed.
        """
        self.feeds[self._commands.channel(feed.topic)] = feed
        if lost_because is not None:
            self._lossy[feed] = lost_because
        self.request(feed)

    def remove(self, feed: Feed, *, is_ended: bool = False) -> Optional[str]:
        """Unsubscribe from a topic; return why messages of it are lost, if they are.

        :param is_ended: the server has done it already.
        """
        channel = self._commands.channel(feed.topic)
        del self.feeds[channel]
        if self._subscription is not None and not is_ended:
            self._subscription.write(self._commands.unsubscribe(channel))
            if self._commands.is_sharded:
                self._leaving[channel] = self._leaving.get(channel, 0) + 1
        return self._lossy.pop(feed, None)

    def request(self, feed: Feed) -> None:
        """Subscribe at the engine; of history, it must be known before where the topic is."""
        if self._subscription is None:
            return
        if feed.is_located:
            channel = self._commands.channel(feed.topic)
            self._subscription.write(self._commands.subscribe(channel))
        else:
            self._owner.locate(feed)

    def resume(self, feed: Feed) -> None:
        """Go on with what waited for the connection for commands."""
        if feed.is_filling:
            self._delivery.refill(feed)
        elif not feed.is_confirmed:
            self.request(feed)

    def mark(self) -> None:
        """Tell of losses when all that was requested is confirmed."""
        if self._subscription is not None:
            self._subscription.write(self._commands.subscribe_to_mark())

    async def _dial_subscription(self) -> RedisSubscription:
        return RedisSubscription(
            await self.dialer.open(),
            self.dialer.refusal,
            self._message,
            self._confirmed,
            self._ended,
            self._refused,
        )

    def _listening(self, subscription: RedisSubscription) -> None:
        self._subscription = subscription
        self._has_probe_returned = True
        if self.probe_channel is not None:
            subscription.write(self._commands.subscribe(self.probe_channel))
        for feed in list(self.feeds.values()):
            self.request(feed)
        self.mark()
        self._owner.changed(self, "the engine can be reached")

    def _not_listening(self, cause: str) -> None:
        self._subscription = None
        self._leaving.clear()
        for feed in self.feeds.values():
            if feed.is_confirmed and feed.history is None:
                self._lossy[feed] = f"the connection to the engine was lost: {cause}"
            feed.is_confirmed = False
        self._owner.changed(self, cause)

    def _confirmed(self, channel: bytes) -> None:
        if channel == self._commands.mark:
            self._tell_losses()
            return
        feed = self.feeds.get(channel)
        # Otherwise it is of an earlier subscription to the same topic.
        if feed is not None and feed.is_located:
            feed.is_confirmed = True
            self._owner.confirmed(feed)

    def _tell_losses(self) -> None:
        lossy, self._lossy = self._lossy, {}
        topics: Dict[str, List[str]] = {}
        for feed, cause in lossy.items():
            if feed.is_confirmed:
                topics.setdefault(cause, []).append(feed.topic)
            else:
                self._lossy[feed] = cause
        for cause, those in topics.items():
            self._delivery.gap(those, cause)

    def _ended(self, channel: bytes) -> None:
        count = self._leaving.pop(channel, 0)
        if count:
            if count > 1:
                self._leaving[channel] = count - 1
            return
        if channel == self.probe_channel:
            self._has_probe_returned = True
        feed = self.feeds.get(channel)
        if feed is not None:
            self._owner.ended(self, feed)

    def _refused(self, refusal: Any) -> bool:
        redirection = self.dialer.redirection(refusal)
        if redirection is None:
            return False
        # Of the slot it has ended all, and says it of no more.
        self._leaving = {
            channel: count
            for channel, count in self._leaving.items()
            if slot_of(channel) != redirection.slot
        }
        return self._owner.redirected(self, redirection)

    def _message(self, channel: bytes, data: bytes) -> None:
        feed = self.feeds.get(channel)
        if feed is not None:
            self._delivery.arrived(feed, data)
        elif channel == self.probe_channel:
            self._has_probe_returned = True

    # Probes

    def probe_on(self, channel: Optional[bytes]) -> None:
        """Probe on another channel; None: not at all."""
        if channel == self.probe_channel:
            return
        self.probe_channel = channel
        self._has_probe_returned = True
        if channel is not None and self._subscription is not None:
            self._subscription.write(self._commands.subscribe(channel))

    def probe(self, interval: float, is_late: bool) -> None:
        """Send a message to oneself, or give the server up because the last one has not come.

        :param interval: seconds since then, for the log.
        :param is_late: the loop was blocked: it has not read what may have come.
        """
        channel = self.probe_channel
        if self.pipe is None or self._subscription is None or channel is None:
            return
        if not self._has_probe_returned:
            if not is_late:
                self._counts.silences += 1
                self.lose(f"the engine {self.name} is silent for {interval} s")
            return
        self._has_probe_returned = False
        self.pipe.send(self._commands.probe(channel), self._probed)

    def _probed(self, reply: Any) -> None:
        if not isinstance(reply, self.dialer.refusal):
            return
        redirection = self.dialer.redirection(reply)
        if redirection is not None:
            # It is not silent.
            self._has_probe_returned = True
            self._owner.redirected(self, redirection)


def _ignore(reply: Any) -> None:
    """A reply that changes nothing."""
