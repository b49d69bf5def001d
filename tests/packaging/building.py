"""Run pip outside the repository, in this environment or in a fresh one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from pathlib import Path
from typing import Dict, List, Optional

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("codec", "client", "server")
PROGRAMS = Path(__file__).parent / "programs"


def declared_version(name: str) -> str:
    """Return the version in a package's ``_version.py``, which holds nothing else."""
    path = ROOT / "packages" / f"picows-{name}" / "src" / f"picows_{name}" / "_version.py"
    match = re.fullmatch(r'__version__ = "([^"]+)"\n', path.read_text(encoding="utf-8"))
    assert match, f"{path} holds more or less than the version"
    return match[1]


def run(*command: str, environment: Optional[Dict[str, str]] = None, cwd: Path) -> str:
    """Run a command outside the repository and return its output; fail the test with it."""
    outcome = subprocess.run(
        command,
        cwd=str(cwd),
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    if outcome.returncode:
        pytest.fail(f"{' '.join(command)}\n{outcome.stdout}")
    return outcome.stdout


class FreshEnvironment:
    """A virtual environment that holds pip and what a test installs."""

    def __init__(self, path: Path) -> None:
        venv.create(str(path), with_pip=True)
        self._path = path
        scripts = "Scripts" if sys.platform == "win32" else "bin"
        self.python = str(path / scripts / ("python.exe" if sys.platform == "win32" else "python"))

    def pip_install(self, *arguments: str, environment: Optional[Dict[str, str]] = None) -> None:
        command = [self.python, "-m", "pip", "install", "--disable-pip-version-check", *arguments]
        run(*command, environment=environment, cwd=self._path)

    def run(self, program: str) -> str:
        return run(self.python, "-c", program, cwd=self._path)

    def distributions(self) -> List[str]:
        """Return the names of what is installed, without what an environment starts with."""
        listing = run(self.python, "-m", "pip", "freeze", cwd=self._path)
        return sorted(line.partition("=")[0].partition(" @")[0] for line in listing.splitlines())


def pip_wheel(source: str, target: Path, kind: str = "release") -> None:
    """Build a release wheel, whatever this environment is set to."""
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-cache-dir", "-w"]
    run(*command, str(target), source, environment={"PICOWS_BUILD": kind}, cwd=target)


def talk(server: str, server_program: str, client: str, client_program: str) -> str:
    """Run a server in one environment and a client in another; return what the client prints."""
    command = [server, str(PROGRAMS / server_program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            assert url.startswith("ws://"), "the server printed no address"
            return subprocess.run(
                [client, str(PROGRAMS / client_program), url],
                stdout=subprocess.PIPE,
                encoding="utf-8",
                timeout=60,
                check=True,
            ).stdout
        finally:
            process.kill()
