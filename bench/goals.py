"""The ratios that the wheels are meant to reach, each against another peer of the same run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List

__all__ = ["GOALS", "MEMORY_GOALS", "SIZE_GOALS", "Goal"]


@dataclass(frozen=True)
class Goal:
    """``peer`` / ``base`` should be at least ``ratio``, or at most where the figure is a cost."""

    scenario: str
    peer: str
    base: str
    ratio: float


def _both(scenario: str, peer: str, picows: float, c: float) -> List[Goal]:
    return [Goal(scenario, peer, "picows", picows), Goal(scenario, peer, "c", c)]


def _deflate() -> List[Goal]:
    goals = []
    for side in ("client", "server"):
        for direction in ("in", "out"):
            for size, ratio in (("262", 1.2), ("4k", 1.0)):
                # The engine that ours prefers.
                is_small = direction == "in" and size == "262"
                same = "aiohttp-zlib-ng" if is_small else "aiohttp-isal"
                name = f"deflate-{direction}-{side}-{size}"
                for shape in ("ours", "ours-coroutine"):
                    goals += [
                        Goal(name, shape, "websockets", 2.0),
                        Goal(name, shape, "aiohttp", 1.5),
                        Goal(name, f"{shape}-extra", same, ratio),
                    ]
    return goals


GOALS: List[Goal] = [
    *_both("echo-client-256", "ours", 1.10, 0.92),
    *_both("echo-client-256", "ours-busy", 1.30, 1.10),
    *_both("echo-client-8k", "ours", 1.12, 0.92),
    *_both("echo-client-100k", "ours", 1.25, 0.97),
    *_both("echo-client-256-tls", "ours", 1.05, 0.90),
    *_both("echo-client-100k-tls", "ours", 1.05, 0.90),
    *_both("echo-server-1-256", "ours", 1.10, 0.92),
    *_both("echo-server-50-256", "ours", 1.28, 0.95),
    *_both("echo-server-500-256", "ours", 1.60, 0.92),
    *_both("echo-server-50-8k", "ours", 1.55, 0.90),
    *_both("echo-server-500-8k", "ours", 1.60, 0.90),
    *_both("echo-server-50-100k", "ours", 1.70, 0.93),
    *_both("echo-server-50-256-tls", "ours", 1.20, 0.85),
    *_both("echo-server-50-8k-tls", "ours", 1.30, 0.85),
    Goal("echo-server-50-256", "ours-asyncio", "picows", 1.0),
    Goal("echo-server-500-256", "ours-asyncio", "picows", 1.0),
    Goal("inbound-client-64", "ours", "picows", 3.0),
    *_both("inbound-client-64", "ours-compiled", 8.0, 0.55),
    Goal("inbound-server-64", "ours", "picows", 3.0),
    *_both("inbound-server-64", "ours-compiled", 8.0, 0.55),
    Goal("outbound-client-64-cork", "ours", "picows", 25.0),
    Goal("outbound-server-64-cork", "ours", "picows", 25.0),
    Goal("outbound-client-64-plain", "ours", "picows", 8.0),
    Goal("outbound-server-64-plain", "ours", "picows", 8.0),
    Goal("inbound-client-64", "ours-batch", "ours", 2.5),
    Goal("inbound-client-64", "ours-batch", "picows", 4.0),
    Goal("inbound-server-64", "ours-batch", "ours", 2.5),
    Goal("outbound-client-64-cork", "ours-batch", "ours", 3.0),
    Goal("outbound-server-64-cork", "ours-batch", "ours", 3.0),
    Goal("inbound-client-100", "ours-coroutine", "websockets", 10.0),
    Goal("inbound-client-100", "ours-coroutine", "aiohttp", 4.0),
    Goal("inbound-client-100", "ours-coroutine", "picows-websockets", 1.3),
    Goal("inbound-client-100", "ours-many", "ours-coroutine", 2.0),
    Goal("echo-server-50-256", "ours-coroutine", "websockets", 2.5),
    Goal("echo-server-50-256", "ours-coroutine", "aiohttp", 1.5),
    Goal("asgi-plain-50-256", "uvicorn-ours", "uvicorn", 1.5),
    Goal("asgi-plain-50-256", "uvicorn-ours", "granian", 1.0),
    Goal("asgi-plain-50-256", "asgi", "uvicorn", 2.0),
    Goal("asgi-fastapi-50-256", "uvicorn-ours-fastapi", "uvicorn-fastapi", 1.3),
    *_deflate(),
    # At most 1.15 times the CPU time.
    Goal("broadcast-1000-256-deflate", "ours-batch", "ours-batch-plain", 1 / 1.15),
    Goal("broadcast-1000-256", "ours-batch", "c", 0.95),
    Goal("broadcast-1000-256", "ours-batch", "websockets", 1.7),
    Goal("connections-client", "ours", "picows", 3.5),
    Goal("connections-server", "ours", "picows", 2.1),
    Goal("memory-server-tls", "ours", "picows", 0.25),
]

# How much a sender compresses, as bytes of messages per byte of payload: at most 15 % less.
SIZE_GOALS: List[Goal] = [
    Goal(f"deflate-out-{side}-{size}", peer, base, 0.85)
    for side in ("client", "server")
    for size in ("262", "4k")
    for peer, bases in (
        ("ours", ("websockets", "aiohttp")),
        ("ours-extra", ("aiohttp-isal",)),
    )
    for base in bases
]

# Absolute goals, since they do not depend on the machine: bytes per idle plain connection.
MEMORY_GOALS = {"ours": 2500, "ours-coroutine": 3500}
