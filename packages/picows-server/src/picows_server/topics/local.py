"""Topics of one process: who is subscribed, who gets what, what is kept."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Callable, Deque, Dict, List, NamedTuple, Optional, Protocol, Sequence, Tuple

from picows_codec import WSPreparedMessage, WSState, WSTransport
from picows_codec.fan_out import FanOut
from picows_server.backplane.interface import HistoryRule, Position
from picows_server.logs import Logger
from picows_server.topics.history import Histories, TopicHistory
from picows_server.topics.membership import Excluded, Key, Subscriber, Topic
from picows_server.topics.names import WSTopicError, checked_name, shown
from picows_server.topics.retention import Retention
from picows_server.topics.rules import Rule, Rules
from picows_server.topics.stats import SubscriberStats, TopicsStats

__all__ = ["Engine", "Limits", "LocalTopics", "Subscribed", "check_is_new", "wrapped"]

# Names of topics whose rule is remembered.
_RULES_KNOWN = 100_000
# Topic, message, key, who does not get it, where an engine has put it.
_Published = Tuple[str, WSPreparedMessage, Key, Excluded, Optional[Position]]


class Subscribed(NamedTuple):
    """What ``subscribe_from`` returns.

    ``position`` is that of the last message that the topic had when its live messages began.
    ``recovered``: whether everything since the position that was asked for was sent; if not, the
    client needs a snapshot.
    """

    #: Of the last message that the topic had when its live messages began.
    position: Position
    #: Whether everything since the position that was asked for was sent.
    recovered: bool


@dataclass(frozen=True)
class Limits:
    """How much there may be of everything; None: any number."""

    topic_length: Optional[int]
    topics: Optional[int]
    topics_per_connection: Optional[int]
    retained_bytes: Optional[int]
    history_bytes: Optional[int]


class Engine(Protocol):
    """What the topics of a process know of those who bring messages from others."""

    def began(self, topic: Topic) -> None:
        """There is a topic that there was not."""

    def changed(self, topic: Topic) -> None:
        """The rule about its history is another one."""

    def rests(self, topic: Topic) -> None:
        """A topic has no subscribers any more."""

    def ended(self, topic: Topic) -> None:
        """A topic was dropped."""

    def delivers(
        self, topic: Topic, key: Key, message: WSPreparedMessage, position: Optional[Position]
    ) -> None:
        """Subscribers get a message now, in its envelope; told if the topic's rule is not plain."""


