"""Topics and their subscribers, and what a subscriber is spared or waits for."""

from __future__ import annotations

from typing import Dict, List, Optional, Protocol, Set, Tuple, Union

from picows_codec import WSDisconnectKind, WSPreparedMessage, WSTransport
from picows_codec.fan_out import Audience, FanOut, Recipient
from picows_server.topics.history import TopicHistory
from picows_server.topics.retention import Retained
from picows_server.topics.rules import Rule
from picows_server.topics.stats import SubscriberStats

__all__ = ["Excluded", "Hub", "Key", "Subscriber", "Topic"]

# Bytes that a waiting message counts beside its payload, which all subscribers share.
_OVERHEAD = 200

#: What tells the messages of a topic apart that do not replace each other.
Key = Optional[str]
#: Who does not get a message.
Excluded = Union[WSTransport, Set[WSTransport], None]


class Topic(Audience):
    """The subscribers of a name, the rule that counts for it, and what is kept of it."""

    __slots__ = ("_behind", "history", "name", "retained", "rule")

    def __init__(self, name: str, rule: Rule) -> None:
        self.name = name
        # Subscribers for whom messages wait under "latest"; None: nobody.
        self._behind: Optional[Set[Subscriber]] = None
        self.retained = Retained(name)
        self.history: Optional[TopicHistory] = None
        self.obey(rule)

    def obey(self, rule: Rule) -> None:
        """From now on this rule counts."""
        self.rule = rule
        self.spares = rule.when_slow != "disconnect"

    @property
    def is_kept(self) -> bool:
        """Whether something of it stays without subscribers."""
        return bool(self.retained) or self.history is not None

    def missed(
        self,
        message: WSPreparedMessage,
        key: Key,
        left_out: List[Subscriber],
        lost: List[Subscriber],
    ) -> None:
        """Do what the rule says with those that have not taken a message."""
        for recipient in left_out:
            if recipient in self:  # a tap or a finalizer may have removed it meanwhile
                recipient.leave_out(self, key, message)
        for recipient in lost:
            self.count_lost(recipient)

    def add_behind(self, subscriber: Subscriber) -> None:
        """A message waits for a subscriber."""
        if self._behind is None:
            self._behind = set()
        self._behind.add(subscriber)

    def has_behind(self, subscriber: Subscriber) -> bool:
        """Whether a message may wait for a subscriber under "latest"."""
        return self._behind is not None and subscriber in self._behind

    def discard_behind(self, subscriber: Subscriber) -> None:
        """No message waits for a subscriber any more."""
        if self._behind is not None:
            self._behind.discard(subscriber)
            if not self._behind:
                self._behind = None

    def outdate(self, key: Key, excluded: Excluded) -> None:
        """Drop what waits for those who get a newer message with this key at once.

        They do in their ``resume_writing``, and if another rule has come that lets nobody wait.
        """
        if self._behind is None:
            return
        spared = excluded if isinstance(excluded, set) else {excluded}
        for subscriber in list(self._behind):
            is_spared = self.spares and subscriber.is_paused
            if not is_spared and subscriber.transport not in spared:
                subscriber.outdate(self, key)

    def count_lost(self, recipient: Recipient) -> None:
        """Count a connection that has ended because of a message, if it did not read."""
        cause = recipient.transport.disconnect_cause
        if cause is not None and cause.kind is WSDisconnectKind.SLOW_CONSUMER:
            self.rule.disconnected += 1


_Waiting = Tuple[Topic, Key, WSPreparedMessage]


class Hub(Protocol):
    """What subscribers know of those who have them."""

    fan_out: FanOut

    def subscriber_ended(self, subscriber: Subscriber) -> None:
        """Its connection has ended."""

    def publish_later_ones(self) -> None:
        """Messages that had waited were sent, and what was published meanwhile may follow."""


