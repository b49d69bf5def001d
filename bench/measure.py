"""One measurement: a server and a client on a core each, and their results."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import trustme

from bench.payloads import payload_options
from bench.peers.catalogue import C, Peer
from bench.peers.install import Installed, python_environment
from bench.processes import Failed, Process
from bench.quiet import Limits, Observer
from bench.results import Sample
from bench.scenarios import CLIENT, SERVER, Scenario

__all__ = ["Bench", "Certificates", "Settings"]

START_TIMEOUT = 20.0  # seconds for a process to start listening
MARGIN = 30.0  # seconds beyond the measured ones before a process is given up
IDLE_TIMEOUT = 180.0  # seconds for all idle connections to be opened
FIRST_IDLE = 100  # connections that are open before the memory is first looked at
PAGE = 4096  # bytes
SETTLE = 0.5  # seconds between the last message and a look at the memory
# If the subject sends, it knows its own CPU time, and the C program on the other side counts what
# arrives. That begins a little later, so that it never ends the connection in the subject's window.
SINK_DELAY = 0.1  # seconds


@dataclass(frozen=True)
class Settings:
    """How to measure."""

    seconds: float = 1.0  # that are counted
    warmup: float = 0.3  # seconds before them
    server_core: int = 0
    client_core: int = 1
    retries: int = 3  # of a disturbed measurement
    limits: Limits = field(default_factory=Limits)
    idle_connections: Optional[int] = None  # instead of the scenario's


class Certificates:
    """An authority and a certificate for 127.0.0.1, made for this run."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.ca = folder / "ca.pem"
        self.cert = folder / "cert.pem"
        self.key = folder / "key.pem"
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1", "localhost")
        authority.cert_pem.write_to_path(str(self.ca))
        issued.cert_chain_pems[0].write_to_path(str(self.cert))
        issued.private_key_pem.write_to_path(str(self.key))

    def options(self, side: str) -> List[str]:
        """Return the options of an adapter's command line."""
        if side == SERVER:
            return ["--cert", str(self.cert), "--key", str(self.key)]
        return ["--ca", str(self.ca)]


