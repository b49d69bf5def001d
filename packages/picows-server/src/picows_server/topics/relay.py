"""Topics over a backplane: what goes to the engine, and what comes from it."""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from contextlib import suppress
from typing import (
    Any,
    Callable,
    Dict,
    List,
    MutableMapping,
    NamedTuple,
    Optional,
    Sequence,
    Set,
    Tuple,
)
from weakref import WeakKeyDictionary, ref

from picows_codec import WSPreparedMessage, WSStateError, WSTransport
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
from picows_server.topics.membership import Excluded, Key, Subscriber, Topic
from picows_server.topics.names import shown

__all__ = ["OnGap", "Relay"]

#: Called with the topics of which messages were lost, or may have been.
OnGap = Callable[[List[str]], object]

# Messages of this process on their way through the engine of which it is known whom they exclude;
# more than a backplane's buffer has.
_MOST_ON_THEIR_WAY = 131_072
# The token of messages that the subscribers of this process have already.
_ECHOED = 0
# Seconds for which subscribe_from waits until the engine has confirmed the topic.
_CONFIRMATION_TIMEOUT = 10.0
# Bytes of live messages that wait for a connection whose history is being read.
_ARRIVED_BYTES = 16_777_216
_UNDELIVERABLE = "topic %r: a message of the backplane cannot be delivered"


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


def _nobody() -> None:
    """Whom a message excludes that was published elsewhere, or excludes nobody."""


