"""A supervisor and its workers as real processes, for tests."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple, TypeVar
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

__all__ = ["Service", "WorkerClient", "eventually_true", "is_alive"]

ROOT = Path(__file__).resolve().parents[2]

# Seconds. Long, because other tests run at the same time on few processors.
PATIENCE = 50.0

T = TypeVar("T")

# ``run`` with times that are shorter than a user's.
PROGRAM = """
import json, sys
from picows_server.draining import DrainPlan
from picows_server.running.settings import RunSettings, configure_logging
from picows_server.running.worker_settings import WorkerSettings
from picows_server.running.workers.supervise import supervise
from picows_server.running.workers.timing import Timing

{definitions}

if __name__ == "__main__":
    arguments = json.loads(sys.argv[1])
    factory = arguments.pop("factory")
    settings = RunSettings(
        arguments.pop("url"),
        globals().get(factory, factory),
        drain=DrainPlan(*arguments.pop("drain")),
        log_level="info",
        **arguments.pop("settings"),
    )
    configure_logging(settings)
    timing = Timing(**arguments.pop("timing"))
    sys.exit(supervise(settings, WorkerSettings(**arguments), timing))
"""


def eventually_true(condition: Callable[[], T], what: str = "") -> T:
    """Wait for a true value and return it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, what or condition
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Whether there is such a process that runs, or is stopped."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in ("Z", "X")


class Service:
    """A running supervisor: ``PROGRAM`` with the arguments, or a command of Python.

    Leaving its context kills what is left, by process id.
    """

    def __init__(
        self,
        folder: Path,
        factory: str = "tests.support.worker_applications:Obedient",
        *,
        workers: int = 2,
        url: str = "ws://127.0.0.1:0",
        definitions: str = "",
        environment: Optional[Dict[str, str]] = None,
        pass_fds: Sequence[int] = (),
        command: Sequence[str] = (),
        stdin: Any = subprocess.DEVNULL,
        **arguments: Any,
    ) -> None:
        self.log_file = folder / "log"
        program = folder / "program.py"
        program.write_text(PROGRAM.format(definitions=definitions), encoding="utf-8")
        arguments = {
            "admin_url": "http://127.0.0.1:0",
            "drain": (0, 0.2, 40),
            "settings": {},
            "timing": {},
            **arguments,
            "factory": factory,
            "url": url,
            "workers": workers,
        }
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *(command or (str(program), json.dumps(arguments)))],
                stdin=stdin,
                stdout=log,
                stderr=log,
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
                pass_fds=pass_fds,
                start_new_session=True,
            )
        self._opener = build_opener(ProxyHandler({}))

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        pids = self.started
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pid in pids:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)
        self.wait_gone(pids)

    # What it says

    @property
    def log(self) -> str:
        """Everything that it and its workers have written."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def wait_log(self, pattern: str, count: int = 1) -> List[str]:
        """Wait until the log has so many matches; return them."""

        def found() -> Optional[List[str]]:
            matches = [match.group(0) for match in re.finditer(pattern, self.log)]
            if len(matches) >= count:
                return matches
            assert self.process.poll() is None or "status" in pattern, self.log
            return None

        return eventually_true(found, f"{pattern} is not in the log")

    @property
    def started(self) -> Set[int]:
        """The process ids of all workers that ever were."""
        return {int(pid) for pid in re.findall(r"pid (\d+)\) started", self.log)}

    def wait_ready(self) -> Service:
        """Wait until all workers are ready."""
        self.wait_log("all workers are ready: .*")
        return self

    @property
    def address(self) -> Tuple[str, int]:
        """Where clients connect."""
        (line, *_) = self.wait_log("all workers are ready: .*")
        return "127.0.0.1", int(line.rpartition(":")[2])

    def admin(self, path: str) -> Tuple[int, str]:
        """Status and body of a page of the supervisor."""
        (line, *_) = self.wait_log(r"serving http://127\.0\.0\.1:\d+")
        url = f"http://127.0.0.1:{line.rpartition(':')[2]}{path}"
        try:
            with self._opener.open(url, timeout=PATIENCE) as response:
                return response.status, response.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except (URLError, ConnectionError):
            return 0, ""

    def workers(self) -> List[Dict[str, Any]]:
        """All processes, with their slots."""
        status, body = self.admin("/workers")
        if status != 200:
            return []
        slots = json.loads(body)["slots"]
        return [{**worker, "slot": slot["slot"]} for slot in slots for worker in slot["workers"]]

    def ready(self) -> Dict[int, int]:
        """Process ids of ready workers by slot."""
        found = self.workers()
        return {each["slot"]: each["pid"] for each in found if each["state"] == "ready"}

    def wait_for_ready(self, count: int, without: Any = ()) -> Dict[int, int]:
        """Wait until so many slots have ready workers, none of these, and no others are left."""

        def found() -> Dict[int, int]:
            ready = self.ready()
            is_right = len(ready) == count and not {*without} & {*ready.values()}
            return ready if is_right and len(self.workers()) == count else {}

        return eventually_true(found, f"{count} workers: {self.log}")

    # What is done to it

    def pid_of_new_client(self) -> int:
        """Connect, and return the process id of the worker that serves."""
        with WorkerClient(self.address) as client:
            return client.pid

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def wait_status(self) -> int:
        """Wait for the end; return the exit status."""
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(self.log) from None

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        self.send(signal.SIGTERM)
        return self.wait_status()

    @staticmethod
    def wait_gone(pids: Any) -> None:
        """Wait until none of these processes is left."""
        eventually_true(lambda: not any(is_alive(pid) for pid in pids), f"left: {pids}")


class WorkerClient:
    """A blocking WebSocket client, which is told by which process it is served."""

    def __init__(self, address: Any) -> None:
        family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
        self.sock = socket.socket(family)
        self.sock.settimeout(PATIENCE)
        self._file = self.sock.makefile("rb")
        try:
            self.sock.connect(address)
            self._open()
        except BaseException:
            self.__exit__()
            raise

    def _open(self) -> None:
        self.sock.sendall(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        status = self._file.readline()
        assert b" 101 " in status, status
        while self._file.readline().strip():
            pass
        #: The process that serves.
        self.pid = int(self.read()[1])

    def __enter__(self) -> WorkerClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.sock.close()

    def read(self) -> Tuple[int, bytes]:
        """Opcode and payload of the next frame."""
        first, size = self._file.read(2)
        assert size < 126
        return first & 15, self._file.read(size)

    def read_close(self) -> int:
        """Wait for a CLOSE frame, and answer it; returns the code."""
        opcode, payload = self.read()
        while opcode != 8:
            opcode, payload = self.read()
        self.sock.sendall(b"\x88\x82\0\0\0\0" + payload[:2])
        return int.from_bytes(payload[:2], "big")

    def send(self, text: bytes) -> None:
        self.sock.sendall(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)
