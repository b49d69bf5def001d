"""Connections that come back: what they have missed, from the history of a backplane."""

from __future__ import annotations

import asyncio
from typing import Dict, List, MutableMapping, NamedTuple, Optional, Set, Tuple
from weakref import WeakKeyDictionary

from picows_codec import WSPreparedMessage, WSTransport
from picows_server.backplane.cancellation import within
from picows_server.backplane.interface import (
    Backplane,
    BackplaneError,
    HistoryRule,
    Position,
    Publication,
)
from picows_server.logs import Logger
from picows_server.topics.local import LocalTopics, Subscribed, check_is_new, wrapped
from picows_server.topics.membership import Key, Subscriber, Topic
from picows_server.topics.names import shown

__all__ = ["UNDELIVERABLE", "Recovery"]

# Bytes of live messages that wait for a connection whose history is being read.
_ARRIVED_BYTES = 16_777_216
# Seconds for which subscribe_from waits until the engine has confirmed the topic.
_CONFIRMATION_TIMEOUT = 10.0
UNDELIVERABLE = "topic %r: a message of the backplane cannot be delivered"


class _Arrived(NamedTuple):
    """A live message that waits until a subscriber has those before it."""

    position: Optional[Position]
    key: Key
    message: WSPreparedMessage


class _Joining:
    """A connection that is being subscribed: its history is being read."""

    def __init__(self, transport: WSTransport) -> None:
        self.transport = transport
        self.arrived: List[_Arrived] = []
        self._size = 0
        #: More had arrived than may wait, and nothing waits any more.
        self.is_overfull = False
        self.has_gap = False
        #: It was unsubscribed meanwhile.
        self.is_given_up = False

    def take(self, arrived: _Arrived) -> None:
        """Keep a live message, as long as they are not too large together."""
        if self.is_overfull:
            return
        self._size += arrived.message.payload_size
        if self._size > _ARRIVED_BYTES:
            self.is_overfull = True
            self.arrived.clear()
            return
        self.arrived.append(arrived)


class _Ahead:
    """A connection that has what is still to arrive as live messages, up to a position.

    :param former_epoch: that of the live messages so far, "" if there were none.
    """

    __slots__ = ("former_epoch", "position")

    def __init__(self, position: Position, former_epoch: str) -> None:
        self.position = position
        self.former_epoch = former_epoch

    def has(self, position: Position) -> bool:
        """Whether it has the message at a position, or one that replaces its whole epoch."""
        if position.epoch == self.position.epoch:
            return position.offset <= self.position.offset
        if not self.former_epoch:
            self.former_epoch = position.epoch
        return position.epoch == self.former_epoch

    def is_reached_by(self, position: Position) -> bool:
        """Whether what comes after the message at a position is new to it."""
        if position.epoch == self.position.epoch:
            return position.offset >= self.position.offset
        return position.epoch != self.former_epoch


