"""picows_server.running.workers.worker: what a worker does before it serves, and its control."""

from __future__ import annotations

import pickle
import re
import signal
import socket
import subprocess
import sys
from typing import Any, Iterator, List, Optional, Tuple

import pytest

from picows_server.draining import DrainPlan
from picows_server.running.settings import RunSettings
from picows_server.running.workers.channel import receive_blocking, send_blocking
from picows_server.running.workers.launching import launch
from picows_server.running.workers.messages import (
    Abort,
    Drain,
    Failed,
    Heartbeat,
    Leaving,
    Ready,
    StartWorker,
    StoppedAccepting,
)
from picows_server.running.workers.worker import _work
from tests.support.services import WorkerClient
from tests.support.worker_applications import failing_loop

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers need POSIX")

APPLICATION = "tests.support.worker_applications:Pid"
PLAN = DrainPlan(0, 0, 40)


class Worker:
    """A worker whose supervisor is the test."""

    def __init__(self) -> None:
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen()
        self.process, self.channel = launch(0, [self.sock])
        self.channel.settimeout(50)

    def start(self, settings: Any = None, main: Optional[Tuple[str, str]] = None) -> None:
        if settings is None:
            settings = RunSettings("ws://127.0.0.1:1", APPLICATION, drain=PLAN)
        data = settings if isinstance(settings, bytes) else pickle.dumps(settings)
        send_blocking(
            self.channel,
            StartWorker(0, (self.sock.fileno(),), 0.05, data, main, list(sys.path), ["program"]),
        )

    def send(self, message: object) -> None:
        send_blocking(self.channel, message)

    def receive(self, kind: Any) -> Any:
        """The next message of a kind; others are skipped."""
        while True:
            message = receive_blocking(self.channel)
            if isinstance(message, kind):
                return message
            assert not isinstance(message, Failed), message.reason

    def rest(self) -> List[Any]:
        messages: List[Any] = []
        try:
            while True:
                messages.append(receive_blocking(self.channel))
        except EOFError:
            return messages

    def status(self) -> int:
        return self.process.wait(50)


@pytest.fixture(name="worker")
def worker_fixture() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.process.kill()
    worker.process.wait()
    worker.channel.close()
    worker.sock.close()


def test_from_the_first_heartbeat_to_the_last(worker: Worker) -> None:
    worker.start()
    assert worker.receive(Heartbeat).connections == 0
    worker.receive(Ready)
    with WorkerClient(worker.sock.getsockname()) as client:
        assert client.pid == worker.process.pid
        while worker.receive(Heartbeat).connections != 1:
            pass
        worker.send(Drain(0.0, leaves_waiting=True))
        worker.receive(StoppedAccepting)
        assert client.read_close() == 1012
    last = worker.rest()[-1]
    assert isinstance(last, Heartbeat)
    assert last.connections == 0
    assert worker.status() == 0


def test_it_is_aborted(worker: Worker) -> None:
    worker.start()
    worker.receive(Ready)
    with WorkerClient(worker.sock.getsockname()) as client:
        worker.send(Abort())
        assert client.read_close() == 1012
    worker.rest()
    assert worker.status() == 0


def test_it_is_told_to_end_before_it_serves(worker: Worker) -> None:
    lifespan = "tests.support.worker_applications:endless_lifespan"
    worker.start(RunSettings("ws://127.0.0.1:1", APPLICATION, lifespan=lifespan))
    worker.receive(Heartbeat)
    worker.send(Abort())
    assert not [each for each in worker.rest() if isinstance(each, (Ready, Failed))]
    worker.status()


def test_its_supervisor_has_closed_the_pipe(worker: Worker) -> None:
    worker.start()
    worker.receive(Ready)
    worker.channel.close()
    assert worker.status() == 1


def test_signals_are_the_supervisors(worker: Worker) -> None:
    """Also when all of them are pending at once."""
    worker.start()
    worker.receive(Ready)
    worker.process.send_signal(signal.SIGSTOP)
    for name in ("SIGINT", "SIGHUP", "SIGTTIN", "SIGTTOU", "SIGTERM"):
        worker.process.send_signal(getattr(signal, name))
    worker.process.send_signal(signal.SIGCONT)
    worker.receive(Leaving)
    with WorkerClient(worker.sock.getsockname()) as client:
        assert client.pid == worker.process.pid


