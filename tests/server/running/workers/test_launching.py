"""picows_server.running.workers.launching: a new process, and how it ended."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from picows_server.running.workers import launching
from picows_server.running.workers.launching import describe_status, launch
from tests.support.leaks import leaked_since, open_descriptors
from tests.support.services import eventually_true

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers need POSIX")


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0, "exit status 0"),
        (3, "exit status 3"),
        (-signal.SIGKILL, "SIGKILL"),
        (-99, "signal 99"),
    ],
)
def test_statuses(status: int, text: str) -> None:
    assert describe_status(status) == text


def test_a_process_with_a_session_and_descriptors_of_its_own() -> None:
    with socket.socket() as sock, socket.socket() as other:
        process, channel = launch(7, [sock])
        with process, channel:
            try:
                assert os.getsid(process.pid) == process.pid
                if sys.platform == "linux":
                    found = set(os.listdir(f"/proc/{process.pid}/fd"))
                    assert str(other.fileno()) not in found
                    words = Path(f"/proc/{process.pid}/cmdline")
                    eventually_true(lambda: b"picows-worker-7" in words.read_bytes())
            finally:
                channel.close()
        # It waits for its first message, which cannot come.
        assert process.returncode == 1


def test_flags_of_the_interpreter_are_for_workers_too() -> None:
    code = "from picows_server.running.workers.launching import _command;print(_command(0, 9))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore::FutureWarning", "-X", "dev", "-c", code],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    )
    assert "-Wignore::FutureWarning" in done.stdout
    assert "'dev'" in done.stdout


def test_nothing_is_left_if_there_can_be_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise OSError(errno.EAGAIN, "no more processes")

    monkeypatch.setattr(launching.subprocess, "Popen", fails)
    before = open_descriptors()
    with pytest.raises(OSError, match="no more processes"):
        launch(0, [])
    assert not leaked_since(before)