class Recovery:
    """Joins connections to topics between what the engine has kept and what is live."""

    def __init__(self, local: LocalTopics, backplane: Backplane, logger: Logger) -> None:
        self._local = local
        self._backplane = backplane
        self._logger = logger
        self._joining: Dict[str, List[_Joining]] = {}
        # By topic: connections that got from the history what is still to arrive as live messages.
        self._ahead: Dict[str, MutableMapping[WSTransport, _Ahead]] = {}
        self.invalid = 0

    def is_reading(self, name: str) -> bool:
        """Whether the history of a topic is being read."""
        return name in self._joining

    def forget(self, name: str) -> None:
        """A topic has ended."""
        self._ahead.pop(name, None)

    # Live messages

    def delivers(
        self, topic: Topic, key: Key, message: WSPreparedMessage, position: Optional[Position]
    ) -> None:
        """Keep a live message for those whose history is being read."""
        for joining in self._joining.get(topic.name, ()):
            joining.take(_Arrived(position, key, message))

    def is_ahead(self, name: str) -> bool:
        """Whether a connection has more of a topic than what has arrived."""
        return name in self._ahead

    def those_ahead(self, name: str, position: Position) -> Set[WSTransport]:
        """Return the connections that have the message at a position, which now arrives."""
        ahead = self._ahead[name]
        found = set()
        for transport, each in list(ahead.items()):
            if each.has(position):
                found.add(transport)
            if each.is_reached_by(position):
                del ahead[transport]
        if not ahead:
            del self._ahead[name]
        return found

    def gap(self, name: str) -> None:
        """Live messages of a topic are lost, or may be."""
        for joining in self._joining.get(name, ()):
            joining.has_gap = True
        ahead = self._ahead.get(name, {})
        for transport, each in list(ahead.items()):
            if not each.former_epoch:
                del ahead[transport]

    # Those that come back

    async def subscribe_from(
        self, transport: WSTransport, name: str, since: Optional[Position], last: int
    ) -> Subscribed:
        """Subscribe a connection and send what it has missed."""
        subscriber = self._local.subscriber(transport, name)
        rule = self._local.history_rule(name)
        if subscriber is None:
            return Subscribed(since or Position(0, ""), False)
        check_is_new(subscriber, name)
        topic = self._local.topic_for(subscriber, name)
        if self._has_all(topic, since, last):
            return self._local.subscribe_since(transport, name, since, last)
        joining = _Joining(transport)
        self._joining.setdefault(name, []).append(joining)
        try:
            await self.confirmed(name)
            position, kept, recovered = await self._read(name, since, last, rule)
            if not recovered and not last:
                return self._join_late(subscriber, topic, joining, position)
            return self._join(subscriber, topic, joining, position, kept, recovered)
        finally:
            self._joining[name].remove(joining)
            if not self._joining[name]:
                del self._joining[name]
                if self._local.get(name) is topic and len(topic) == 0:
                    self._local.rest(topic)

    def give_up(self, transport: WSTransport, name: str) -> bool:
        """Do not subscribe a connection whose history is being read; return whether it is.

        If it is subscribed again, it may begin before what it had.
        """
        self._ahead.get(name, {}).pop(transport, None)
        those = [each for each in self._joining.get(name, ()) if each.transport is transport]
        for joining in those:
            joining.is_given_up = True
        return bool(those)

    async def confirmed(self, name: str) -> None:
        """Return when the engine has confirmed that this process is subscribed."""
        try:
            await within(_CONFIRMATION_TIMEOUT, self._backplane.subscribed(name))
        except asyncio.TimeoutError:
            raise BackplaneError(
                f"the engine has not confirmed the subscription to {shown(name)} within"
                f" {_CONFIRMATION_TIMEOUT:g} s"
            ) from None

    def _has_all(self, topic: Topic, since: Optional[Position], last: int) -> bool:
        """Whether no engine needs to be asked."""
        history = topic.history
        if history is None or not history.epoch or topic.name in self._joining:
            return False
        if since is not None and since.epoch == history.epoch:
            return history.since(since) is not None
        return last <= len(history.kept)

    async def _read(
        self, name: str, since: Optional[Position], last: int, rule: HistoryRule
    ) -> Tuple[Position, List[Publication], bool]:
        found = await self._backplane.history(name, since, rule)
        recovered = found.recovered and since is not None
        if not recovered and last and found.position.offset:
            first = max(0, found.position.offset - min(last, rule.size))
            later = await self._backplane.history(name, Position(first, found.position.epoch), rule)
            if later.recovered:
                return later.position, later.publications, False
        return found.position, found.publications if recovered else [], recovered

    def _join(
        self,
        subscriber: Subscriber,
        topic: Topic,
        joining: _Joining,
        position: Position,
        kept: List[Publication],
        recovered: bool,
    ) -> Subscribed:
        """Send what the engine had, then what has come meanwhile."""
        self._check_is_possible(subscriber, topic, joining)
        messages: List[Tuple[Key, WSPreparedMessage]] = []
        for each in kept:
            try:
                message = WSPreparedMessage(each.opcode, each.payload)
                messages.append((each.key, wrapped(topic, message, each.position)))
            except Exception:  # as in Relay.received()
                self.invalid += 1
                self._logger.exception(UNDELIVERABLE, topic.name)
                recovered = False
        for arrived in joining.arrived:
            if arrived.position is not None:
                if arrived.position.epoch != position.epoch:
                    recovered = False
                elif arrived.position.offset <= position.offset:
                    continue
                position = arrived.position
            messages.append((arrived.key, arrived.message))
        self._begin(subscriber, topic, joining, messages, position)
        return Subscribed(position, recovered and not joining.has_gap)

    def _join_late(
        self, subscriber: Subscriber, topic: Topic, joining: _Joining, position: Position
    ) -> Subscribed:
        """Send what is retained, which has what has come meanwhile."""
        self._check_is_possible(subscriber, topic, joining)
        messages = list(topic.retained.items())
        for arrived in joining.arrived:
            position = arrived.position or position
            if not topic.rule.retain:
                messages.append((arrived.key, arrived.message))
        if topic.rule.retain and topic.history is not None and topic.history.epoch:
            # What the engine has more is still to arrive, and newer than what is retained here.
            position = topic.history.position
        self._begin(subscriber, topic, joining, messages, position)
        return Subscribed(position, False)

    def _begin(
        self,
        subscriber: Subscriber,
        topic: Topic,
        joining: _Joining,
        messages: List[Tuple[Key, WSPreparedMessage]],
        position: Position,
    ) -> None:
        if joining.is_given_up or not subscriber.is_open:
            return
        history = topic.history
        if history is None or history.epoch != position.epoch or history.offset < position.offset:
            epoch = "" if history is None else history.epoch
            # Weak, because a topic may be silent for long after its connections have ended.
            ahead = self._ahead.setdefault(topic.name, WeakKeyDictionary())
            ahead[subscriber.transport] = _Ahead(position, epoch)
        self._local.subscribe_after(subscriber, topic, messages)

    def _check_is_possible(self, subscriber: Subscriber, topic: Topic, joining: _Joining) -> None:
        """Refuse what has become impossible while the history was read."""
        if self._local.get(topic.name) is not topic:
            raise BackplaneError(f"topic {shown(topic.name)} was dropped meanwhile, see max_topics")
        if joining.is_overfull:
            raise BackplaneError(
                f"more than {_ARRIVED_BYTES} bytes of topic {shown(topic.name)} have arrived while"
                " its history was read: subscribe again later; if that does not help, the engine is"
                " too slow for what is published there"
            )
        check_is_new(subscriber, topic.name)
        self._local.check_may_have_more(subscriber)
