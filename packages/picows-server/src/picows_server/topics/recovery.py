"""Connections that come back: what they have missed, from the history of a backplane."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Dict, List, MutableMapping, NamedTuple, Optional, Set, Tuple
from weakref import WeakKeyDictionary

from picows_codec import WSPreparedMessage, WSTransport
from picows_server.backplane.cancellation import end, within
from picows_server.backplane.interface import (
    Backplane,
    BackplaneError,
    HistoryRule,
    Position,
)
from picows_server.logs import Logger
from picows_server.slices import in_slices
from picows_server.topics.local import LocalTopics, Subscribed, check_is_new, wrapped
from picows_server.topics.membership import Key, Subscriber, Topic
from picows_server.topics.names import shown

__all__ = ["UNDELIVERABLE", "Recovery"]

# Bytes of live messages that wait while a history is being read.
_ARRIVED_BYTES = 16_777_216
# Seconds for which subscribe_from waits until the engine has confirmed the topic.
_CONFIRMATION_TIMEOUT = 10.0
UNDELIVERABLE = "topic %r: a message of the backplane cannot be delivered"


class _Arrived(NamedTuple):
    """A live message that waits until a subscriber has those before it."""

    position: Optional[Position]
    key: Key
    message: WSPreparedMessage


class _Question(NamedTuple):
    """What is asked of the engine."""

    topic: Topic
    since: Optional[Position]
    last: int
    rule: HistoryRule


class _Answer(NamedTuple):
    """What the engine has kept."""

    position: Position
    #: None: it is not what was asked for, and only the position is of use.
    messages: Optional[List[Tuple[Key, WSPreparedMessage]]]
    recovered: bool


class _Joining:
    """A connection that is being subscribed: it waits for a history.

    :param first: the first of the live messages that have arrived since it began to wait.
    """

    def __init__(self, first: int) -> None:
        self.first = first
        self.waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        #: It was unsubscribed meanwhile.
        self.is_given_up = False

    def wake(self) -> None:
        """There is an answer."""
        if not self.waiter.done():
            self.waiter.set_result(None)


class _Reading:
    """A history that is being read, for all connections that ask the same meanwhile.

    They are many when a process has been replaced, and its clients come back at once.
    """

    def __init__(self, question: _Question, task: asyncio.Task[_Answer]) -> None:
        self.question = question
        self.task = task
        #: The epoch of the live messages before it, "" if there were none.
        self.former_epoch = "" if question.topic.history is None else question.topic.history.epoch
        self.joining: Dict[WSTransport, _Joining] = {}
        self.arrived: List[_Arrived] = []
        self._size = 0
        #: More had arrived than may wait, and nothing waits any more.
        self.is_overfull = False
        self.has_gap = False
        self._traceback: Optional[TracebackType] = None
        task.add_done_callback(self._wake)

    def _wake(self, task: asyncio.Task[_Answer]) -> None:
        in_slices(task.get_loop(), self.joining.values(), _Joining.wake)

    def answer(self) -> _Answer:
        """Return what was read, or raise why it could not be, for each that has waited."""
        error = self.task.exception()
        if error is None:
            return self.task.result()
        # All get the same error. Its traceback is set again for each of them, because some versions
        # of Python would add the frames of all who have waited, and others would drop it after the
        # first.
        self._traceback = self._traceback or error.__traceback__
        raise error.with_traceback(self._traceback)

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
        self._readings: Dict[str, List[_Reading]] = {}
        # Those that whoever asks the same may still share.
        self._shared: Dict[_Question, _Reading] = {}
        # By topic: connections that got from the history what is still to arrive as live messages.
        self._ahead: Dict[str, MutableMapping[WSTransport, _Ahead]] = {}
        self.invalid = 0

    def is_reading(self, name: str) -> bool:
        """Whether the history of a topic is being read."""
        return name in self._readings

    def forget(self, name: str) -> None:
        """A topic has ended."""
        self._ahead.pop(name, None)

    # Live messages

    def delivers(
        self, topic: Topic, key: Key, message: WSPreparedMessage, position: Optional[Position]
    ) -> None:
        """Keep a live message for those whose history is being read."""
        for reading in self._readings.get(topic.name, ()):
            reading.take(_Arrived(position, key, message))

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
        for reading in self._readings.get(name, ()):
            reading.has_gap = True
            self._shared.pop(reading.question, None)
        for each in self._ahead.get(name, {}).values():
            # From now on another epoch is a newer one.
            each.former_epoch = each.former_epoch or each.position.epoch

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
        reading = self._reading_of(_Question(topic, since, last, rule), transport)
        joining = reading.joining[transport] = _Joining(len(reading.arrived))
        try:
            await joining.waiter
            return self._join(subscriber, reading, joining, reading.answer())
        finally:
            del reading.joining[transport]
            if not reading.joining:
                self._remove(reading)
                await end(reading.task)

    def _reading_of(self, question: _Question, transport: WSTransport) -> _Reading:
        """Return a reading that answers a question; begin it if there is none."""
        reading = self._shared.get(question)
        # One that has ended is not fresh any more, and others who come would keep it for long.
        if (
            reading is None
            or reading.task.done()
            or reading.is_overfull
            or transport in reading.joining
        ):
            task = asyncio.ensure_future(self._read(question))
            reading = self._shared[question] = _Reading(question, task)
            self._readings.setdefault(question.topic.name, []).append(reading)
        return reading

    def _remove(self, reading: _Reading) -> None:
        """Nobody waits for a reading any more."""
        name = reading.question.topic.name
        if self._shared.get(reading.question) is reading:
            del self._shared[reading.question]
        self._readings[name].remove(reading)
        if not self._readings[name]:
            del self._readings[name]
            topic = self._local.get(name)  # another one, if that of the reading was dropped
            if topic is not None and len(topic) == 0:
                self._local.rest(topic)

    def give_up(self, transport: WSTransport, name: str) -> bool:
        """Do not subscribe a connection whose history is being read; return whether it is.

        If it is subscribed again, it may begin before what it had.
        """
        self._ahead.get(name, {}).pop(transport, None)
        readings = self._readings.get(name, ())
        those = [each.joining[transport] for each in readings if transport in each.joining]
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
        if history is None or not history.epoch or topic.name in self._readings:
            return False
        if since is not None and since.epoch == history.epoch:
            return history.since(since) is not None
        return last <= len(history.kept)

    async def _read(self, question: _Question) -> _Answer:
        topic, since, last, rule = question
        await self.confirmed(topic.name)
        found = await self._backplane.history(topic.name, since, rule, min(last, rule.size))
        recovered = found.recovered and since is not None
        if not (recovered or last):
            return _Answer(found.position, None, False)
        messages: List[Tuple[Key, WSPreparedMessage]] = []
        for each in found.publications:
            try:
                message = WSPreparedMessage(each.opcode, each.payload)
                messages.append((each.key, wrapped(topic, message, each.position)))
            except Exception:  # as in Relay.received()
                self.invalid += 1
                self._logger.exception(UNDELIVERABLE, topic.name)
                recovered = False
        return _Answer(found.position, messages, recovered)

    def _join(
        self, subscriber: Subscriber, reading: _Reading, joining: _Joining, answer: _Answer
    ) -> Subscribed:
        topic = reading.question.topic
        self._check_is_possible(subscriber, reading)
        if answer.messages is None:
            messages, position = self._retained(topic, reading, joining, answer.position)
            recovered = False
        else:
            messages, position, recovered = self._completed(reading, joining, answer)
        self._begin(subscriber, topic, joining, messages, position)
        return Subscribed(position, recovered and not reading.has_gap)

    def _completed(
        self, reading: _Reading, joining: _Joining, answer: _Answer
    ) -> Tuple[List[Tuple[Key, WSPreparedMessage]], Position, bool]:
        """What the engine had, then what has come meanwhile."""
        position, recovered = answer.position, answer.recovered
        messages = list(answer.messages or ())
        last = reading.question.last
        most = max(len(messages), min(last, reading.question.rule.size))
        for number, arrived in enumerate(reading.arrived):
            if arrived.position is not None:
                if arrived.position.epoch == position.epoch:
                    if arrived.position.offset <= position.offset:
                        continue
                elif arrived.position.epoch == reading.former_epoch:
                    continue  # what was read replaces that whole epoch
                else:
                    recovered = False
                position = arrived.position
            messages.append((arrived.key, arrived.message))
            if number >= joining.first:
                most += 1
        if last and not answer.recovered:
            del messages[:-most]  # what came before it asked for the last ones
        return messages, position, recovered

    def _retained(
        self, topic: Topic, reading: _Reading, joining: _Joining, position: Position
    ) -> Tuple[List[Tuple[Key, WSPreparedMessage]], Position]:
        """What is retained, which has what has come meanwhile."""
        messages = list(topic.retained.items())
        for arrived in reading.arrived:
            position = arrived.position or position
        if not topic.rule.retain:
            messages += [(each.key, each.message) for each in reading.arrived[joining.first :]]
        elif topic.history is not None and topic.history.epoch:
            # What the engine has more is still to arrive, and newer than what is retained here.
            position = topic.history.position
        return messages, position

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

    def _check_is_possible(self, subscriber: Subscriber, reading: _Reading) -> None:
        """Refuse what has become impossible while the history was read."""
        topic = reading.question.topic
        if self._local.get(topic.name) is not topic:
            raise BackplaneError(f"topic {shown(topic.name)} was dropped meanwhile, see max_topics")
        if reading.is_overfull:
            raise BackplaneError(
                f"more than {_ARRIVED_BYTES} bytes of topic {shown(topic.name)} have arrived while"
                " its history was read: subscribe again later; if that does not help, the engine is"
                " too slow for what is published there"
            )
        check_is_new(subscriber, topic.name)
        self._local.check_may_have_more(subscriber)
