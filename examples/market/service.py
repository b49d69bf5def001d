"""The gateway: the market on topics, a page that shows it, and what a balancer asks."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, AsyncIterator, Dict, NamedTuple, Optional

from picows_server import (
    WSConnection,
    WSServer,
    WSUpgradeRequest,
    WSUpgradeResponse,
    files,
    health,
    ready,
)
from picows_server.topics import Topics

from .publishing import Publisher, configure
from .simulation import Market
from .viewing import Viewer

if TYPE_CHECKING:
    from .lease import Lease

__all__ = ["SERVER_OPTIONS", "Settings", "State", "lifespan_of", "respond", "watch"]

SERVER_OPTIONS: Dict[str, Any] = {
    # Bytes that wait for a client before it counts as slow, and its books are conflated.
    "write_high_watermark": 32 * 1024,
    "enable_auto_ping": True,
}

PAGES = {"/healthz": health, "/readyz": ready}
# The page and its files; it loads nothing from elsewhere.
STATIC = files(
    Path(__file__).with_name("static"),
    extra_headers={
        "Content-Security-Policy": "default-src 'self'",
        "X-Content-Type-Options": "nosniff",
    },
)


class Settings(NamedTuple):
    """How this gateway takes part."""

    seed: int = 1
    levels: int = 100  # of each side of a book
    backplane: Optional[str] = None  # URL of the Redis that several gateways share
    publishes: bool = True  # with a backplane: if no other gateway does


class State(NamedTuple):
    """What a gateway is made of; handlers find it at ``request.server.state``."""

    name: str
    market: Market
    topics: Topics
    publisher: Publisher


def respond(request: WSUpgradeRequest) -> Any:
    """Respond to everything but a WebSocket."""
    path = request.path.partition("?")[0]
    if path == "/feed":
        return None
    response = PAGES.get(path, STATIC)(request)
    return response or WSUpgradeResponse.create_error_response(404)


async def watch(ws: WSConnection) -> None:
    """Serve a WebSocket."""
    state: State = ws.request.server.state
    await Viewer(ws, state.topics, state.market.symbols, state.name).run()


def lifespan_of(settings: Settings) -> Any:
    """Return what lives as long as the server."""

    @asynccontextmanager
    async def lifespan(server: WSServer) -> AsyncIterator[State]:
        name = f"{socket.gethostname()}:{server.url.rpartition(':')[2]}"
        market = Market(settings.seed, settings.levels)
        async with _topics(settings) as topics:
            configure(topics)
            server.ready_checks["backplane"] = lambda: topics.is_connected
            lease = _lease(settings, name, market)
            publisher = Publisher(topics, market, name, lease)
            running = [publisher.run()] if settings.publishes else []
            if lease is not None:
                running.append(lease.run())
            tasks = [asyncio.ensure_future(each) for each in running]
            try:
                yield State(name, market, topics, publisher)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    return lifespan


def _topics(settings: Settings) -> Topics:
    if settings.backplane is None:
        return Topics()
    from picows_server.backplane import RedisBackplane  # noqa: PLC0415  it needs redis

    return Topics(backplane=RedisBackplane(settings.backplane))


def _lease(settings: Settings, name: str, market: Market) -> Optional[Lease]:
    """What decides whether this gateway publishes, if it shares the market with others."""
    if settings.backplane is None or not settings.publishes:
        return None
    from .lease import Lease  # noqa: PLC0415  likewise

    return Lease(settings.backplane, f"{name}/{os.getpid()}", market.prices, market.move_to)
