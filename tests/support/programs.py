"""``python -m picows_server`` as a process of its own, with an application that a test writes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, Dict, List, Tuple

__all__ = ["PYTHON", "Program", "environment"]

TIMEOUT = 40.0  # seconds
PYTHON = (sys.executable, "-W", "always::ResourceWarning")

_HIDDEN = ("LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET", "WATCHDOG_USEC", "PYTHONWARNINGS")


def environment(**more: str) -> Dict[str, str]:
    """This process's environment, without what a service manager has told it."""
    kept = {name: value for name, value in os.environ.items() if name not in _HIDDEN}
    return {**kept, "LC_ALL": "C.UTF-8", **more}


def _default_signals() -> None:
    """A shell's background jobs ignore SIGINT, and so would their children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Program:
    """A running program, whose errors (its log) can be waited for. Leaving the context ends it."""

    def __init__(
        self,
        directory: Path,
        source: str,
        *arguments: str,
        command: Tuple[str, ...] = (*PYTHON, "-m", "picows_server"),
        **options: Any,
    ) -> None:
        (directory / "app.py").write_text(textwrap.dedent(source), encoding="utf-8")
        options = {"env": environment(), "preexec_fn": _default_signals, **options}
        self.process = subprocess.Popen(
            [*command, *arguments],
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,
        )
        self.log: List[str] = []

    def wait_for(self, text: str) -> str:
        """Return the next line of the log with this text."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line.decode())
            if text in self.log[-1]:
                return self.log[-1]
        raise AssertionError(f"the program has ended without {text!r}: {''.join(self.log)}")

    def wait_until_serving(self) -> Tuple[str, int]:
        """Return where clients connect to, when they can."""
        line = self.wait_for(": serving ")
        found = re.search(r"://([^:/]+):(\d+)", line)
        assert found, line
        return found[1], int(found[2])

    def send(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def finish(self) -> Tuple[int, str, str]:
        """Wait for the end; returns exit status, output, and all of the log."""
        try:
            output, errors = self.process.communicate(timeout=TIMEOUT)
        except BaseException:
            self.process.kill()
            self.process.communicate()
            raise
        return self.process.returncode, output.decode(), "".join(self.log) + errors.decode()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
