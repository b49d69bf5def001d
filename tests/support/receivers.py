"""Backplanes of tests, and a receiver that remembers what they tell."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import pytest

from picows_server.backplane import (
    HistoryRule,
    NatsBackplane,
    Publication,
    RedisBackplane,
)
from tests.support.engines import Engine

__all__ = ["NUMBERS", "RULE", "Remembering", "backplane_of", "publish", "started", "until"]

RULE = HistoryRule(1000)
NUMBERS = [b"%d" % number for number in range(1000)]


class Remembering:
    """What a backplane has told."""

    def __init__(self) -> None:
        self.publications: List[Publication] = []
        self.gaps: List[Tuple[Optional[List[str]], str]] = []
        self.states: List[Tuple[bool, str]] = []
        self.counts: Dict[str, int] = {}

    def received(self, publication: Publication) -> None:
        self.publications.append(publication)

    def gap(self, topics: Optional[Sequence[str]], cause: str) -> None:
        self.gaps.append((None if topics is None else list(topics), cause))

    def local_count(self, topic: str) -> int:
        return self.counts.get(topic, 0)

    def connected(self, is_connected: bool, cause: str) -> None:
        self.states.append((is_connected, cause))

    def payloads(self, topic: Optional[str] = None) -> List[bytes]:
        return [each.payload for each in self.publications if topic in {None, each.topic}]


async def until(condition: Callable[[], Any], patience: float = 60.0) -> None:
    """Wait for it."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        await asyncio.sleep(0.01)


async def started(engine: Engine, **options: Any) -> Tuple[Any, Remembering]:
    """Return a backplane that is connected to an engine, and what it tells."""
    receiver = Remembering()
    backplane = backplane_of(engine, **options)
    await backplane.start(receiver)
    return backplane, receiver


def backplane_of(engine: Engine, url: str = "", **options: Any) -> Any:
    """Return a backplane for an engine, or skip the test without its client library."""
    pytest.importorskip("nats" if engine.name == "nats" else "hiredis")
    kind = NatsBackplane if engine.name == "nats" else RedisBackplane
    return kind(url or engine.url, **options)


def publish(
    backplane: Any, topic: str, payload: bytes, history: Optional[HistoryRule] = None
) -> None:
    """Publish without a key."""
    backplane.publish(topic, payload, 1, key=None, history=history, token=None)
