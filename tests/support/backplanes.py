"""An engine in memory, and the backplanes of processes that share it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Callable, Deque, Dict, List, Optional, Tuple

from picows_server.backplane.interface import (
    BackplaneError,
    BackplaneFull,
    BackplaneReceiver,
    BackplaneStats,
    History,
    HistoryRule,
    Position,
    Publication,
)

__all__ = ["FakeBackplane", "FakeEngine"]


class FakeEngine:
    """What all processes share. Nothing arrives anywhere before :meth:`run`."""

    def __init__(self) -> None:
        self.epoch = "first"
        self.backplanes: List[FakeBackplane] = []
        self.kept: Dict[str, List[Publication]] = {}
        self.on_their_way: Deque[Tuple[FakeBackplane, Publication]] = deque()

    def publish(
        self, source: FakeBackplane, publication: Publication, history: Optional[HistoryRule]
    ) -> None:
        if history is not None:
            kept = self.kept.setdefault(publication.topic, [])
            last = kept[-1].position if kept else None
            position = Position(1 if last is None else last.offset + 1, self.epoch)
            publication = publication._replace(position=position)
            kept.append(publication)
            del kept[: -history.size]
        for backplane in self.backplanes:
            token = publication.token if backplane is source else None
            self.on_their_way.append((backplane, publication._replace(token=token)))

    def run(self, count: Optional[int] = None) -> None:
        """Deliver so many messages, or all."""
        while self.on_their_way and count != 0:
            backplane, publication = self.on_their_way.popleft()
            if publication.topic in backplane.topics and backplane.is_connected:
                backplane.receiver.received(publication)
            count = None if count is None else count - 1

    def position(self, topic: str) -> Position:
        kept = self.kept.get(topic)
        found = kept[-1].position if kept else None
        return found or Position(0, self.epoch)

    def lose_everything(self) -> None:
        """A new life."""
        self.epoch += "'"
        self.kept.clear()


class FakeBackplane:
    """One process's end of an engine. ``room``: how many messages it takes; None: any number."""

    supports_history = True
    supports_count = True

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self.is_connected = False
        self.topics: Dict[str, Optional[HistoryRule]] = {}
        self.calls: List[Tuple[Any, ...]] = []
        self.room: Optional[int] = None
        self.fails = False
        #: Called before a history is read, to do something meanwhile.
        self.meanwhile: Callable[[], object] = lambda: None
        self.receiver: BackplaneReceiver
        self.is_closed = False

    async def start(self, receiver: BackplaneReceiver) -> None:
        if self.fails:
            raise BackplaneError("as asked for")
        self.receiver = receiver
        self.is_connected = True
        self.engine.backplanes.append(self)

    def subscribe(self, topic: str, history: Optional[HistoryRule]) -> None:
        self.calls.append(("subscribe", topic, history))
        self.topics[topic] = history

    def unsubscribe(self, topic: str) -> None:
        self.calls.append(("unsubscribe", topic))
        del self.topics[topic]

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
        if self.room is not None and not self.room:
            raise BackplaneFull("as asked for")
        publication = Publication(topic, payload, opcode, key, None, token)
        self.engine.publish(self, publication, history)

    async def history(
        self, topic: str, since: Optional[Position], rule: HistoryRule, last: int = 0
    ) -> History:
        self.calls.append(("history", topic, since))
        await asyncio.sleep(0)
        self.meanwhile()
        if self.fails:
            raise BackplaneError("as asked for")
        found = self._found(topic, since, last)
        await asyncio.sleep(0)  # it is on its way
        return found

    def _found(self, topic: str, since: Optional[Position], last: int) -> History:
        position = self.engine.position(topic)
        kept = self.engine.kept.get(topic, [])
        recovered = since is not None and since.epoch == self.engine.epoch
        if since is not None and recovered:
            missed = position.offset - since.offset
            recovered = 0 <= missed <= len(kept)
        count = missed if recovered else min(last, len(kept))
        return History(kept[len(kept) - count :], position, recovered)

    async def subscribed(self, topic: str) -> None:
        await asyncio.sleep(0)
        assert topic in self.topics

    async def count(self, topic: str) -> int:
        return sum(each.receiver.local_count(topic) for each in self.engine.backplanes)

    def stats(self) -> BackplaneStats:
        return BackplaneStats(subscriptions=len(self.topics))

    async def close(self) -> None:
        self.is_closed = True
        self.is_connected = False
