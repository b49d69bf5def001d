"""Real applications, each started once under uvicorn with our protocol."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, Iterator, List, Sequence

import pytest

from tests.applications.speakers import Speaker

HERE = Path(__file__).parent
STARTING = 60.0  # seconds
OLDEST_UVICORN = (0, 36)


def _accepts(address: str) -> bool:
    """With workers, or for reloading, the line comes before the socket listens."""
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port))).close()
    except ConnectionRefusedError:
        return False
    return True


def _command(name: str, front: str, options: Sequence[str]) -> List[str]:
    if front == "own":
        return [sys.executable, str(HERE / "own_server.py"), f"{name}_app"]
    return [
        *(sys.executable, "-m", "uvicorn", "--app-dir", str(HERE / "apps"), "--port", "0"),
        *("--ws", "picows_server.asgi:UvicornProtocol", f"{name}_app:app"),
        *options,
    ]


class Application:
    """One application in a process of its own."""

    def __init__(self, name: str, front: str, log: Path, *options: str) -> None:
        self.name = name
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                _command(name, front, options),
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        self.address = self._address()

    def _address(self) -> str:
        until = time.monotonic() + STARTING
        while time.monotonic() < until and self.process.poll() is None:
            found = re.search(r"running on http://(\S+)", self.log.read_text())
            if found is not None and _accepts(found[1]):
                return found[1]
            time.sleep(0.02)
        raise AssertionError(f"{self.name} did not start:\n{self.log.read_text()}")

    def wait_for_log(self, text: str) -> None:
        """Litestar's log is written by a thread."""
        until = time.monotonic() + STARTING
        while text not in self.log.read_text():
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.01)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


@pytest.fixture(scope="module")
def applications(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dict[str, Application]]:
    """Those that were started so far."""
    started: Dict[str, Application] = {}
    yield started
    for application in started.values():
        application.stop()


@pytest.fixture
def start(applications: Dict[str, Application], tmp_path_factory: pytest.TempPathFactory) -> object:
    """``start(name, *options)``: an application, which is started once with these options.

    The front end is uvicorn's or our own.
    """

    def start_one(name: str, *options: str, front: str = "uvicorn") -> Application:
        if os.environ.get("PICOWS_APPLICATIONS") != "all":  # where all of them must be there
            pytest.importorskip(name)
        if front == "uvicorn":
            uvicorn = pytest.importorskip("uvicorn")
            if tuple(map(int, uvicorn.__version__.split(".")[:2])) < OLDEST_UVICORN:
                pytest.skip("this uvicorn's --ws takes only its own protocols")
        key = " ".join([front, name, *options])
        if key not in applications:
            log = tmp_path_factory.mktemp(name) / "log"
            applications[key] = Application(name, front, log, *options)
        return applications[key]

    return start_one


@pytest.fixture
def speaker(request: pytest.FixtureRequest) -> Speaker:
    """A client by its name: the parameter of a test."""
    return Speaker(request.param)