class Subscriber(Recipient):
    """A connection that has subscribed to something: its topics, and what waits for it.

    Under ``"latest"`` a message waits while the write queue is beyond its watermark. Under every
    rule it waits until a fragmented message that is being sent is complete (RFC 6455, 5.4).
    """

    __slots__ = (
        "_blocked",
        "_hub",
        "_latest",
        "_waiting_size",
        "dropped",
        "replaced",
        "topics",
    )

    def __init__(self, transport: WSTransport, hub: Hub) -> None:
        self._hub = hub
        self.topics: Dict[str, Topic] = {}
        # What waits for the write queue, by topic and key, in the order of their first messages.
        self._latest: Dict[object, _Waiting] = {}
        # What waits for the end of a message, in order; that of "latest" by topic and key.
        self._blocked: Dict[object, _Waiting] = {}
        self._waiting_size = 0
        self.dropped = 0
        self.replaced = 0

    def stats(self) -> SubscriberStats:
        """What it has, and what was done so far."""
        return SubscriberStats(
            topics=len(self.topics),
            waiting=len(self._latest) + len(self._blocked),
            waiting_bytes=self._waiting_size,
            dropped=self.dropped,
            replaced=self.replaced,
        )

    # What is not sent at once

    def leave_out(self, topic: Topic, key: Key, message: WSPreparedMessage) -> None:
        """A message cannot be sent now, or its topic's rule spares the connection."""
        if not self.is_open:
            return  # one before it has found no room
        is_latest = topic.rule.when_slow == "latest"
        name: object = (topic.name, key) if is_latest else object()
        if self.is_blocked:
            if topic.rule.when_slow == "drop" and self._size_with(message) > self.watermark:
                self._drop(topic)
            elif self._wait(self._blocked, name, topic, key, message):
                self.hold()
        elif is_latest:
            if self._wait(self._latest, name, topic, key, message):
                topic.add_behind(self)
        else:
            self._drop(topic)

    def _drop(self, topic: Topic) -> None:
        topic.rule.dropped += 1
        self.dropped += 1

    def _size_with(self, message: WSPreparedMessage) -> int:
        return self._waiting_size + message.payload_size + _OVERHEAD

    def _wait(
        self,
        line: Dict[object, _Waiting],
        name: object,
        topic: Topic,
        key: Key,
        message: WSPreparedMessage,
    ) -> bool:
        """Have a message wait, in the place of the one with the same name; return whether it does.

        It does not if too much waits: then the connection ends.
        """
        former = line.get(name)
        if former is not None:
            self._waiting_size -= former[2].payload_size + _OVERHEAD
            topic.rule.replaced += 1
            self.replaced += 1
        if self._size_with(message) + self.queue_size > self.most_queued:
            topic.rule.disconnected += 1
            self.end_as_slow(
                self._size_with(message),
                f"max_write_queue_size is {self.most_queued}: publish less to it, use fewer keys,"
                " or raise the limit",
            )
            self._forget_waiting()
            return False
        line[name] = topic, key, message
        self._waiting_size += message.payload_size + _OVERHEAD
        return True

    def _forget_waiting(self) -> None:
        self._latest = {}
        self._blocked = {}
        self._waiting_size = 0

    def outdate(self, topic: Topic, key: Key) -> None:
        """A newer message of a topic and key is sent before the one that waits."""
        waiting = self._latest.pop((topic.name, key), None)
        if waiting is not None:
            self._waiting_size -= waiting[2].payload_size + _OVERHEAD
            topic.rule.replaced += 1
            self.replaced += 1
        if not self._latest:
            topic.discard_behind(self)

    def forget(self, topic: Topic) -> None:
        """Nothing of a topic is to be sent any more."""
        # Peers unsubscribe as often as they like: look through many messages only if it may help.
        lines = (self._latest, self._blocked) if topic.has_behind(self) else (self._blocked,)
        for line in lines:
            for name in [name for name, waiting in line.items() if waiting[0] is topic]:
                self._waiting_size -= line.pop(name)[2].payload_size + _OVERHEAD

    # What comes after it

    def ended(self) -> None:
        """The connection has ended."""
        self._forget_waiting()
        self._hub.subscriber_ended(self)

    def may_send(self) -> None:
        """Send what has waited, as far as the write queue's watermark and its cap allow."""
        if not (self._latest or self._blocked) or not self.is_open:
            return
        if self.is_blocked:
            self.hold()
            return
        with self._hub.fan_out:
            self._send_latest()
            self._send_blocked()
        self._hub.publish_later_ones()

    def _send_latest(self) -> None:
        waiting = list(self._latest.items())
        sent = self.send([message for _, (_, _, message) in waiting], True)
        for name, (topic, _, message) in waiting[:sent]:
            topic.rule.delivered += 1
            if self._latest.pop(name, None) is not None:  # a tap or a finalizer may forget() it
                self._waiting_size -= message.payload_size + _OVERHEAD
        if sent < len(waiting) and not self.is_open:
            waiting[sent][1][0].count_lost(self)
        if not self._latest:
            for _, (topic, _, _) in waiting:
                topic.discard_behind(self)

    def _send_blocked(self) -> None:
        waiting = list(self._blocked.values())
        self._blocked = {}
        for topic, key, message in waiting:
            if not self.is_open:
                self._forget_waiting()
                return
            self._waiting_size -= message.payload_size + _OVERHEAD
            if self not in topic:
                continue
            if topic.spares and self.is_paused:
                self.leave_out(topic, key, message)
            elif self.send([message], False):
                topic.rule.delivered += 1
            else:
                topic.count_lost(self)