class Bench:
    """Runs measurements with the peers that are installed."""

    def __init__(
        self, work: Path, installed: Dict[str, Installed], observer: Observer, settings: Settings
    ) -> None:
        self._work = work
        self._installed = installed
        self._observer = observer
        self._settings = settings
        self._certificates = Certificates(work / "certificates")
        self._logs = work / "logs"
        self._logs.mkdir(exist_ok=True)

    def can_play(self, scenario: Scenario, peer: Peer) -> bool:
        """Whether the peer is there and has an adapter for its part."""
        installed = self._installed.get(peer.library.name)
        if installed is None:
            return False
        if scenario.deflate and not self._installed[C.library.name].deflate:
            return False
        if scenario.tls and not (installed.tls and self._installed[C.library.name].tls):
            return False
        role = scenario.client_role if scenario.subject == CLIENT else scenario.server_role
        return peer.can_play(scenario.subject, role)

    def measure(self, scenario: Scenario, peer: Peer) -> Sample:
        """Measure once, or several times if other load disturbs; then the quietest sample counts.

        Raises Failed if the peer does not do what it should.
        """
        if scenario.judge == "memory":
            # Other load takes time, not memory.
            return Sample(value=self._memory(scenario, peer))
        attempts: List[Sample] = []
        while True:
            attempts.append(self._rate(scenario, peer))
            if not attempts[-1].reasons or len(attempts) > self._settings.retries:
                best = min(attempts, key=lambda one: (bool(one.reasons), one.disturbance))
                best.repeats = len(attempts) - 1
                return best

    def _rate(self, scenario: Scenario, peer: Peer) -> Sample:
        self._observer.begin()
        counted, own, processes = self._run(scenario, peer)
        seen = self._observer.end(sum(process.usage.cpu for process in processes))
        if not counted["count"] or not own["count"]:
            raise Failed(f"{peer.name} moved nothing in {scenario.name}")
        return Sample(
            value=(
                counted["p99_us"]
                if scenario.rate
                else own["count"] / own["cpu"]
                if scenario.by_cpu
                else counted["count"] / counted["seconds"]
            ),
            cpu_us=own["cpu"] / own["count"] * 1e6,
            p50_us=counted.get("p50_us"),
            p99_us=counted.get("p99_us"),
            p999_us=counted.get("p999_us"),
            max_us=counted.get("max_us"),
            compression=counted.get("compression") if scenario.deflate else None,
            reasons=seen.reasons(self._settings.limits),
            disturbance=seen.weight,
        )

    def _run(
        self, scenario: Scenario, peer: Peer
    ) -> Tuple[Dict[str, Any], Dict[str, Any], List[Process]]:
        """Return what the judge counted, count and cpu of the subject, and both processes."""
        timeout = sum(self._times(scenario)) + MARGIN
        with self._start(scenario, peer, SERVER, []) as server:
            words = ["--port", str(server.read(START_TIMEOUT)["port"])]
            if scenario.subject == SERVER and scenario.judge == CLIENT:
                words += ["--watch", str(server.pid)]
            with self._start(scenario, peer, CLIENT, words) as client:
                if scenario.judge == CLIENT:
                    counted = client.read(timeout)
                    own = counted
                    if scenario.subject == SERVER:
                        own = {"count": counted["count"], "cpu": counted["watched_cpu"]}
                else:
                    counted = server.read(timeout)
                    own = counted if scenario.subject == SERVER else client.read(timeout)
                # A source would go on for as long as somebody reads.
                client.end_now()
        return counted, own, [server, client]

    def _times(self, scenario: Scenario) -> Tuple[float, float]:
        """Return the seconds of warm-up and window."""
        least = scenario.least_seconds
        return max(self._settings.warmup, least / 3), max(self._settings.seconds, least)

    def _memory(self, scenario: Scenario, peer: Peer) -> float:
        """Return the growth of the subject per connection, in bytes."""
        connections = self._settings.idle_connections or scenario.connections
        with self._start(scenario, peer, SERVER, []) as server:
            words = ["--port", str(server.read(START_TIMEOUT)["port"])]
            words += ["--first", str(FIRST_IDLE), "--connections", str(connections)]
            with self._start(scenario, peer, CLIENT, words) as client:
                sizes = []
                for _ in range(2):
                    client.read(IDLE_TIMEOUT)
                    time.sleep(SETTLE)
                    subject = client if scenario.subject == CLIENT else server
                    sizes.append(subject.resident_bytes())
                    client.write_line()
                client.end_now()
        return (sizes[1] - sizes[0]) / (connections - FIRST_IDLE)

    def _start(self, scenario: Scenario, peer: Peer, side: str, words: List[str]) -> Process:
        """Start the subject, or the C program on the other side."""
        settings = self._settings
        is_subject = scenario.subject == side
        player = peer if is_subject else C
        installed = self._installed[player.library.name]
        role = scenario.server_role if side == SERVER else scenario.client_role
        warmup, seconds = self._times(scenario)
        if role == "sink" and not is_subject:
            warmup += SINK_DELAY
        command = [
            *(installed.server if side == SERVER else installed.client),
            role,
            *("--size", str(scenario.size)),
            *("--seconds", str(seconds)),
            *("--warmup", str(warmup)),
            *words,
        ]
        if side == CLIENT and scenario.judge != "memory":
            command += ["--connections", str(scenario.connections)]
            command += ["--window", str(scenario.window)]
            command += ["--rate", str(scenario.rate)] if scenario.rate else []
        if scenario.tls:
            command += self._certificates.options(side)
        if scenario.resume and side == CLIENT:
            command += ["--resume", "1"]
        command += payload_options(self._work, scenario, peer, player)
        if player is C and role == "sink" and is_subject:
            command += ["--numbered", "1"]
        command += player.options()
        if scenario.cork and is_subject and player.has_cork:
            command.append("--cork")
        core = settings.server_core if side == SERVER else settings.client_core
        # The size of the environment moves what is allocated after it: with one size a client of
        # ours was a third slower in every round.
        padding = "x" * random.randrange(PAGE)
        environment = python_environment(
            self._work, {**installed.environment, "BENCH_PADDING": padding}
        )
        return Process(command, core, environment, self._logs / f"{side}.log")
