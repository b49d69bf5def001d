"""One measurement with engines: engines, gateway, publisher and subscribers, and their results."""

from __future__ import annotations

import os
import random
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Tuple

from bench.backplane.cases import Case
from bench.backplane.engines import Engine
from bench.backplane.gateways import Gateway
from bench.backplane.results import EngineSample
from bench.peers.install import Installed, python_environment
from bench.processes import Failed, Process
from bench.quiet import Limits, Observer

__all__ = ["EngineBench", "EngineSettings", "write_tails"]

START_TIMEOUT = 120.0  # seconds for a gateway or publisher to be ready
MARGIN = 120.0  # seconds beyond the measured ones before a process is given up
PAGE = 4096  # bytes
SIZE = 128  # characters of a message
HEAD = 19  # of them are its numbers
TAILS = 97  # texts that follow the numbers


@dataclass(frozen=True)
class EngineSettings:
    """How to measure."""

    seconds: float = 1.0  # that are counted
    latency_seconds: float = 2.0  # of cases with a rate
    warmup: float = 0.3  # seconds before them
    gateway_core: int = 0
    other_core: int = 1  # of engines, publisher and subscribers
    retries: int = 1  # of a disturbed measurement
    limits: Limits = field(default_factory=Limits)


def write_tails(folder: Path) -> Path:
    """Write what follows the numbers of messages: quotes of a market, as plain text."""
    source = random.Random(SIZE)
    texts = []
    for _ in range(TAILS):
        text = ""
        while len(text) < SIZE - HEAD:
            price = source.uniform(60000, 61000)
            text += f"BTC-USD bid {price:.2f} {source.random():.5f} ask {price + 1:.2f} "
        texts.append(text[: SIZE - HEAD])
    file = folder / f"tails-{SIZE}"
    file.write_text("".join(texts), encoding="ascii")
    return file


class EngineBench:
    """Runs measurements with the gateways that are installed; ``installed`` is by their names."""

    def __init__(
        self,
        work: Path,
        installed: Dict[str, Installed],
        subscribers: Path,
        observer: Observer,
        settings: EngineSettings,
    ) -> None:
        self._work = work
        self._installed = installed
        self._subscribers = subscribers
        self._observer = observer
        self._settings = settings
        self._logs = work / "logs"
        self._logs.mkdir(exist_ok=True)
        self._tails = write_tails(work)

    def can_play(self, gateway: Gateway) -> bool:
        """Whether the gateway is there."""
        return gateway.name in self._installed

    def measure(self, case: Case, gateway: Gateway) -> EngineSample:
        """Measure once, or several times if other load disturbs; then the quietest sample counts.

        Raises Failed if a process does not do what it should.
        """
        attempts: List[EngineSample] = []
        while True:
            attempts.append(self._sample(case, gateway))
            if not attempts[-1].reasons or len(attempts) > self._settings.retries:
                best = min(attempts, key=lambda one: (bool(one.reasons), one.disturbance))
                best.repeats = len(attempts) - 1
                return best

    def _sample(self, case: Case, gateway: Gateway) -> EngineSample:
        self._observer.begin()
        result, processes = self._run(case, gateway)
        seen = self._observer.end(sum(process.usage.cpu for process in processes))
        if not result["count"]:
            raise Failed(f"{gateway.name} moved nothing in {case.name}")
        messages = result["count"] / case.connections
        used, published, *engines = result["each_cpu"]
        counted = used + (published if case.with_publisher else 0.0)
        return EngineSample(
            value=result["p50_us"] if case.rate else result["count"] / counted,
            cpu_us=used / messages * 1e6,
            publisher_us=published / messages * 1e6,
            engine_us=sum(engines) / messages * 1e6,
            p50_us=result.get("p50_us"),
            p99_us=result.get("p99_us"),
            p999_us=result.get("p999_us"),
            max_us=result.get("max_us"),
            compression=result.get("compression"),
            reasons=seen.reasons(self._settings.limits),
            disturbance=seen.weight,
        )

    def _run(self, case: Case, gateway: Gateway) -> Tuple[Dict[str, Any], List[Process]]:
        """Return what the subscribers counted, and the processes."""
        settings = self._settings
        seconds = settings.latency_seconds if case.rate else settings.seconds
        engines: List[Engine] = []
        processes: List[Process] = []
        with ExitStack() as stack:
            for number in range(gateway.engines):
                log = self._logs / f"engine-{number}.log"
                engine = Engine(gateway.engine, self._work, settings.other_core, log)
                stack.callback(engine.end)
                engines.append(engine)
            words = [*gateway.options(), *(["--deflate"] if case.deflate else [])]
            for engine in engines:
                words += ["--url", engine.url]
            words += ["--topics", str(case.topics), "--burst", str(case.burst)]
            words += ["--size", str(SIZE), "--payloads", str(self._tails)]
            allowed, allowing = os.pipe()
            stack.callback(os.close, allowed)
            stack.callback(os.close, allowing)

            def start(command: List[str], core: int, name: str, **options: Any) -> Process:
                installed = self._installed[gateway.name]
                # The size of the environment moves what is allocated after it.
                padding = "x" * random.randrange(PAGE)
                environment = {**installed.environment, "BENCH_PADDING": padding}
                log = self._logs / f"{name}.log"
                process = Process(
                    command, core, python_environment(self._work, environment), log, **options
                )
                stack.callback(process.end_now)
                processes.append(process)
                return process

            installed = self._installed[gateway.name]
            server = start([*installed.server, *words], settings.gateway_core, "gateway")
            port = server.read(START_TIMEOUT)["port"]
            publisher = start(
                [*installed.client, *words], settings.other_core, "publisher", stdin=allowed
            )
            publisher.read(START_TIMEOUT)
            command = [
                *(str(self._subscribers), "fan-out", "--port", str(port)),
                *("--connections", str(case.connections), "--topics", str(case.topics)),
                *("--window", str(case.window), "--burst", str(case.burst)),
                *("--seconds", str(seconds), "--warmup", str(settings.warmup)),
                *("--credits", str(allowing), *gateway.client_options()),
            ]
            if case.rate:
                command += ["--rate", str(case.rate)]
            if case.deflate:
                command += ["--deflate", "1"]
            for process in (server, publisher, *(engine.process for engine in engines)):
                command += ["--watch", str(process.pid)]
            subscribers = start(command, settings.other_core, "subscribers", inherited=[allowing])
            result = subscribers.read(seconds + settings.warmup + MARGIN)
        return result, [*processes, *(engine.process for engine in engines)]
