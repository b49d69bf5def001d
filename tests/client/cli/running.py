"""The program as a user runs it, and a server of ours for it, each a process of its own."""

from __future__ import annotations

import codecs
import contextlib
import os
import select
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

from tests.client.cli.screen import Screen

if sys.platform != "win32":
    import fcntl
    import pty
    import termios

__all__ = ["PYTHON", "Peer", "Terminal", "environment", "finished", "run_picows", "serving"]

TIMEOUT = 40.0  # seconds
PYTHON = (sys.executable, "-W", "always::ResourceWarning")
PICOWS = (*PYTHON, "-m", "picows_client")

Outcome = Tuple[int, str, str]


def environment(**more: str) -> Dict[str, str]:
    """This process's environment, without what changes how the program behaves."""
    hidden = ("TERM", "NO_COLOR", "INPUTRC", "PYTHONWARNINGS")
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in hidden and not name.lower().endswith("_proxy")
    }
    return {**kept, "PYTHONIOENCODING": "utf-8", "LC_ALL": "C.UTF-8", **more}


def default_signals() -> None:
    """A shell's background jobs ignore SIGINT, and with nohup SIGHUP; so would their children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def started(*arguments: str, command: Tuple[str, ...] = PICOWS, **options: Any) -> Any:
    """Start the program; by default all three streams are pipes."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    options = {**pipes, "env": environment(), "preexec_fn": default_signals, **options}
    return subprocess.Popen([*command, *arguments], **options)


def finished(process: Any, typed: bytes = b"") -> Outcome:
    """Give a process its input; returns its exit code, output and errors."""
    try:
        output, errors = process.communicate(typed, timeout=TIMEOUT)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    return process.returncode, (output or b"").decode(), (errors or b"").decode()


def run_picows(*arguments: str, typed: bytes = b"", **options: Any) -> Outcome:
    """Run the program to its end."""
    return finished(started(*arguments, **options), typed)


class Peer:
    """A running server; ``next_event`` has what it tells, in order."""

    def __init__(self, process: Any) -> None:
        self._process = process
        self.url = self.next_event()

    def next_event(self) -> str:
        line: str = self._process.stdout.readline().decode().rstrip("\n")
        return line

    def events(self, last: str) -> List[str]:
        """Return the events up to and with this one."""
        found = [self.next_event()]
        while found[-1] != last:
            assert found[-1], f"the server has ended: {found}"
            found.append(self.next_event())
        return found

    def forget_events(self) -> None:
        """Read what no test has asked for."""
        run_picows(f"{self.url}/mark", "-w", "0")
        self.events("connected /mark")
        self.events("closed 1000")

    def kill(self) -> None:
        self._process.kill()


@contextlib.contextmanager
def serving(*arguments: str) -> Iterator[Peer]:
    """Start ``server_program.py``."""
    program = str(Path(__file__).with_name("server_program.py"))
    root = str(Path(__file__).resolve().parents[3])
    process = started(
        program, *arguments, command=PYTHON, stderr=None, env=environment(PYTHONPATH=root)
    )
    try:
        yield Peer(process)
    finally:
        process.kill()
        process.communicate()


class Terminal:
    """The program on a terminal of its own. Leaving the context ends it."""

    def __init__(self, *arguments: str, columns: int = 80, **options: Any) -> None:
        self.screen = Screen(columns)
        self.raw = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))

        def own_terminal() -> None:
            default_signals()
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        streams = {"stdin": slave, "stdout": slave, "stderr": slave}
        options = {"env": environment(TERM="xterm"), **streams, **options}
        self.process = started(*arguments, preexec_fn=own_terminal, **options)
        self.before = termios.tcgetattr(self._master)
        self._slave = slave

    def type(self, text: str) -> None:
        """Type keys."""
        os.write(self._master, text.encode())

    def wait_for(self, condition: Callable[[List[str]], object]) -> List[str]:
        """Read until the lines on the screen are as they should be; returns them."""
        deadline = time.monotonic() + TIMEOUT
        while not condition(self.screen.lines):
            ready, _, _ = select.select([self._master], [], [], 0.05)
            if ready:
                self._take()
            elif time.monotonic() > deadline:
                raise AssertionError(f"not on the screen: {self.screen.lines} ({self.raw!r})")
        return self.screen.lines

    def _take(self) -> None:
        text = self._decoder.decode(os.read(self._master, 65536))
        self.raw += text
        self.screen.feed(text)

    def attributes(self) -> Any:
        """The terminal's settings now."""
        return termios.tcgetattr(self._master)

    def finish(self) -> int:
        """Wait for the end of the program, and read the rest of what it wrote."""
        code: int = self.process.wait(TIMEOUT)
        while select.select([self._master], [], [], 0)[0]:
            self._take()
        return code

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        os.close(self._slave)
        os.close(self._master)
