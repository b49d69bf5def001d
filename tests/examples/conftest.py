"""Running the examples as a user does: as programs of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional

import pytest

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 40.0  # seconds


def _default_interrupt() -> None:
    # A shell's background jobs ignore SIGINT, and so would every child of theirs.
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Program:
    """A running program; leaving the context ends it."""

    def __init__(self, words: List[str], environment: Dict[str, str]) -> None:
        options: Dict[str, Any] = {}
        if sys.platform != "win32":
            options["preexec_fn"] = _default_interrupt
        self.process: subprocess.Popen[str] = subprocess.Popen(
            [sys.executable, "-u", *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            **options,
        )

    def read_line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)

    def finish(self, status: int = 0) -> List[str]:
        """Wait for its end; returns the lines that are left, and wants nothing on stderr."""
        output, errors = self.process.communicate(timeout=TIMEOUT)
        assert errors == ""
        assert self.process.returncode == status
        return output.splitlines()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


class Examples:
    """Starts programs with or without uvloop."""

    def __init__(self, environment: Dict[str, str]) -> None:
        self._environment = environment

    def start(self, path: Path, *arguments: str) -> Program:
        return Program([str(path), *arguments], self._environment)

    def run_module(self, name: str, *arguments: str) -> List[str]:
        """Run an example that is a package; ``python_path`` must lead to it."""
        with Program(["-m", name, *arguments], self._environment) as program:
            return program.finish()

    def run(self, name: str, *arguments: str) -> List[str]:
        """Run an example to its end; returns the lines that it prints."""
        with self.start(ROOT / "examples" / name, *arguments) as program:
            return program.finish()


@pytest.fixture
def python_path() -> Optional[Path]:
    """A directory that programs import from, too."""
    return None


@pytest.fixture
def examples(loop_kind: str, python_path: Optional[Path], tmp_path: Path) -> Examples:
    """Runs programs on uvloop, or with uvloop hidden from them."""
    directories = [str(python_path)] if python_path else []
    if loop_kind == "uvloop":
        pytest.importorskip("uvloop")
    else:
        (tmp_path / "uvloop.py").write_text("raise ImportError('not in this test')\n")
        directories.append(str(tmp_path))
    if "PYTHONPATH" in os.environ:
        directories.append(os.environ["PYTHONPATH"])
    # cryptography, which makes the certificates, announces the end of old Python versions.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(directories)}
    return Examples({**environment, "PYTHONWARNINGS": "ignore", "PYTHONIOENCODING": "utf-8"})