class Relay:
    """The receiver of a backplane. A topic that there is here is subscribed to at the engine.

    :param grace: seconds for which a topic without subscribers stays so.
    """

    def __init__(
        self,
        local: LocalTopics,
        backplane: Backplane,
        *,
        local_echo: bool,
        on_gap: Optional[OnGap],
        grace: float,
        logger: Logger,
    ) -> None:
        self.backplane = backplane
        self._local = local
        self._local_echo = local_echo
        self._on_gap = on_gap
        self._grace = grace
        self._logger = logger
        self._loop: Any = None
        self._is_started = self._is_closed = False
        #: Whether it was started, and is not closed.
        self.is_running = False
        self._numbers = itertools.count(1)
        # Whom those exclude that were published here and will come back, by their tokens.
        self._on_their_way: OrderedDict[Optional[int], Callable[[], Optional[WSTransport]]] = (
            OrderedDict()
        )
        self._joining: Dict[str, List[_Joining]] = {}
        # By topic: connections that got from the history what is still to arrive as live messages.
        self._ahead: Dict[str, MutableMapping[WSTransport, _Ahead]] = {}
        # Topics without subscribers, and when they end.
        self._resting: OrderedDict[str, float] = OrderedDict()
        self._timer: Optional[asyncio.TimerHandle] = None
        self._changes: Set[asyncio.Task[None]] = set()
        self.received_count = 0
        self.gaps = 0
        self.invalid = 0

    async def start(self) -> None:
        """Connect to the engine."""
        if self._is_closed:
            raise WSStateError("these topics are closed; make new ones")
        if self._loop is not None:
            raise WSStateError("these topics have been started already")
        self._loop = asyncio.get_running_loop()
        try:
            await self.backplane.start(self)
        except BaseException:
            self._loop = None
            raise
        self._is_started = True
        self.is_running = not self._is_closed

    async def close(self) -> None:
        """Disconnect from the engine, when it has what was published."""
        self._is_closed = True
        self.is_running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self.backplane.close()
        for task in self._changes:
            task.cancel()

    def check_is_running(self) -> None:
        """Refuse what nobody would ever deliver."""
        if self._is_closed:
            raise WSStateError("these topics are closed")
        if not self._is_started:
            raise WSStateError("start the topics first: async with topics: ..., or await start()")

    # To the engine

    def publish(
        self, name: str, message: WSPreparedMessage, key: Key, excluded: Optional[WSTransport]
    ) -> int:
        """Send a message to all processes; return how many connections of this one have it."""
        local = self._local
        local.fan_out.is_under_way()  # on this thread?
        if not self.is_running:
            self.check_is_running()
        topic = local.get(name)
        history = (local.rule_of(name) if topic is None else topic.rule).history
        is_echoed = self._local_echo and history is None
        token = None
        if topic is not None and is_echoed:
            token = _ECHOED
        elif topic is not None and excluded is not None:
            token = next(self._numbers)
            self._on_their_way[token] = ref(excluded)
            if len(self._on_their_way) > _MOST_ON_THEIR_WAY:
                self._on_their_way.popitem(last=False)
        try:
            self.backplane.publish(
                name,
                message.payload,
                message.wire_opcode,
                key=key,
                history=history,
                token=token,
            )
        except BaseException:
            self._on_their_way.pop(token, None)
            raise
        if not is_echoed:
            return 0
        return local.publish(name, message, key, excluded)

    def began(self, topic: Topic) -> None:
        """Subscribe at the engine."""
        self.check_is_running()
        self.backplane.subscribe(topic.name, topic.rule.history)

    def changed(self, topic: Topic) -> None:
        """Subscribe anew, and tell that messages may be lost between the two."""
        if self._is_closed:
            return
        self.backplane.unsubscribe(topic.name)
        self.backplane.subscribe(topic.name, topic.rule.history)
        task = self._loop.create_task(self._tell_of_change(topic.name))
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)

    async def _tell_of_change(self, name: str) -> None:
        with suppress(BackplaneError):
            await self.backplane.subscribed(name)
            self.gap([name], "the rule about its history was changed")

    def rests(self, topic: Topic) -> None:
        """Stay subscribed for a while, because subscribers come and go."""
        self._resting[topic.name] = self._loop.time() + self._grace
        self._resting.move_to_end(topic.name)
        if self._timer is None and not self._is_closed:
            self._timer = self._loop.call_later(self._grace, self._end_resting)

    def _end_resting(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._resting:
            name, due = next(iter(self._resting.items()))
            topic = self._local.get(name)
            if topic is not None and len(topic) == 0:
                if due > now:
                    self._timer = self._loop.call_at(due, self._end_resting)
                    return
                if name not in self._joining:
                    self._local.forget_topic(topic)
            self._resting.pop(name, None)

    def ended(self, topic: Topic) -> None:
        """Unsubscribe at the engine."""
        self._resting.pop(topic.name, None)
        self._ahead.pop(topic.name, None)
        if not self._is_closed:
            self.backplane.unsubscribe(topic.name)

    # From the engine

    def received(self, publication: Publication) -> None:
        """Deliver a message."""
        self.received_count += 1
        name, payload, opcode, key, position, token = publication
        excluded_one = None if token is None else self._on_their_way.pop(token, _nobody)()
        topic = self._local.get(name)
        if topic is None or token == _ECHOED:
            return
        excluded: Excluded = excluded_one
        if position is not None:
            history = topic.history
            if (
                history is not None
                and position.epoch == history.epoch
                and position.offset <= history.offset
            ):
                return  # everybody has it
            if name in self._ahead:
                those = self._those_ahead(name, position)
                if excluded_one is not None:
                    those.add(excluded_one)
                excluded = those
        try:
            message = WSPreparedMessage(opcode, payload)
            self._local.publish(name, message, key, excluded, position)
        except Exception:  # of an envelope, or TEXT of another program that is not UTF-8
            self.invalid += 1
            self._logger.exception(_UNDELIVERABLE, name)

    def delivers(
        self, topic: Topic, key: Key, message: WSPreparedMessage, position: Optional[Position]
    ) -> None:
        """Keep a message for those whose history is being read."""
        for joining in self._joining.get(topic.name, ()):
            joining.take(_Arrived(position, key, message))

    def _those_ahead(self, name: str, position: Position) -> Set[WSTransport]:
        """The connections that have the message at a position."""
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

    def gap(self, topics: Optional[Sequence[str]], cause: str) -> None:
        """Messages are lost, or may be: drop what is kept, and tell the application."""
        if topics is None:
            topics = [
                name
                for name in self._local.names_of_all()
                if self._local.rules.of(name).history is None
            ]
        concerned = [name for name in topics if self._has_gap(name)]
        if not concerned:
            return
        self.gaps += len(concerned)
        self._logger.warning(
            "messages of %d topics may be lost, %r among them: %s",
            len(concerned),
            concerned[0],
            cause,
        )
        if self._on_gap is None:
            return
        try:
            self._on_gap(concerned)
        except Exception:
            self._logger.exception("on_gap raised an exception")

    def _has_gap(self, name: str) -> bool:
        """Forget what is kept of a topic; return whether somebody has to know."""
        topic = self._local.get(name)
        if topic is None:
            return False
        self._local.forget_messages(topic)
        if topic.history is not None:
            topic.history.epoch = ""
        for joining in self._joining.get(name, ()):
            joining.has_gap = True
        ahead = self._ahead.get(name, {})
        for transport, each in list(ahead.items()):
            if not each.former_epoch:
                del ahead[transport]
        return len(topic) > 0 or name in self._joining

    def local_count(self, topic: str) -> int:
        """How many connections of this process are subscribed."""
        found = self._local.get(topic)
        return 0 if found is None else len(found)

    def connected(self, is_connected: bool, cause: str) -> None:
        """Log that the engine is there, or not."""
        if is_connected:
            self._logger.info("the backplane is connected: %s", cause)
        else:
            self._logger.warning("the backplane is not connected: %s", cause)

    # History

    async def subscribe_from(
        self, transport: WSTransport, name: str, since: Optional[Position], last: int
    ) -> Subscribed:
        """Subscribe a connection and send what it has missed."""
        self.check_is_running()
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
        self.check_is_running()
        try:
            await within(_CONFIRMATION_TIMEOUT, self.backplane.subscribed(name))
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
        found = await self.backplane.history(name, since, rule)
        recovered = found.recovered and since is not None
        if not recovered and last and found.position.offset:
            first = max(0, found.position.offset - min(last, rule.size))
            later = await self.backplane.history(name, Position(first, found.position.epoch), rule)
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
            except Exception:  # as in received()
                self.invalid += 1
                self._logger.exception(_UNDELIVERABLE, topic.name)
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
