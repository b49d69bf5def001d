"""picows_server.running.workers.rolling: one slot after another, on a fake clock."""

from __future__ import annotations

import asyncio
from typing import Any, List, Optional

from picows_codec.testing import FakeLoop
from picows_server.running.workers.rolling import Replaceable, RollingReplacement


class FakeSlot(Replaceable):
    def __init__(self, loop: FakeLoop, name: str, events: List[str]) -> None:
        self._loop = loop
        self._name = name
        self._events = events
        self.outdated = False
        self.waiting: Optional[asyncio.Future[bool]] = None

    @property
    def is_outdated(self) -> bool:
        return self.outdated

    def keep(self) -> None:
        self.outdated = False

    async def replace(self) -> bool:
        self._events.append(f"{self._name} begins")
        self.waiting = self._loop.create_future()
        is_replaced = await self.waiting
        self._events.append(f"{self._name} ends")
        if is_replaced:
            self.outdated = False
        return is_replaced

    def answer(self, is_replaced: bool) -> None:
        assert self.waiting is not None
        self.waiting.set_result(is_replaced)
        self._loop.run_ready()


class Rolling:
    def __init__(self, count: int) -> None:
        self.loop = FakeLoop()
        self.events: List[str] = []
        self.slots = [FakeSlot(self.loop, name, self.events) for name in "abcdef"[:count]]
        loop: Any = self.loop
        self.rolling = RollingReplacement(
            loop, lambda: self.slots, lambda ok: self.events.append(f"finished {ok}"), 30.0
        )

    def begin(self) -> None:
        self.rolling.begin()
        self.loop.run_ready()


def test_one_after_another() -> None:
    it = Rolling(3)
    it.slots[0].outdated = it.slots[2].outdated = True
    it.begin()
    it.begin()
    assert it.rolling.is_under_way
    assert it.events == ["a begins"]
    it.slots[0].answer(True)
    assert it.events == ["a begins", "a ends", "c begins"]
    it.slots[2].answer(True)
    assert it.events[3:] == ["c ends", "finished True"]
    assert not it.rolling.is_under_way


def test_nothing_to_do() -> None:
    it = Rolling(2)
    it.begin()
    assert not it.rolling.is_under_way
    assert it.events == []


def test_what_becomes_outdated_meanwhile() -> None:
    it = Rolling(2)
    it.slots[1].outdated = True
    it.begin()
    it.slots[0].outdated = True
    it.slots[1].answer(True)
    assert it.events[2:] == ["a begins"]
    it.slots[0].answer(True)
    assert it.events[-1] == "finished True"


def test_a_failure_stops_it_for_a_while() -> None:
    it = Rolling(3)
    for slot in it.slots:
        slot.outdated = True
    it.begin()
    it.slots[0].answer(False)
    assert it.events == ["a begins", "a ends", "finished False"]
    assert not any(slot.outdated for slot in it.slots)
    assert it.rolling.is_pausing
    it.loop.advance(29.0)
    assert it.rolling.is_pausing
    it.loop.advance(1.0)
    assert not it.rolling.is_pausing


def test_cancelled() -> None:
    it = Rolling(2)
    it.rolling.cancel()
    for slot in it.slots:
        slot.outdated = True
    it.begin()
    it.rolling.cancel()
    it.loop.run_ready()
    assert it.events == ["a begins"]  # not finished, nor has a worker failed to start
    assert not it.rolling.is_under_way
