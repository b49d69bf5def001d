"""Who takes part, under which name, and how each is started."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Dict, FrozenSet, List, Sequence, Tuple

__all__ = ["OURS", "PEERS", "C", "Library", "Peer", "choose_peers"]

PYTHON = "python"
NATIVE = "native"
BEAST = "beast"
NODE = "node"

OURS_LABEL = "picows wheels"
# What replaces Python's zlib, in the variants that say so.
ENGINES = ("isal>=1.6", "zlib-ng>=0.4")

ALL_ROLES = frozenset(
    {
        "server echo",
        "server source",
        "server sink",
        "server broadcast",
        "client echo",
        "client source",
        "client sink",
        "client churn",
        "client tail",
        "client idle",
    }
)
MESSAGE_ROLES = frozenset(
    role for role in ALL_ROLES if role.split()[1] in {"echo", "source", "sink"}
)


@dataclass(frozen=True)
class Library:
    """A library, which is installed once and may take part under several names."""

    name: str
    kind: str
    roles: FrozenSet[str] = ALL_ROLES
    adapter: str = ""  # its module for Python, its folder below peers for Node.js
    requirements: Tuple[str, ...] = ()  # of its environment, for Python
    compiled_listener: str = ""  # source below peers/compiled, for Python


@dataclass(frozen=True)
class Peer:
    """A library in one of its variants."""

    name: str
    label: str
    library: Library
    loop: str = "uvloop"
    listener: str = "python"
    busy_poll: bool = False
    compresses: bool = True  # where the scenario does
    engine: str = "zlib"  # that deflates and inflates

    def label_as(self, side: str) -> str:
        """Return the label where the peer plays a client or a server: ours has a wheel for each."""
        return self.label.replace(OURS_LABEL, f"picows-{side}")

    def can_play(self, side: str, role: str) -> bool:
        """Whether there is an adapter for this role."""
        return f"{side} {role}" in self.library.roles

    @property
    def has_cork(self) -> bool:
        """Whether the library can hold messages back to send them together."""
        return self.library in (OURS_LIBRARY, BEFORE_LIBRARY)

    def options(self) -> List[str]:
        """Return what the adapter's command line is told about the variant."""
        if self.library.kind != PYTHON:
            return []
        words = ["--loop", self.loop, "--listener", self.listener, "--engine", self.engine]
        return [*words, "--busy-poll"] if self.busy_poll else words


C_LIBRARY = Library("c", NATIVE)
OURS_LIBRARY = Library(
    "ours",
    PYTHON,
    adapter="bench.peers.adapter_ours",
    requirements=("cython>=3.1,<4", "setuptools>=74.1", *ENGINES),
    compiled_listener="ours_listener",
)
# Another state of the project, see --before.
BEFORE_LIBRARY = replace(OURS_LIBRARY, name="before")
PICOWS_LIBRARY = Library(
    "picows",
    PYTHON,
    adapter="bench.peers.adapter_picows",
    requirements=("picows==2.3.1", "aiofastnet", "uvloop", "cython>=3.1,<4", "setuptools>=74.1"),
    compiled_listener="picows_listener",
)
PICOWS_WEBSOCKETS_LIBRARY = Library(
    "picows-websockets",
    PYTHON,
    adapter="bench.peers.adapter_picows_websockets",
    requirements=("picows==2.3.1", "aiofastnet", "uvloop"),
)
EARLY_PICOWS_LIBRARY = Library(
    "picows-0.2",
    PYTHON,
    roles=MESSAGE_ROLES,
    adapter="bench.peers.adapter_picows_0_2",
    requirements=("picows==0.2.1", "uvloop"),
)
WEBSOCKETS_LIBRARY = Library(
    "websockets",
    PYTHON,
    adapter="bench.peers.adapter_websockets",
    requirements=("websockets", "uvloop"),
)
AIOHTTP_LIBRARY = Library(
    "aiohttp",
    PYTHON,
    adapter="bench.peers.adapter_aiohttp",
    requirements=("aiohttp", "uvloop", *ENGINES),
)
TORNADO_LIBRARY = Library(
    "tornado",
    PYTHON,
    roles=ALL_ROLES - {"client tail"},
    adapter="bench.peers.adapter_tornado",
    requirements=("tornado", "uvloop"),
)
# Servers of ASGI applications; our own wheels are installed, too.
ASGI_LIBRARY = Library(
    "asgi",
    PYTHON,
    roles=frozenset({"server echo"}),
    adapter="bench.peers.adapter_asgi",
    requirements=(
        *("uvicorn[standard]", "websockets", "uvloop", "fastapi", "granian"),
        *("multidict", "aiofastnet>=1.1,<2"),
    ),
)
BEAST_LIBRARY = Library("beast", BEAST, roles=MESSAGE_ROLES)
WS_LIBRARY = Library("ws", NODE, roles=ALL_ROLES - {"client tail"}, adapter="ws")

