"""picows_server.running.service_manager: descriptors and datagrams of systemd's protocols.

``test_main.py`` has what a whole process does with them.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from pathlib import Path
from typing import Any, Dict, List

import pytest

from picows_codec.testing import FakeLoop
from picows_server import WSInvalidOptionError
from picows_server.running import service_manager
from picows_server.running.service_manager import ServiceManager, inherited_sockets
from tests.support.servers import quiet_logger

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Unix sockets")


def variables(count: int, **more: str) -> Dict[str, str]:
    return {"LISTEN_FDS": str(count), "LISTEN_PID": str(os.getpid()), "OTHER": "a", **more}


def first_descriptor(monkeypatch: pytest.MonkeyPatch, *descriptors: int) -> None:
    """Let the inherited ones be at these numbers, which follow one another."""
    start = 900
    for number, descriptor in enumerate(descriptors, start):
        os.dup2(descriptor, number)
    monkeypatch.setattr(service_manager, "_FIRST_DESCRIPTOR", start)


def test_sockets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "s"))
        unix.listen()
        first_descriptor(monkeypatch, tcp.fileno(), unix.fileno())
        environ = variables(2, LISTEN_FDNAMES="web:local")
        found = inherited_sockets(environ)
        assert environ == {"OTHER": "a"}
        assert found is not None
        assert [name for name, _ in found] == ["web", "local"]
        assert [sock.getsockname() for _, sock in found] == [tcp.getsockname(), unix.getsockname()]
        for _, sock in found:
            assert not sock.get_inheritable()
            sock.close()
        assert inherited_sockets(environ) is None


def test_sockets_without_names(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp:
        first_descriptor(monkeypatch, tcp.fileno())
        found = inherited_sockets(variables(1))
        assert found is not None
        ((name, sock),) = found
        assert name == "unknown"
        sock.close()


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_FDS": "1", "LISTEN_PID": "1"},
        {"LISTEN_FDS": "one", "LISTEN_PID": "1"},
        {"LISTEN_FDS": "", "LISTEN_PID": str(os.getpid())},
        {"LISTEN_PID": str(os.getpid())},
    ],
)
def test_for_somebody_else(environ: Dict[str, str]) -> None:
    before = dict(environ)
    assert inherited_sockets(environ) is None
    assert environ == before


@pytest.mark.parametrize("text", ["one", "-1", "²", "1 ", "9" * 5000])
def test_a_count_that_is_no_number(text: str) -> None:
    environ = {"LISTEN_FDS": text, "LISTEN_PID": str(os.getpid())}
    with pytest.raises(WSInvalidOptionError, match=f"LISTEN_FDS='{text}', .* from descriptor 3 on"):
        inherited_sockets(environ)


@pytest.mark.parametrize("count", [2, 10**19])
def test_a_count_that_is_too_large(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp:
        first_descriptor(monkeypatch, tcp.fileno())
        message = rf"descriptor 901 of LISTEN_FDS={count} \(unknown\) is no socket: .*LISTEN_PID"
        with pytest.raises(WSInvalidOptionError, match=message):
            inherited_sockets(variables(count, LISTEN_FDNAMES="web"))


def test_no_sockets() -> None:
    environ = variables(0)
    assert inherited_sockets(environ) is None
    assert environ == {"OTHER": "a"}


def test_what_does_not_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket() as idle, datagrams:
        for wrong in (idle, datagrams):
            first_descriptor(monkeypatch, tcp.fileno(), wrong.fileno())
            with pytest.raises(WSInvalidOptionError, match=r"901 of LISTEN_FDS=2 .*Accept=no"):
                inherited_sockets(variables(2))
    read, write = os.pipe()
    first_descriptor(monkeypatch, read)
    with pytest.raises(WSInvalidOptionError, match=r"\(web\) is no socket"):
        inherited_sockets(variables(1, LISTEN_FDNAMES="web"))
    for number in (read, write, 900):
        os.close(number)


class Listening:
    """What a service manager hears."""

    def __init__(self, path: Path) -> None:
        self.address = str(path / "notify")
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(self.address)
        self._sock.setblocking(False)

    def heard(self) -> List[str]:
        found = []
        while True:
            try:
                found.append(self._sock.recv(4096).decode())
            except BlockingIOError:
                return found

    def close(self) -> None:
        self._sock.close()


@pytest.fixture
def listening(tmp_path: Path) -> Any:
    found = Listening(tmp_path)
    yield found
    found.close()


def test_messages(listening: Listening) -> None:
    environ = {"NOTIFY_SOCKET": listening.address, "OTHER": "a"}
    manager = ServiceManager(quiet_logger(), environ)
    assert environ == {"OTHER": "a"}
    assert manager.is_there
    manager.ready("serving")
    manager.reloading()
    manager.ready()
    manager.stopping()
    ready, reloading, *rest = listening.heard()
    assert ready == "READY=1\nSTATUS=serving"
    assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert rest == ["READY=1", "STOPPING=1"]
    manager.close()


def test_watchdog(listening: Listening) -> None:
    loop: Any = FakeLoop()
    environ = {
        "NOTIFY_SOCKET": listening.address,
        "WATCHDOG_USEC": "4000000",
        "WATCHDOG_PID": str(os.getpid()),
    }
    manager = ServiceManager(quiet_logger(), environ)
    assert environ == {}
    manager.start_watchdog(loop)
    loop.advance(9)
    assert listening.heard() == ["WATCHDOG=1"] * 5
    manager.stop_watchdog()
    manager.stop_watchdog()
    loop.advance(9)
    assert listening.heard() == []
    manager.start_watchdog(loop)
    manager.close()
    manager.close()
    loop.advance(9)
    manager.ready()
    assert listening.heard() == ["WATCHDOG=1"]


@pytest.mark.parametrize(
    "more", [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "5", "WATCHDOG_PID": "1"}]
)
def test_no_watchdog(more: Dict[str, str], listening: Listening) -> None:
    loop: Any = FakeLoop()
    manager = ServiceManager(quiet_logger(), {"NOTIFY_SOCKET": listening.address, **more})
    manager.start_watchdog(loop)
    manager.close()
    assert loop.timers == []
    assert listening.heard() == []


@pytest.mark.parametrize("text", ["soon", "-5", "²", "9" * 5000])
def test_an_interval_that_is_no_number(text: str) -> None:
    with pytest.raises(WSInvalidOptionError, match=f"WATCHDOG_USEC='{text}', .* microseconds"):
        ServiceManager(quiet_logger(), {"WATCHDOG_USEC": text})
    ServiceManager(quiet_logger(), {"WATCHDOG_USEC": text, "WATCHDOG_PID": "1"})


def test_nobody_is_there() -> None:
    for environ in ({}, {"NOTIFY_SOCKET": ""}):
        manager = ServiceManager(quiet_logger(), environ)
        assert not manager.is_there
        manager.ready()
        loop: Any = FakeLoop()
        manager.start_watchdog(loop)
        assert loop.timers == []


def test_nobody_listens(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    environ = {"NOTIFY_SOCKET": str(tmp_path / "nothing")}
    manager = ServiceManager(logging.getLogger("picows.server"), environ)
    manager.stopping()
    manager.close()
    assert "the service manager was not told STOPPING=1" in caplog.text