class LocalTopics:
    """The topics of one process, on one thread.

    Topics without subscribers stay while something is kept of them; with an ``engine``, until that
    forgets them. Positions then come from the engine.
    """

    engine: Optional[Engine] = None

    def __init__(self, limits: Limits, logger: Logger) -> None:
        self.limits = limits
        self._logger = logger
        self.rules = Rules()
        self._rules_known: Dict[str, Rule] = {}
        self.fan_out = FanOut()
        self.histories = Histories(limits.history_bytes)
        self._retention = Retention(limits.retained_bytes)
        self._topics: Dict[str, Topic] = {}
        #: The topic of a name, if it has subscribers or something is kept of it. No method, which
        #: would be another call per message.
        self.get: Callable[[str], Optional[Topic]] = self._topics.get
        # Topics without subscribers, of which something is kept: the one idle for longest first.
        self._idle: OrderedDict[str, Topic] = OrderedDict()
        self._subscribers: Dict[WSTransport, Subscriber] = {}
        # What was published in the middle of a delivery, for example by a tap.
        self._later: Deque[_Published] = deque()
        self._publishes_later_ones = False
        self._subscriptions = 0
        self._topics_evicted = 0

    # Publishing

    def publish(
        self,
        name: str,
        message: WSPreparedMessage,
        key: Key,
        excluded: Excluded,
        position: Optional[Position] = None,
    ) -> int:
        """Keep a message if the rule says so, and deliver it.

        :param position: from the engine.
        """
        if self.fan_out.is_under_way():
            checked_name(name, self.limits.topic_length)
            self._later.append((name, message, key, excluded, position))
            return 0
        topic = self._topics.get(name)
        if topic is None:
            topic = self._begun(name)
            if topic is None:
                return 0
        if not topic.rule.is_plain:
            try:
                with self.fan_out:  # what an envelope publishes follows this message
                    message = self._kept(topic, key, message, position)
            except BaseException:
                self._drop_if_empty(name)
                self.publish_later_ones()
                raise
        topic.rule.published += 1
        topic.outdate(key, excluded)
        count = self.fan_out.deliver(topic, message, key, excluded)
        topic.rule.delivered += count
        if self._later:
            self.publish_later_ones()
        return count

    def publish_later_ones(self) -> None:
        """Publish what had to wait for the end of a delivery."""
        if self._publishes_later_ones:
            return  # the loop that called this publishes them; nested loops could be too deep
        self._publishes_later_ones = True
        try:
            while self._later and not self.fan_out.is_under_way():
                later = self._later.popleft()
                try:
                    self.publish(*later)
                except Exception:  # its envelope's, whose publisher has returned long ago
                    self._logger.exception("topic %r: a message cannot be delivered", later[0])
        finally:
            self._publishes_later_ones = False

    def _begun(self, name: str) -> Optional[Topic]:
        """Begin a topic without subscribers, if something is kept of it."""
        rule = self.rule_of(name)
        if self.engine is not None:
            return None  # it has been forgotten meanwhile
        if rule.keeps and self._has_room():
            topic = self._idle[name] = self._new(name, rule)
            return topic
        if rule.keeps:
            self._topics_evicted += 1
        rule.published += 1
        return None

    def rule_of(self, name: str) -> Rule:
        """The rule of a topic that need not be there.

        Called per publish if nobody is subscribed here.

        :raises WSTopicError: the name cannot be a topic's.
        """
        # Another dict takes its place when rules change, perhaps on another thread.
        known = self._rules_known
        rule = known.get(name)
        if rule is None:
            checked_name(name, self.limits.topic_length)
            if len(known) >= _RULES_KNOWN:
                known.clear()
            rule = known[name] = self.rules.of(name)
        return rule

    def _kept(
        self, topic: Topic, key: Key, message: WSPreparedMessage, position: Optional[Position]
    ) -> WSPreparedMessage:
        """Keep a message as its rule says; return what subscribers get."""
        rule, history = topic.rule, topic.history
        if self.engine is None and history is not None:
            position = Position(history.offset + 1, history.epoch)
        message = wrapped(topic, message, position)
        if self.engine is not None:
            self.engine.delivers(topic, key, message, position)
        if rule.envelope is not None:
            # It may have ended the topic or its history: nothing would drop what is kept then.
            if self._topics.get(topic.name) is not topic or topic.history is not history:
                return message
            rule = topic.rule
        if history is not None and rule.history is not None and position is not None:
            if position != (history.offset + 1, history.epoch):  # only an engine skips some
                self.histories.clear(history)
            history.offset, history.epoch = position
            self.histories.keep(history, rule.history, key, message)
        if rule.retain:
            for name in self._retention.keep(topic.retained, key, message):
                self._drop_if_empty(name)
        if topic.name in self._idle:
            self._idle.move_to_end(topic.name)
        return message

    # Subscribing

    def subscribe(self, transport: WSTransport, name: str) -> bool:
        """Subscribe a connection and send what is retained; return whether it is subscribed."""
        subscriber = self.subscriber(transport, name)
        if subscriber is None:
            return False
        if name not in subscriber.topics:
            with self.fan_out:
                topic = self.topic_for(subscriber, name)
                self._add(subscriber, topic)
                self._send_first(subscriber, topic, list(topic.retained.items()), topic.spares)
            self.publish_later_ones()
        return True

    def subscribe_since(
        self, transport: WSTransport, name: str, since: Optional[Position], last: int
    ) -> Subscribed:
        """Subscribe a connection and send what it has missed."""
        subscriber = self.subscriber(transport, name)
        rule = self.history_rule(name)
        if subscriber is None:
            known = self._topics.get(name)
            history = None if known is None else known.history
            return Subscribed((history or self.histories.new()).position, False)
        check_is_new(subscriber, name)
        with self.fan_out:
            topic = self.topic_for(subscriber, name)
            history = topic.history or self._new_history()
            position = history.position  # pause_writing may publish
            self.histories.expire(history, rule)
            missed = None if since is None else history.since(since)
            first = history.last(last) if missed is None else missed
            self._add(subscriber, topic)
            if missed is None and not last:
                self._send_first(subscriber, topic, list(topic.retained.items()), topic.spares)
            else:
                messages = [(each.key, each.message) for each in first]
                self._send_first(subscriber, topic, messages, False)
        self.publish_later_ones()
        return Subscribed(position, missed is not None)

    def subscribe_after(
        self,
        subscriber: Subscriber,
        topic: Topic,
        messages: Sequence[Tuple[Key, WSPreparedMessage]],
    ) -> None:
        """Subscribe a connection and send messages that an engine has kept."""
        with self.fan_out:
            self._add(subscriber, topic)
            self._send_first(subscriber, topic, messages, False)
        self.publish_later_ones()

    def history_rule(self, name: str) -> HistoryRule:
        """How much is kept of a topic with history."""
        rule = self.rules.of(name)
        if rule.history is None:
            raise WSTopicError(
                f"topic {shown(name)} has no history: call"
                f" configure({rule.prefix or name!r}, history=1000) before somebody subscribes"
            )
        return rule.history

    def _send_first(
        self,
        subscriber: Subscriber,
        topic: Topic,
        messages: Sequence[Tuple[Key, WSPreparedMessage]],
        spares: bool,
    ) -> None:
        """Send what comes before live messages, which wait for it.

        The connection is subscribed already, so that the topic stays whatever a tap or a finalizer
        does meanwhile.
        """
        if not messages:
            return
        sent = subscriber.send([message for _, message in messages], spares)
        topic.rule.delivered += sent
        if sent == len(messages):
            return
        if not subscriber.is_open:
            topic.count_lost(subscriber)
            return
        for key, message in messages[sent:]:
            if subscriber in topic:
                subscriber.leave_out(topic, key, message)

    def subscriber(self, transport: WSTransport, name: str) -> Optional[Subscriber]:
        """The subscriber of a connection; None if that is not open."""
        self.fan_out.is_under_way()
        checked_name(name, self.limits.topic_length)
        subscriber = self._subscribers.get(transport)
        if subscriber is not None:
            return subscriber if subscriber.is_open else None
        if transport.state is not WSState.OPEN:
            return None
        subscriber = Subscriber(transport, self)
        subscriber.follow()
        self._subscribers[transport] = subscriber
        return subscriber

    def topic_for(self, subscriber: Subscriber, name: str) -> Topic:
        """The topic that a connection is about to be subscribed to, if the limits allow it."""
        self.check_may_have_more(subscriber)
        topic = self._topics.get(name)
        if topic is None:
            if not self._has_room():
                raise WSTopicError(
                    f"there are {len(self._topics)} topics with subscribers, and max_topics is"
                    f" {self.limits.topics}: use fewer names, or raise the limit"
                )
            topic = self._new(name, self.rules.of(name))
        return topic

    def check_may_have_more(self, subscriber: Subscriber) -> None:
        """Refuse another topic to a connection that has as many as it may have."""
        limit = self.limits.topics_per_connection
        if limit is not None and len(subscriber.topics) >= limit:
            raise WSTopicError(
                f"the connection is subscribed to {len(subscriber.topics)} topics, and"
                f" max_topics_per_connection is {limit}: unsubscribe it from others, or raise the"
                " limit"
            )

    def _add(self, subscriber: Subscriber, topic: Topic) -> None:
        self._idle.pop(topic.name, None)
        topic.add(subscriber)
        subscriber.topics[topic.name] = topic
        self._subscriptions += 1

    def unsubscribe(self, transport: WSTransport, name: str) -> bool:
        """Unsubscribe a connection; return whether it was subscribed."""
        self.fan_out.is_under_way()
        checked_name(name, self.limits.topic_length)
        subscriber = self._subscribers.get(transport)
        topic = None if subscriber is None else subscriber.topics.pop(name, None)
        if subscriber is None or topic is None:
            return False
        subscriber.forget(topic)
        self._remove(subscriber, topic)
        return True

    def subscriber_ended(self, subscriber: Subscriber) -> None:
        """Unsubscribe a connection that has ended from everything."""
        del self._subscribers[subscriber.transport]
        for topic in subscriber.topics.values():
            self._remove(subscriber, topic)
        subscriber.topics = {}

    def _remove(self, subscriber: Subscriber, topic: Topic) -> None:
        topic.discard(subscriber)
        topic.discard_behind(subscriber)
        self._subscriptions -= 1
        if len(topic) == 0:
            self.rest(topic)

    # Topics

    def _has_room(self) -> bool:
        """Whether there may be another topic; the one idle for longest makes room."""
        if self.limits.topics is None or len(self._topics) < self.limits.topics:
            return True
        if not self._idle:
            return False
        self.forget_topic(next(iter(self._idle.values())))
        self._topics_evicted += 1
        return True

    def _new(self, name: str, rule: Rule) -> Topic:
        topic = Topic(name, rule)
        if rule.history is not None:
            topic.history = self._new_history()
        if self.engine is not None:
            self.engine.began(topic)
        self._topics[name] = topic
        return topic

    def _new_history(self) -> TopicHistory:
        return self.histories.new() if self.engine is None else TopicHistory("")

    def rest(self, topic: Topic) -> None:
        """A topic has no subscribers."""
        if self.engine is not None:
            self._idle[topic.name] = topic
            self.engine.rests(topic)
        elif topic.is_kept:
            self._idle[topic.name] = topic
        else:
            self.forget_topic(topic)

    def forget_topic(self, topic: Topic) -> None:
        """Drop a topic without subscribers, and what is kept of it."""
        self.forget_messages(topic)
        if topic.history is not None:
            self.histories.end(topic.history)
        self._idle.pop(topic.name, None)
        del self._topics[topic.name]
        if self.engine is not None:
            self.engine.ended(topic)

    def _drop_if_empty(self, name: str) -> None:
        """Drop a topic of which there is nothing any more: no subscriber, and no message."""
        topic = self._topics.get(name)
        if self.engine is None and topic is not None and not len(topic) and not topic.is_kept:
            self.forget_topic(topic)

    def forget_messages(self, topic: Topic) -> None:
        """Drop what is kept of a topic, because it is not what others have."""
        self._retention.forget_all(topic.retained)
        if topic.history is not None:
            self.histories.clear(topic.history)

    def forget(self, name: str, key: Key) -> bool:
        """Drop a retained message; return whether there was one."""
        self.fan_out.is_under_way()
        checked_name(name, self.limits.topic_length)
        topic = self._topics.get(name)
        if topic is None or not self._retention.forget(topic.retained, key):
            return False
        self._drop_if_empty(name)
        return True

    def configure(self, rule: Rule) -> None:
        """Have a rule count from now on, also for topics that are there."""
        if self._topics:
            self.fan_out.is_under_way()  # on this thread?
        if rule.prefix.endswith("*"):
            self._logger.warning(
                "configure(%r): this is a prefix, and its * no wildcard: write %r for all topics"
                " that begin so",
                rule.prefix,
                rule.prefix.rstrip("*"),
            )
        self.rules.set(rule)
        self._rules_known = {}
        for topic in list(self._topics.values()):
            rule = self.rules.of(topic.name)
            former = topic.rule
            if rule is former:
                continue
            topic.obey(rule)
            if not rule.retain:
                self._retention.forget_all(topic.retained)
            if topic.history is None and rule.history is not None:
                topic.history = self._new_history()
            elif topic.history is not None and rule.history is None:
                self.histories.end(topic.history)
                topic.history = None
            if self.engine is not None and rule.history != former.history:
                self.engine.changed(topic)
            if self.engine is None and len(topic) == 0:
                self.rest(topic)

    # Who and what there is

    def names_of_all(self) -> List[str]:
        """The names of all topics that there are."""
        return list(self._topics)

    def transports(self, name: str) -> List[WSTransport]:
        """The connections that are subscribed."""
        self.fan_out.is_under_way()
        checked_name(name, self.limits.topic_length)
        topic = self._topics.get(name)
        return [] if topic is None else [recipient.transport for recipient in topic]

    def names(self, transport: WSTransport) -> List[str]:
        """The topics of a connection."""
        self.fan_out.is_under_way()
        subscriber = self._subscribers.get(transport)
        return [] if subscriber is None else list(subscriber.topics)

    def stats_of(self, transport: WSTransport) -> SubscriberStats:
        """What a connection has."""
        subscriber = self._subscribers.get(transport)
        return SubscriberStats() if subscriber is None else subscriber.stats()

    def stats(self) -> TopicsStats:
        """Totals, and what there is."""
        return TopicsStats(
            topics=len(self._topics),
            connections=len(self._subscribers),
            subscriptions=self._subscriptions,
            retained=len(self._retention),
            retained_bytes=self._retention.size,
            retained_evicted=self._retention.evicted,
            history=len(self.histories),
            history_bytes=self.histories.size,
            history_evicted=self.histories.evicted,
            topics_evicted=self._topics_evicted,
            rules=self.rules.stats(),
        )


def check_is_new(subscriber: Subscriber, name: str) -> None:
    """Refuse what would send messages again to a connection that has them."""
    if name in subscriber.topics:
        raise WSTopicError(
            f"the connection is subscribed to {shown(name)} already: unsubscribe it first"
        )


def wrapped(
    topic: Topic, message: WSPreparedMessage, position: Optional[Position]
) -> WSPreparedMessage:
    """A message in its envelope."""
    envelope = topic.rule.envelope
    if envelope is None:
        return message
    return WSPreparedMessage(message.opcode, envelope(topic.name, message.payload, position))
