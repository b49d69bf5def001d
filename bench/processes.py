"""Processes on chosen cores that print lines of JSON."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Dict, List, Mapping, Optional, Sequence, Type

__all__ = ["Failed", "Process", "Usage", "allow_many_files"]

STOP_TIMEOUT = 5.0  # seconds that a process has to end once its standard input is closed


class Failed(Exception):
    """A process has ended, or printed nothing in time."""


@dataclass(frozen=True)
class Usage:
    """What the system has charged to a process."""

    cpu: float = 0.0  # seconds


class Process:
    """A running process; leaving the context stops it.

    ``stdin``: a descriptor in place of a pipe from here; ``inherited``: others that it keeps.
    """

    def __init__(
        self,
        command: List[str],
        core: int,
        environment: Optional[Mapping[str, str]],
        log: Path,
        stop_timeout: float = STOP_TIMEOUT,
        *,
        stdin: int = subprocess.PIPE,
        inherited: Sequence[int] = (),
    ) -> None:
        self._command = command
        self._log = log
        self._stop_timeout = stop_timeout
        self._buffer = b""
        self.usage = Usage()
        own_cores = os.sched_getaffinity(0)
        # A child inherits the cores of the thread that starts it; no code runs in between.
        os.sched_setaffinity(0, {core})
        try:
            with log.open("wb") as errors:
                self._process = subprocess.Popen(
                    command,
                    env=dict(environment) if environment is not None else None,
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    bufsize=0,
                    pass_fds=tuple(inherited),
                )
        finally:
            os.sched_setaffinity(0, own_cores)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def read(self, timeout: float) -> Dict[str, Any]:
        """Return the next line. Raises Failed after ``timeout`` seconds, or if there is none."""
        stream = self._process.stdout
        if stream is None:
            raise Failed("the process has no output")
        deadline = time.monotonic() + timeout
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([stream], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(stream.fileno(), 65536) if ready else b""
            if not chunk:
                what = "ended" if ready else f"said nothing for {timeout:g} s"
                raise Failed(f"{self._words()} {what}: {self._last_words()}")
            self._buffer += chunk
        line, self._buffer = self._buffer.split(b"\n", 1)
        value: Dict[str, Any] = json.loads(line)
        return value

    def write_line(self) -> None:
        """Tell the process to go on."""
        if self._process.stdin is not None:
            self._process.stdin.write(b"\n")

    def resident_bytes(self) -> int:
        """Return its resident memory, as exact as the kernel knows it."""
        with open(f"/proc/{self.pid}/smaps_rollup", encoding="ascii") as file:
            for line in file:
                if line.startswith("Rss:"):
                    return int(line.split()[1]) * 1024
        raise Failed(f"the memory of {self._words()} is unknown")

    def stop(self) -> None:
        """Close its standard input, wait, and kill it if it stays."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        deadline = time.monotonic() + self._stop_timeout
        killed = False
        while self._process.returncode is None:
            pid, status, used = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self._process.returncode = os.waitstatus_to_exitcode(status)
                self.usage = Usage(used.ru_utime + used.ru_stime)
            elif time.monotonic() > deadline and not killed:
                killed = True
                self._process.send_signal(signal.SIGKILL)
            else:
                time.sleep(0.002)

    def end_now(self) -> None:
        """Kill it: for a load that would go on for ever."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
        self.stop()

    def _words(self) -> str:
        return " ".join(Path(word).name if os.sep in word else word for word in self._command)

    def _last_words(self) -> str:
        text = self._log.read_text(encoding="utf-8", errors="replace").strip()
        return text[-600:] or "without output"

    def __enter__(self) -> Process:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        if kind is not None:
            self.end_now()
        else:
            self.stop()


def allow_many_files() -> int:
    """Raise the limit of open files as far as it goes; returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