C = Peer("c", "C, epoll", C_LIBRARY)
OURS = Peer("ours", OURS_LABEL, OURS_LIBRARY)
_BEFORE = Peer("before", f"{OURS_LABEL}, before", BEFORE_LIBRARY)
_PICOWS = Peer("picows", "picows 2.3.1", PICOWS_LIBRARY)
_WEBSOCKETS = Peer("websockets", "websockets", WEBSOCKETS_LIBRARY)
_AIOHTTP = Peer("aiohttp", "aiohttp", AIOHTTP_LIBRARY)
_TORNADO = Peer("tornado", "Tornado", TORNADO_LIBRARY)


def _on_asyncio(peer: Peer) -> Peer:
    return replace(
        peer, name=f"{peer.name}-asyncio", label=f"{peer.label}, asyncio", loop="asyncio"
    )


def _compiled(peer: Peer) -> Peer:
    return replace(
        peer,
        name=f"{peer.name}-compiled",
        label=f"{peer.label}, compiled listener",
        listener="compiled",
    )


_BATCH = replace(OURS, name="ours-batch", label=f"{OURS.label}, batches", listener="batch")
_COROUTINE = replace(
    OURS, name="ours-coroutine", label=f"{OURS.label}, coroutines", listener="coroutine"
)

_ASGI = [
    Peer(name.replace("+", "-"), label, ASGI_LIBRARY, listener=name)
    for name, label in (
        ("uvicorn", "uvicorn"),
        ("uvicorn-ours", "uvicorn, UvicornProtocol"),
        ("granian", "Granian"),
        ("asgi", "asgi_listener"),
        ("uvicorn+fastapi", "FastAPI on uvicorn"),
        ("uvicorn-ours+fastapi", "FastAPI on uvicorn, UvicornProtocol"),
        ("asgi+fastapi", "FastAPI on asgi_listener"),
    )
]

PEERS: Dict[str, Peer] = {
    peer.name: peer
    for peer in (
        C,
        Peer("beast", "Boost.Beast", BEAST_LIBRARY),
        OURS,
        replace(OURS, name="ours-busy", label=f"{OURS.label}, busy_poll", busy_poll=True),
        _compiled(OURS),
        _BATCH,
        replace(
            _BATCH,
            name="ours-batch-plain",
            label=f"{_BATCH.label}, no compression",
            compresses=False,
        ),
        _COROUTINE,
        replace(_COROUTINE, name="ours-many", label=f"{OURS.label}, recv_many", listener="many"),
        replace(OURS, name="ours-extra", label=f"{OURS.label}, faster zlib", engine="extra"),
        replace(
            _COROUTINE,
            name="ours-coroutine-extra",
            label=f"{OURS.label}, coroutines, faster zlib",
            engine="extra",
        ),
        _on_asyncio(OURS),
        _BEFORE,
        _compiled(_BEFORE),
        _PICOWS,
        _compiled(_PICOWS),
        _on_asyncio(_PICOWS),
        Peer("picows-websockets", "picows.websockets 2.3.1", PICOWS_WEBSOCKETS_LIBRARY),
        Peer("picows-0.2", "picows 0.2.1", EARLY_PICOWS_LIBRARY),
        _WEBSOCKETS,
        _on_asyncio(_WEBSOCKETS),
        _AIOHTTP,
        _on_asyncio(_AIOHTTP),
        replace(_AIOHTTP, name="aiohttp-isal", label="aiohttp, ISA-L", engine="isal"),
        replace(_AIOHTTP, name="aiohttp-zlib-ng", label="aiohttp, zlib-ng", engine="zlib-ng"),
        _TORNADO,
        _on_asyncio(_TORNADO),
        Peer("ws", "ws (Node.js)", WS_LIBRARY),
        *_ASGI,
    )
}


def choose_peers(names: Sequence[str]) -> List[Peer]:
    """Return the peers of these names, in the catalogue's order; ValueError for an unknown one."""
    for name in names:
        if name not in PEERS:
            raise ValueError(f"no peer is called {name!r}; there are {', '.join(PEERS)}")
    return [peer for peer in PEERS.values() if peer.name in names]
