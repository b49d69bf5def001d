"""What is measured with engines: one entry per case, and what should come out."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Dict, List, Sequence, Tuple

__all__ = ["CASES", "GOALS", "Case", "EngineGoal", "choose_cases"]

ENGINES = (
    *("redis-await", "redis-pipeline", "ours-redis", "ours-sharded"),
    *("ours-history", "ours-sharded-history", "nats-py", "ours-nats"),
)
BATCHED = ("redis-pipeline", "ours-redis", "ours-history", "nats-py", "ours-nats")
FAN_OUT = (
    *("ours-redis", "ours-history", "ours-nats", "redis-pipeline", "socketio"),
    *("channels", "channels-pubsub", "ws-redis", "ws-ioredis"),
)
LATENCY = ("ours-redis", "ours-nats", "redis-pipeline", "socketio", "channels", "ws-redis")
MANY = 100  # connections of one gateway, or topics


@dataclass(frozen=True)
class Case:
    """One thing to measure: a publisher, a gateway, and its subscribers.

    All connections subscribe to all topics, which messages of 128 bytes have in turn. With ``rate``
    so many are due in a second, and what counts is how late they are; else ``window`` messages are
    on their way, and ``burst`` are published at once.
    """

    name: str
    title: str
    gateways: Tuple[str, ...]
    bases: Tuple[str, ...]  # to be compared with
    connections: int = 1
    topics: int = 1
    window: int = 512
    burst: int = 64
    rate: int = 0
    deflate: bool = False  # the subscribers offer permessage-deflate
    with_publisher: bool = False  # its CPU time counts, too, not only that of the gateway

    @property
    def unit(self) -> str:
        """What the figure is."""
        if self.rate:
            return "p50 us"
        return "deliveries/s of CPU" if self.connections > 1 else "messages/s of CPU"


CASES: Dict[str, Case] = {
    case.name: case
    for case in (
        Case(
            "engine-topics",
            "Through an engine: 100 topics in turn, to one connection",
            ENGINES,
            ("redis-pipeline", "nats-py"),
            topics=MANY,
            with_publisher=True,
        ),
        Case(
            "engine-topic",
            "Through an engine: one topic, to one connection",
            BATCHED,
            ("redis-pipeline", "nats-py"),
            with_publisher=True,
        ),
        Case(
            "engine-latency",
            "Latency through an engine: 1,000 messages a second of 100 topics, to one connection",
            ("redis-await", "ours-redis", "ours-history", "nats-py", "ours-nats"),
            ("redis-await", "nats-py"),
            topics=MANY,
            rate=1000,
            burst=1,
        ),
        Case(
            "fan-out",
            "Through an engine to 100 connections of one process",
            FAN_OUT,
            ("redis-pipeline",),
            connections=MANY,
            window=64,
            burst=16,
        ),
        Case(
            "fan-out-deflate",
            "The same, compressed",
            ("ours-redis", "redis-pipeline", "socketio", "channels", "ws-redis"),
            ("redis-pipeline",),
            connections=MANY,
            window=64,
            burst=16,
            deflate=True,
        ),
        Case(
            "fan-out-latency",
            "Latency through an engine: 20 messages a second, to 100 connections",
            LATENCY,
            ("redis-pipeline",),
            connections=MANY,
            rate=20,
            burst=1,
        ),
    )
}


@dataclass(frozen=True)
class EngineGoal:
    """``gateway`` / ``base`` should be at least ``ratio``."""

    case: str
    gateway: str
    base: str
    ratio: float


GOALS: List[EngineGoal] = [
    EngineGoal(case, gateway, base, 0.7)
    for case in ("engine-topics", "engine-topic")
    for gateway, base in (("ours-redis", "redis-pipeline"), ("ours-nats", "nats-py"))
]


def choose_cases(patterns: Sequence[str]) -> List[Case]:
    """Return the cases whose names match one of the patterns (``*`` and ``?``), in order.

    Raises ValueError for a pattern that matches nothing.
    """
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in CASES):
            raise ValueError(f"no case is called {pattern!r}; there are {', '.join(CASES)}")
    return [
        case
        for name, case in CASES.items()
        if not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)
    ]
