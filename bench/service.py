"""A service with workers (``python -m picows_server``) as real processes, for benches (Linux)."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Dict, List, Optional, Sequence, Type
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener
from uuid import uuid4

__all__ = ["Service", "descriptors_of", "free_port", "resident_of"]

ROOT = Path(__file__).resolve().parents[1]
START_TIMEOUT = 120.0  # seconds: other programs may use the processors
POLL = 0.05
ADMIN_TIMEOUT = 10.0


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def resident_of(pid: int) -> int:
    """Return the resident memory of a process in bytes, or 0 if it is gone."""
    try:
        text = Path(f"/proc/{pid}/statm").read_text(encoding="ascii")
    except OSError:
        return 0
    return int(text.split()[1]) * os.sysconf("SC_PAGESIZE")


def descriptors_of(pid: int) -> int:
    """Return how many descriptors a process has open, or 0 if it is gone."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


class Service:
    """A supervisor and its workers, which are found by a variable of their environment.

    The ports stay the same when it is started again. Leaving the context kills what is left.
    """

    def __init__(
        self,
        application: str,
        workers: int,
        log: Path,
        *,
        options: Sequence[str] = (),
        environment: Optional[Dict[str, str]] = None,
    ) -> None:
        self.workers = workers
        self.url = f"ws://127.0.0.1:{free_port()}"
        self._admin = f"http://127.0.0.1:{free_port()}"
        self._log = log
        self._command = [
            *(sys.executable, "-m", "picows_server", application),
            *("--url", self.url, "--workers", str(workers), "--admin-url", self._admin),
            *("--log-level", "info", *options),
        ]
        self._mark = f"BENCH_SERVICE={uuid4().hex}"
        name, _, value = self._mark.partition("=")
        self._environment = {**os.environ, **(environment or {}), name: value}
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._opener = build_opener(ProxyHandler({}))

    @property
    def pid(self) -> int:
        """Of the supervisor."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """Everything that its processes have written."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def start(self) -> None:
        """Start it; does not wait until it is ready."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=str(ROOT),
                env=self._environment,
                start_new_session=True,
            )

    def list_workers(self) -> List[Dict[str, Any]]:
        """Return what the admin page says of every worker, or nothing while it does not."""
        try:
            with self._opener.open(f"{self._admin}/workers", timeout=ADMIN_TIMEOUT) as response:
                slots = json.loads(response.read())["slots"]
        except (URLError, ConnectionError, TimeoutError):
            return []
        return [worker for slot in slots for worker in slot["workers"]]

    def ready_pids(self) -> List[int]:
        """Return the pids of the workers if all are ready and no other one is left."""
        found = self.list_workers()
        ready = [worker["pid"] for worker in found if worker["state"] == "ready"]
        return ready if len(ready) == len(found) == self.workers else []

    def wait_ready(self, without: Sequence[int] = (), timeout: float = START_TIMEOUT) -> List[int]:
        """Wait until all workers are ready, none of them one of these; return their pids."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            pids = self.ready_pids()
            if pids and not {*pids} & {*without}:
                return pids
            if self._process is None or self._process.poll() is not None:
                break
            time.sleep(POLL)
        raise TimeoutError(f"the service is not ready: {self.log[-2000:]}")

    def send(self, number: int) -> None:
        """Send a signal to the supervisor."""
        os.kill(self.pid, number)

    def wait_status(self, timeout: float) -> int:
        """Wait for the supervisor's end; return its exit status."""
        assert self._process is not None
        return self._process.wait(timeout)

    def processes(self) -> List[int]:
        """Return the pids of all its processes, also of earlier starts."""
        found = []
        mark = self._mark.encode()
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                environment = Path(f"/proc/{name}/environ").read_bytes()  # empty: a zombie's
            except OSError:
                continue
            if mark in environment.split(b"\0"):
                found.append(int(name))
        return found

    def __enter__(self) -> Service:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if self._process is not None:
            self._process.wait()
