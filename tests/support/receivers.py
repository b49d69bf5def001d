"""A receiver of a backplane that remembers."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from picows_server.backplane import Publication


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


async def until(condition: Callable[[], Any], patience: float = 20.0) -> None:
    """Wait for it."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        await asyncio.sleep(0.01)
