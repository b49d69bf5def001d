"""Topics over a backplane: what goes to the engine, and what comes from it."""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from contextlib import suppress
from typing import Any, Callable, List, Optional, Sequence, Set
from weakref import ref

from picows_codec import WSPreparedMessage, WSStateError, WSTransport
from picows_server.backplane.interface import Backplane, BackplaneError, Position, Publication
from picows_server.logs import Logger
from picows_server.topics.local import LocalTopics, Subscribed
from picows_server.topics.membership import Excluded, Key, Topic
from picows_server.topics.recovery import UNDELIVERABLE, Recovery

__all__ = ["OnGap", "Relay"]

#: Called with the topics of which messages were lost, or may have been.
OnGap = Callable[[List[str]], object]

# Messages of this process on their way through the engine of which it is known whom they exclude;
# more than a backplane's buffer has.
_MOST_ON_THEIR_WAY = 131_072
# The token of messages that the subscribers of this process have already.
_ECHOED = 0


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
        self._recovery = Recovery(local, backplane, logger)
        #: Called per message, therefore without a method in between.
        self.delivers = self._recovery.delivers
        # Topics without subscribers, and when they end.
        self._resting: OrderedDict[str, float] = OrderedDict()
        self._timer: Optional[asyncio.TimerHandle] = None
        self._changes: Set[asyncio.Task[None]] = set()
        self.received_count = 0
        self.gaps = 0
        self._invalid = 0
        # Prefixes of rules with history for which messages came without a position.
        self._without_position: Set[str] = set()

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
                if not self._recovery.is_reading(name):
                    self._local.forget_topic(topic)
            self._resting.pop(name, None)

    def ended(self, topic: Topic) -> None:
        """Unsubscribe at the engine."""
        self._resting.pop(topic.name, None)
        self._recovery.forget(topic.name)
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
            if self._recovery.is_ahead(name):
                those = self._recovery.those_ahead(name, position)
                if excluded_one is not None:
                    those.add(excluded_one)
                excluded = those
        elif topic.rule.history is not None:
            self._tell_of_other_rule(name, topic.rule.prefix)
        try:
            message = WSPreparedMessage(opcode, payload)
            self._local.publish(name, message, key, excluded, position)
        except Exception:  # of an envelope, or TEXT of another program that is not UTF-8
            self._invalid += 1
            self._logger.exception(UNDELIVERABLE, name)

    def _tell_of_other_rule(self, name: str, prefix: str) -> None:
        """Log once for each rule that another process publishes without history."""
        if prefix in self._without_position:
            return
        self._without_position.add(prefix)
        self._logger.warning(
            "topic %r: a message came without a position, because the process that published it"
            " has no history in its rule; it is delivered, and clients that come back do not get"
            " it: call configure(%r, history=...) in all processes that publish",
            name,
            prefix,
        )

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
            "messages of %s may be lost: %s",
            repr(concerned[0])
            if len(concerned) == 1
            else f"{len(concerned)} topics, {concerned[0]!r} among them,",
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
        self._recovery.gap(name)
        return len(topic) > 0 or self._recovery.is_reading(name)

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

    # Those that come back

    @property
    def invalid(self) -> int:
        """How many messages could not be delivered, of those that came and of those kept."""
        return self._invalid + self._recovery.invalid

    async def subscribe_from(
        self, transport: WSTransport, name: str, since: Optional[Position], last: int
    ) -> Subscribed:
        """Subscribe a connection and send what it has missed."""
        self.check_is_running()
        return await self._recovery.subscribe_from(transport, name, since, last)

    def give_up(self, transport: WSTransport, name: str) -> bool:
        """Do not subscribe a connection whose history is being read; return whether it is."""
        return self._recovery.give_up(transport, name)

    async def confirmed(self, name: str) -> None:
        """Return when the engine has confirmed that this process is subscribed."""
        self.check_is_running()
        await self._recovery.confirmed(name)