STACK_PROGRAM = """
import ctypes, signal, sys
from picows_server.running.workers.worker import _show_stack_on_sigquit

class Stack(ctypes.Structure):
    _fields_ = [("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]

def hang():
    signal.raise_signal(signal.SIGQUIT)

_show_stack_on_sigquit()
found = Stack()
ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found))
hang()
print(found.flags)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads a structure of Linux")
@pytest.mark.skipif(
    sys.version_info < (3, 9), reason="Python 3.8 gives every main thread such a stack"
)
def test_signals_are_handled_on_the_whole_stack_of_the_thread() -> None:
    """The alternate stack of faulthandler has no room for several at once."""
    program = [sys.executable, "-c", STACK_PROGRAM]
    ended = subprocess.run(program, capture_output=True, text=True, check=True)
    assert ended.stdout == "2\n"  # SS_DISABLE
    assert re.search("most recent call first.*in hang", ended.stderr, re.DOTALL)


@pytest.mark.parametrize(
    ("factory", "error"),
    [
        ("tests.support.worker_applications:Missing", "has no attribute 'Missing'"),
        ("tests.support.no_such_module:Missing", "no module 'tests.support.no_such_module'"),
    ],
)
def test_an_application_that_cannot_be_imported(worker: Worker, factory: str, error: str) -> None:
    worker.start(RunSettings("ws://127.0.0.1:1", factory))
    (failed,) = [each for each in worker.rest() if isinstance(each, Failed)]
    assert error in failed.reason
    assert worker.status() == 1


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"log_config": "/no/such/file"}, "No such file"),
        ({"loop": failing_loop}, "ValueError: no loop"),
    ],
)
def test_what_fails_before_there_is_a_loop(worker: Worker, settings: Any, error: str) -> None:
    worker.start(RunSettings("ws://127.0.0.1:1", APPLICATION, **settings))
    (failed,) = [each for each in worker.rest() if isinstance(each, Failed)]
    assert error in failed.reason
    assert worker.status() == 1


def test_settings_that_cannot_be_read(worker: Worker) -> None:
    worker.start(b"cno_such_module\nname\n.")
    (failed,) = [each for each in worker.rest() if isinstance(each, Failed)]
    assert "no_such_module" in failed.reason
    assert worker.status() == 1


def test_a_script_that_exits(worker: Worker, tmp_path: Any) -> None:
    script = tmp_path / "script.py"
    script.write_text("import sys\nsys.exit('not configured')\n", encoding="utf-8")
    worker.start(main=("path", str(script)))
    (failed,) = worker.rest()
    assert "SystemExit: not configured" in failed.reason
    assert worker.status() == 1


def test_a_first_message_that_it_does_not_know(worker: Worker) -> None:
    worker.send("hello")
    assert worker.status() == 1


def test_what_the_script_defines_for_itself_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setattr("picows_server.running.workers.worker.import_main_module", print)
    own, theirs = socket.socketpair()
    with own, theirs:
        settings = b"cos\nno_such_name\n."
        start = StartWorker(0, (), 1.0, settings, ("path", "chat.py"), list(sys.path), ["program"])
        assert _work(own, start) == 1
        failed: Any = receive_blocking(theirs)
        assert failed.reason.endswith('define what workers need above if __name__ == "__main__":')
        assert "no_such_name" in failed.reason
        assert "\n" not in failed.reason


@pytest.mark.parametrize(
    ("settings", "main", "error"),
    [
        (b"cno_such_module\nname\n.", None, "no_such_module"),
        (b"", ("name", "tests.no_such_script"), "no_such_script"),
    ],
)
def test_what_fails_is_said_in_full(
    monkeypatch: pytest.MonkeyPatch, settings: bytes, main: Any, error: str
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    own, theirs = socket.socketpair()
    with own, theirs:
        start = StartWorker(0, (), 1.0, settings, main, list(sys.path), ["program"])
        assert _work(own, start) == 1
        failed: Any = receive_blocking(theirs)
        assert error in failed.reason
        assert sys.argv == ["program"]
