"""Who takes part in the benches of backplanes, and how each is started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Sequence

from bench.peers.catalogue import NODE, PYTHON, Library

__all__ = ["GATEWAYS", "NATS", "REDIS", "Gateway", "choose_gateways"]

REDIS = "redis"
NATS = "nats"

ENGINE_CLIENTS = ("redis>=5", "hiredis", "nats-py", "uvloop")
ASGI = ("uvicorn[standard]", "websockets", "uvloop")

OURS_LIBRARY = Library(
    "backplane", PYTHON, adapter="bench.peers.gateway_ours", requirements=ENGINE_CLIENTS
)
# In the environment of the library above, whose WebSocket connections it uses.
BARE_LIBRARY = Library(
    "backplane", PYTHON, adapter="bench.peers.gateway_bare", requirements=ENGINE_CLIENTS
)
SOCKETIO_LIBRARY = Library(
    "socketio",
    PYTHON,
    adapter="bench.peers.gateway_socketio",
    requirements=("python-socketio", "redis>=5", "hiredis", *ASGI),
)
CHANNELS_LIBRARY = Library(
    "channels",
    PYTHON,
    adapter="bench.peers.gateway_channels",
    requirements=("channels", "channels-redis", "redis>=5", "hiredis", *ASGI),
)
NODE_LIBRARY = Library("ws-redis", NODE, adapter="ws_redis")


@dataclass(frozen=True)
class Gateway:
    """A library with an engine, in one of its variants."""

    name: str
    label: str
    library: Library
    engine: str = REDIS
    engines: int = 1
    history: int = 0  # messages of each topic that the engine keeps
    variant: str = ""  # of the adapter
    target: str = "/"  # that its clients ask for
    greeting: str = ""  # that its clients send first

    def options(self) -> List[str]:
        """Return the options of the adapter's command line."""
        words = ["--history", str(self.history)] if self.history else []
        return [*words, "--variant", self.variant] if self.variant else words

    def client_options(self) -> List[str]:
        """Return those of its subscribers."""
        words = ["--target", self.target]
        return [*words, "--greeting", self.greeting] if self.greeting else words


GATEWAYS: Dict[str, Gateway] = {
    gateway.name: gateway
    for gateway in (
        Gateway("ours-redis", "Topics, Valkey", OURS_LIBRARY),
        Gateway("ours-history", "Topics, Valkey, history", OURS_LIBRARY, history=1000),
        Gateway("ours-sharded", "Topics, two of Valkey", OURS_LIBRARY, engines=2),
        Gateway(
            "ours-sharded-history",
            "Topics, two of Valkey, history",
            OURS_LIBRARY,
            engines=2,
            history=1000,
        ),
        Gateway("ours-nats", "Topics, NATS", OURS_LIBRARY, NATS),
        Gateway("redis-await", "redis-py, await publish", BARE_LIBRARY),
        Gateway("redis-pipeline", "redis-py, pipelines", BARE_LIBRARY, variant="pipeline"),
        Gateway("nats-py", "nats-py", BARE_LIBRARY, NATS),
        Gateway(
            "socketio",
            "python-socketio, AsyncRedisManager",
            SOCKETIO_LIBRARY,
            # Engine.IO 4 without polling; "40" connects to the namespace "/".
            target="/socket.io/?EIO=4&transport=websocket",
            greeting="40",
        ),
        Gateway("channels", "Channels, RedisChannelLayer", CHANNELS_LIBRARY),
        Gateway(
            "channels-pubsub",
            "Channels, RedisPubSubChannelLayer",
            CHANNELS_LIBRARY,
            variant="pubsub",
        ),
        Gateway("ws-redis", "ws and redis (Node.js)", NODE_LIBRARY, variant="redis"),
        Gateway("ws-ioredis", "ws and ioredis (Node.js)", NODE_LIBRARY, variant="ioredis"),
    )
}


def choose_gateways(names: Sequence[str]) -> List[Gateway]:
    """Return the gateways of these names; ValueError for an unknown one."""
    for name in names:
        if name not in GATEWAYS:
            raise ValueError(f"no gateway is called {name!r}; there are {', '.join(GATEWAYS)}")
    return [GATEWAYS[name] for name in names]
