"""What is measured: one line per scenario, and the names that choose among them."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Dict, List, Sequence, Tuple

__all__ = ["CLIENT", "SCENARIOS", "SERVER", "Scenario", "choose_scenarios"]

CLIENT = "client"
SERVER = "server"

# All peers; and the peers of a scenario that compares only a few.
WIDE = (
    "c",
    "beast",
    "ours",
    "picows",
    "picows-0.2",
    "websockets",
    "aiohttp",
    "tornado",
    "ws",
)
CORE = ("c", "ours", "picows")
LOOPS = ("ours-asyncio", "picows-asyncio")
COMPILED = ("ours-compiled", "picows-compiled")
BATCH = ("ours-batch",)
COROUTINES = ("ours-coroutine", "picows-websockets")
# Who compresses: each with Python's zlib, then with another engine.
DEFLATING = ("ours", "ours-coroutine", "picows-websockets", "websockets", "aiohttp")
ENGINES = ("ours-extra", "ours-coroutine-extra", "aiohttp-isal", "aiohttp-zlib-ng")
# Bytes per second that a message in flight waits for, at least, several times over.
SLOWEST = 100e6
# Of a measurement of latency: one message in a thousand is the slowest of several then.
TAIL_SECONDS = 5.0


@dataclass(frozen=True)
class Scenario:
    """One thing to measure.

    ``subject`` is the side that the library under test plays; the other one is the C program.
    ``judge`` is the side that counts (``size`` bytes of payload each), or "memory" when what counts
    is the resident memory of the subject.
    """

    name: str
    title: str
    subject: str
    server_role: str
    client_role: str
    judge: str
    peers: Tuple[str, ...]
    size: int = 256
    connections: int = 1
    window: int = 1  # messages in flight per connection
    tls: bool = False
    resume: bool = False  # the C client resumes TLS sessions of earlier connections
    cork: bool = False
    json: bool = False  # the messages are JSON, and text
    deflate: bool = False  # permessage-deflate is negotiated and used
    by_cpu: bool = False  # what counts is seconds of the subject's CPU, not of the clock
    rate: int = 0  # messages per second that are due; what counts is how late the echoes are
    unit: str = "messages/s"

    @property
    def lower_is_better(self) -> bool:
        """Whether the figure is a cost."""
        return self.judge == "memory" or self.rate > 0

    @property
    def least_seconds(self) -> float:
        """The seconds in which each message in flight comes back several times."""
        if self.rate:
            return TAIL_SECONDS
        in_flight = self.connections * self.window * self.size
        return in_flight / SLOWEST * (2 if self.tls else 1) if self.judge != "memory" else 0.0


def label_of(size: int) -> str:
    """Return a size as it appears in names."""
    names = {4096: "4k", 8192: "8k", 100_000: "100k", 1_000_000: "1m"}
    return names.get(size, str(size))


def text_of(size: int) -> str:
    """Return a size as it appears in titles."""
    names = {4096: "4 KiB", 8192: "8 KiB", 100_000: "100 kB", 1_000_000: "1 MB"}
    return names.get(size, f"{size} B")


def _echo_clients() -> List[Scenario]:
    scenarios = []
    for tls in (False, True):
        for size in (256, 8192, 100_000, 1_000_000):
            peers = WIDE if not tls or size in {256, 100_000} else CORE
            if size == 256:
                peers = (*peers, *LOOPS)
            if not tls:
                peers = (*peers, "ours-busy")
            scenarios.append(
                Scenario(
                    name=f"echo-client-{label_of(size)}{'-tls' if tls else ''}",
                    title=f"Echo client, {text_of(size)}{', TLS' if tls else ''}",
                    subject=CLIENT,
                    server_role="echo",
                    client_role="echo",
                    judge=CLIENT,
                    peers=peers,
                    size=size,
                    tls=tls,
                )
            )
    return scenarios


def _echo_servers() -> List[Scenario]:
    scenarios = []
    for tls in (False, True):
        for connections in (1, 50, 500):
            for size in (256, 8192, 100_000, 1_000_000):
                wide = size == 256 or (connections == 50 and size != 1_000_000)
                peers = WIDE if wide and not tls else CORE
                if size == 256:
                    peers = (*peers, *LOOPS)
                if size == 256 and not tls:
                    peers = (*peers, *COMPILED)
                if peers[: len(WIDE)] == WIDE and size == 256:
                    peers = (*peers, *COROUTINES)
                plural = "" if connections == 1 else "s"
                scenarios.append(
                    Scenario(
                        name=f"echo-server-{connections}-{label_of(size)}{'-tls' if tls else ''}",
                        title=(
                            f"Echo server, {connections} connection{plural}, "
                            f"{text_of(size)}{', TLS' if tls else ''}"
                        ),
                        subject=SERVER,
                        server_role="echo",
                        client_role="echo",
                        judge=CLIENT,
                        peers=peers,
                        size=size,
                        connections=connections,
                        tls=tls,
                    )
                )
    return scenarios


def _streams() -> List[Scenario]:
    scenarios = []
    for size in (64, 256):
        wide = WIDE if size == 64 else CORE
        for subject in (CLIENT, SERVER):
            inward = (*wide, *COMPILED, *BATCH, *(LOOPS if size == 64 else ()))
            scenarios.append(
                Scenario(
                    name=f"inbound-{subject}-{size}",
                    title=f"Inbound stream into a {subject}, {size} B",
                    subject=subject,
                    server_role="source" if subject == CLIENT else "sink",
                    client_role="sink" if subject == CLIENT else "source",
                    judge=subject,
                    peers=inward,
                    size=size,
                )
            )
            scenarios += [
                Scenario(
                    name=f"outbound-{subject}-{size}-{'cork' if cork else 'plain'}",
                    title=(
                        f"Outbound stream from a {subject}, {size} B, a loop of send"
                        f"{' inside cork()' if cork else ''}"
                    ),
                    subject=subject,
                    server_role="sink" if subject == CLIENT else "source",
                    client_role="source" if subject == CLIENT else "sink",
                    judge=SERVER if subject == CLIENT else CLIENT,
                    peers=(*wide, *(BATCH if cork else ())),
                    size=size,
                    cork=cork,
                )
                for cork in (True, False)
            ]
    return scenarios


def _coroutines() -> List[Scenario]:
    return [
        Scenario(
            name="inbound-client-100",
            title="Inbound stream into a client, 100 B, by async for where there is one",
            subject=CLIENT,
            server_role="source",
            client_role="sink",
            judge=CLIENT,
            peers=(*CORE, *BATCH, *COROUTINES, "ours-many", "websockets", "aiohttp"),
            size=100,
        )
    ]


def _compressed() -> List[Scenario]:
    scenarios = []
    for size in (262, 4096):
        for subject in (CLIENT, SERVER):
            for inward in (True, False):
                # A server is the source of what arrives at a client, and a sink of what it sends.
                is_source = inward == (subject == CLIENT)
                other = SERVER if subject == CLIENT else CLIENT
                scenarios.append(
                    Scenario(
                        name=f"deflate-{'in' if inward else 'out'}-{subject}-{label_of(size)}",
                        title=(
                            f"Compressed stream {'into' if inward else 'out of'} a {subject}, "
                            f"JSON of {text_of(size)}"
                        ),
                        subject=subject,
                        server_role="source" if is_source else "sink",
                        client_role="sink" if is_source else "source",
                        judge=subject if inward else other,
                        peers=(*DEFLATING, *ENGINES),
                        size=size,
                        json=True,
                        deflate=True,
                        by_cpu=True,
                        unit="messages/s of CPU",
                    )
                )
    return scenarios


def _asgi() -> List[Scenario]:
    return [
        Scenario(
            name=f"asgi-{application}-50-256",
            title=f"ASGI echo server, {title}, 50 connections, 256 B of text",
            subject=SERVER,
            server_role="echo",
            client_role="echo",
            judge=CLIENT,
            peers=peers,
            connections=50,
            json=True,
        )
        for application, title, peers in (
            ("plain", "a plain application", ("uvicorn", "uvicorn-ours", "granian", "asgi")),
            (
                "fastapi",
                "receive_text and send_text of FastAPI",
                ("uvicorn-fastapi", "uvicorn-ours-fastapi", "asgi-fastapi"),
            ),
        )
    ]


def _others() -> List[Scenario]:
    pipelined = [
        Scenario(
            name=f"pipelined-{subject}-{connections}-256",
            title=(
                f"Pipelined echo {subject}, 100 messages of 256 B in flight on "
                f"{connections} connection{'' if connections == 1 else 's'}"
            ),
            subject=subject,
            server_role="echo",
            client_role="echo",
            judge=CLIENT,
            peers=WIDE if connections == 1 else CORE,
            connections=connections,
            window=100,
        )
        for subject, connections in ((CLIENT, 1), (SERVER, 1), (SERVER, 50))
    ]
    lives = [peer for peer in WIDE if peer not in {"beast", "picows-0.2"}]
    broadcast = Scenario(
        name="broadcast-1000-256",
        title="Broadcast of 256 B to 1,000 connections",
        subject=SERVER,
        server_role="broadcast",
        client_role="broadcast",
        judge=CLIENT,
        peers=(*lives, *BATCH),
        connections=1000,
        unit="deliveries/s",
    )
    compressed = Scenario(
        name="broadcast-1000-256-deflate",
        title="Compressed broadcast of JSON of 256 B to 1,000 connections",
        subject=SERVER,
        server_role="broadcast",
        client_role="broadcast",
        judge=CLIENT,
        peers=(*BATCH, "ours-batch-plain", "websockets", "aiohttp"),
        connections=1000,
        json=True,
        deflate=True,
        by_cpu=True,
        unit="deliveries/s of CPU",
    )
    churn = [
        Scenario(
            name=f"connections-{subject}",
            title=f"Connections opened, upgraded and closed by a {subject}, 16 at a time",
            subject=subject,
            server_role="echo",
            client_role="churn",
            judge=CLIENT,
            peers=(*lives, *LOOPS),
            connections=16,
            unit="connections/s",
        )
        for subject in (CLIENT, SERVER)
    ]
    churn += [
        Scenario(
            name=f"connections-{subject}-tls{'-resumed' if resume else ''}",
            title=(
                f"Connections over TLS opened, upgraded and closed by a {subject}, 16 at a time, "
                f"{'sessions resumed' if resume else 'full handshakes'}"
            ),
            subject=subject,
            server_role="echo",
            client_role="churn",
            judge=CLIENT,
            peers=(*lives, *LOOPS),
            connections=16,
            tls=True,
            resume=resume,
            unit="connections/s",
        )
        for subject, resume in ((CLIENT, False), (SERVER, False), (SERVER, True))
    ]
    memory = [
        Scenario(
            name=f"memory-{subject}{'-tls' if tls else ''}",
            title=f"Resident memory of a {subject} per idle{' TLS' if tls else ''} connection",
            subject=subject,
            server_role="echo",
            client_role="idle",
            judge="memory",
            peers=(*lives, *(COROUTINES if subject == SERVER and not tls else ())),
            connections=5000,
            tls=tls,
            unit="bytes/connection",
        )
        for subject in (SERVER, CLIENT)
        for tls in (False, True)
    ]
    tail = [
        Scenario(
            name=f"tail-{rate}",
            title=f"Latency of echoes of 256 B at {rate:,} messages a second, 99th percentile",
            subject=CLIENT,
            server_role="echo",
            client_role="tail",
            judge=CLIENT,
            peers=(*CORE, "ours-busy", "websockets", "aiohttp"),
            rate=rate,
            unit="us",
        )
        for rate in (1000, 10_000)
    ]
    return [*pipelined, *tail, broadcast, compressed, *churn, *memory]


SCENARIOS: Dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in [
        *_echo_clients(),
        *_echo_servers(),
        *_streams(),
        *_coroutines(),
        *_compressed(),
        *_asgi(),
        *_others(),
    ]
}


def choose_scenarios(patterns: Sequence[str]) -> List[Scenario]:
    """Return the scenarios whose names match one of the patterns (``*`` and ``?``), in order.

    Raises ValueError for a pattern that matches nothing.
    """
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in SCENARIOS):
            raise ValueError(f"no scenario is called {pattern!r}")
    return [
        scenario
        for name, scenario in SCENARIOS.items()
        if not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)
    ]
