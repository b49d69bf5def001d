"""One soak of a service: clients, a watcher, and what is done to the service."""

from __future__ import annotations

import asyncio
import signal
from itertools import count
from pathlib import Path
from typing import Any, Callable, Dict, List, Set, TypeVar

from bench.service import Service
from bench.soak.messages import Tally
from bench.soak.service.application import JOURNAL
from bench.soak.service.clients import Client
from bench.soak.service.journal import Journal, Record
from bench.soak.service.memory import Series
from picows_client import (
    WSBackoff,
    WSConnectionClosed,
    WSLink,
    WSLinkState,
    WSUpgradeRequest,
    WSUpgradeResponse,
    ws_keep_connected,
)

__all__ = ["ServiceSoak"]

T = TypeVar("T")

WORKERS = 2
# Seconds
DRAIN_TIMEOUT = 120.0
CLOSE_TIMEOUT = 60.0  # a paused reader sees the CLOSE late, and processors may be busy
PATIENCE = 180.0
OPENED_PER_SECOND = 400
MOST_SPREAD = 20.0
REPORTS = 120  # in the whole run
LONG_RUN = 1800.0  # from here on memory is checked
GROWTH = 0.15  # from the second quarter to the last


class ServiceSoak:
    """One run."""

    def __init__(
        self, connections: int, seconds: float, period: float, folder: Path, tally: Tally
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.connections = connections
        self.seconds = seconds
        self.period = period
        self.tally = tally
        self.series = Series()
        self.events: List[Dict[str, Any]] = []
        self.journal = Journal(folder / "journal", tally)
        self.spread = min(MOST_SPREAD, period / 15)
        self.service = Service(
            "bench.soak.service.application:new_listener",
            WORKERS,
            folder / "log",
            options=(
                *("--drain-grace", "0.5", "--drain-spread", str(self.spread)),
                *("--drain-timeout", str(DRAIN_TIMEOUT)),
                *("--option", f"close_timeout={CLOSE_TIMEOUT}", "--option", "backlog=4096"),
            ),
            environment={JOURNAL: str(folder / "journal")},
        )
        self.numbers = count(1)
        self.clients: Set[Client] = set()
        self.is_quiet = False
        self.is_stopped = False  # the service, for now
        self.over = asyncio.Event()
        self.started = 0.0

    async def run(self) -> None:
        """Run it all; ``tally``, ``series`` and ``events`` have the outcome."""
        with self.service as service:
            service.start()
            await self.in_thread(service.wait_ready)
            self.started = self.loop.time()
            links = [self.loop.create_task(self.keep(index)) for index in range(self.connections)]
            watcher = self.loop.create_task(self.watch())
            await self.disturb()
            self.is_quiet = True
            await self.wait_until(self.is_complete, "messages are missing at the end")
            self.over.set()
            done, pending = await asyncio.wait(links, timeout=PATIENCE)
            self.tally.check(not pending, "links that do not end:", len(pending))
            for task in done:
                self.tally.check(task.exception() is None, "link failed:", repr(task.exception()))
            for task in (*pending, watcher):
                task.cancel()
            await asyncio.wait((*links, watcher))
            await self.stop()
            self.tally.check(not self.clients, "connections left:", len(self.clients))
        self.journal.finish()
        for line in service.log.splitlines():
            is_bad = any(word in line for word in (" WARNING ", " ERROR ", "Traceback"))
            self.tally.check(not is_bad, "the service logs:", line)

    # The clients

    async def keep(self, index: int) -> None:
        """Keep one link until the end."""
        await asyncio.sleep(index / OPENED_PER_SECOND)
        link: WSLink[Client] = ws_keep_connected(
            lambda: f"{self.service.url}/{next(self.numbers)}",
            self.new_client,
            backoff=WSBackoff(longest=5.0, stable_after=1.0),
            on_change=self.link_changed,
            close_timeout=CLOSE_TIMEOUT,
            websocket_handshake_timeout=CLOSE_TIMEOUT,
        )
        async with link:
            await self.over.wait()

    def new_client(self, request: WSUpgradeRequest, _: WSUpgradeResponse) -> Client:
        """The listener of the connection whose number is the path."""
        return Client(int(request.path[1:]), self)

    def link_changed(self, link: WSLink[Client]) -> None:
        """Note attempts that fail: they may while the service is stopped."""
        error = link.last_error
        if link.state is not WSLinkState.WAITING or isinstance(error, WSConnectionClosed):
            return
        name = type(error).__name__
        self.tally.counts["attempts that failed"] += 1
        self.tally.check(self.is_stopped, f"no connection while the service runs: {name}:", error)

    def opened(self, client: Client) -> None:
        """A connection is open."""
        self.clients.add(client)
        self.tally.counts["connections"] += 1

    def ended(self, client: Client, kind: str) -> None:
        """A connection has ended."""
        self.clients.discard(client)
        self.journal.note(
            client.number, Record(client.received, client.sent, 0, kind, client.unanswered)
        )

    def is_complete(self) -> bool:
        """Whether every connection is there and has got everything."""
        is_full = len(self.clients) == self.connections
        return is_full and all(client.is_complete for client in self.clients)

    # The service

    async def disturb(self) -> None:
        """In each period, replace the workers, then drain the service and start it again."""
        half = self.period / 2
        end = self.started + self.seconds
        for step in count(1):
            due = self.started + step * half
            if due > end:
                break
            await asyncio.sleep(max(0.0, due - self.loop.time()))
            action = self.replace_workers if step % 2 else self.drain_and_start
            await self.timed(action)
        await asyncio.sleep(max(0.0, end - self.loop.time()))

    async def timed(self, action: Callable[[], Any]) -> None:
        """Do something to the service and note how long it took."""
        start, before = self.loop.time(), self.tally.counts["connections"]
        await action()
        await self.wait_until(
            lambda: len(self.clients) > 0.98 * self.connections, "clients did not come back"
        )
        self.events.append(
            {
                "what": action.__name__,
                "at": round(start - self.started, 1),
                "seconds": round(self.loop.time() - start, 1),
                "opened": self.tally.counts["connections"] - before,
            }
        )
        print(self.events[-1], flush=True)

    async def replace_workers(self) -> None:
        """A rolling restart."""
        old = await self.in_thread(self.service.wait_ready)
        self.service.send(signal.SIGHUP)
        timeout = WORKERS * (DRAIN_TIMEOUT + PATIENCE)
        await self.in_thread(lambda: self.service.wait_ready(old, timeout))

    async def drain_and_start(self) -> None:
        """The service ends and is started again."""
        await self.stop()
        self.service.start()
        await self.in_thread(self.service.wait_ready)
        self.is_stopped = False

    async def stop(self) -> None:
        """Drain the service: it must exit with 0, and leave nothing."""
        self.is_stopped = True
        self.service.send(signal.SIGTERM)
        status = await self.in_thread(lambda: self.service.wait_status(DRAIN_TIMEOUT + PATIENCE))
        self.tally.check(status == 0, "the service exits with", status)
        await self.wait_until(lambda: not self.service.processes(), "processes are left")

    # Watching

    async def watch(self) -> None:
        """Sample memory, compare records, and print the progress."""
        pause = max(0.5, self.seconds / REPORTS)
        told = 0
        while True:
            await asyncio.sleep(pause)
            self.journal.compare()
            now = self.loop.time() - self.started
            self.series.add(now, self.service, len(self.clients))
            latest = self.series.samples[-1]
            print(
                f"{now:7.0f} s {len(self.clients):6,} open"
                f" {self.tally.counts['connections']:9,} opened"
                f" {self.tally.counts['messages']:11,} messages"
                f" {latest.clients_mb:6.0f} MB clients {latest.supervisor_mb:4.0f} supervisor"
                f" {latest.workers_mb:5.0f} in {latest.workers} workers"
                f" {len(self.tally.violations)} violations",
                flush=True,
            )
            for violation in self.tally.violations[told : told + 20]:
                print(f"VIOLATION  {violation}", flush=True)
            told = len(self.tally.violations)

    def check_memory(self) -> None:
        """After a long run: memory has not grown."""
        if self.seconds < LONG_RUN:
            return
        for name, found in self.series.figures().items():
            self.tally.check(found["growth"] < GROWTH, f"{name} has grown by", found["growth"])

    async def wait_until(self, condition: Callable[[], object], message: str) -> None:
        """Wait for a condition; a violation if it is not met."""
        deadline = self.loop.time() + PATIENCE
        while not condition() and self.loop.time() < deadline:
            await asyncio.sleep(0.05)
        self.tally.check(condition(), message)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Wait without holding up the clients."""
        return await self.loop.run_in_executor(None, work)
