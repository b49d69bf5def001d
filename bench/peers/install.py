"""Installs the peers below a work directory: an environment of its own for each library.

A library that cannot be installed is left out, with the reason; only the C programs are required.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence

from bench.peers.catalogue import BEAST, NATIVE, NODE, PYTHON, Library

__all__ = ["Installation", "Installed", "NotAvailable", "Ours"]

BENCH = Path(__file__).resolve().parents[1]
ROOT = BENCH.parent
NATIVE_FLAGS = ["-std=gnu11", "-O3", "-march=native", "-Wall", "-Wextra"]
NATIVE_COMMON = (
    "frame",
    "handshake",
    "link",
    "conn",
    "window",
    "arguments",
    "payloads",
    "stream",
)
BEAST_FLAGS = ["-std=c++17", "-O3", "-march=native", "-w"]
TLS_LIBRARIES = ["-lssl", "-lcrypto"]
LISTENER_FLAGS = "-O3 -march=native"
# Libraries that a build in place can stand for.
IN_PLACE = ("ours", "backplane")


class NotAvailable(Exception):
    """A library cannot be installed on this machine; the message says why."""


@dataclass(frozen=True)
class Ours:
    """Where our own packages come from; by default wheels are built and installed.

    ``before``: a checkout of another state of the project, to be compared with.
    """

    python: Optional[Path] = None  # an interpreter that has them, or finds them on ``path``
    path: str = ""  # its PYTHONPATH
    before: Optional[Path] = None


@dataclass
class Installed:
    """How a library is started, and what it is."""

    server: List[str]
    client: List[str]
    environment: Dict[str, str]
    versions: Dict[str, str] = field(default_factory=dict)
    tls: bool = True
    deflate: bool = True


class Installation:
    """The work directory."""

    def __init__(self, work: Path, ours: Ours, *, renew: bool = False) -> None:
        self.work = work
        self._ours = ours
        self._renew = renew
        self._headers: Dict[str, bool] = {}
        work.mkdir(parents=True, exist_ok=True)
        # Two runs at a time would disturb each other, and share logs and extensions.
        self._lock = (work / "lock").open("w", encoding="ascii")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            sys.exit(f"another bench is running in {work}")

    def install(self, library: Library) -> Installed:
        """Install a library unless it is there. Raises NotAvailable."""
        ways = {
            PYTHON: self._install_python,
            NATIVE: self._install_native,
            BEAST: self._install_beast,
            NODE: self._install_node,
        }
        return ways[library.kind](library)

    # C and C++

    @property
    def has_tls(self) -> bool:
        """Whether the compiler finds OpenSSL's headers."""
        missing = "OpenSSL's headers are missing (package libssl-dev): no TLS in C and C++"
        return self._has_header("openssl/ssl.h", missing)

    @property
    def has_zlib(self) -> bool:
        """Whether the compiler finds zlib's headers."""
        return self._has_header("zlib.h", "zlib's headers are missing (package zlib1g-dev)")

    def _has_header(self, name: str, missing: str) -> bool:
        if name not in self._headers:
            probe = subprocess.run(
                [*compiler(), "-E", "-x", "c", "-"],
                input=f"#include <{name}>\n",
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                encoding="ascii",
                check=False,
            )
            self._headers[name] = probe.returncode == 0
            if not self._headers[name]:
                say(missing)
        return self._headers[name]

    def native(self, name: str) -> Path:
        """Compile one of the C programs and return its path."""
        others = () if name == "calibrate" else NATIVE_COMMON
        sources = [BENCH / "native" / f"{source}.c" for source in (name, *others)]
        headers = sorted((BENCH / "native").glob("*.h"))
        tail: List[str] = []
        if name != "calibrate":
            tail += ["-DWITH_TLS", *TLS_LIBRARIES] if self.has_tls else []
            tail += ["-DWITH_DEFLATE", "-lz"] if self.has_zlib else []
        return self._compile(f"c_{name}", [*compiler(), *NATIVE_FLAGS], sources, headers, tail)

    def _install_native(self, library: Library) -> Installed:
        version = first_line([*compiler(), "--version"])
        versions = {"compiler": version, "flags": shlex.join(NATIVE_FLAGS[:3])}
        if self.has_tls:
            versions["openssl"] = " ".join(first_line(["openssl", "version"]).split()[1:2])
        return Installed(
            [str(self.native("server"))],
            [str(self.native("client"))],
            {},
            versions,
            self.has_tls,
            self.has_zlib,
        )

    def _install_beast(self, library: Library) -> Installed:
        source = BENCH / "peers" / "beast" / "adapter.cpp"
        cxx = shlex.split(os.environ.get("CXX", "c++"))
        tls = ["-DWITH_TLS", *TLS_LIBRARIES] if self.has_tls else []
        try:
            program = self._compile(
                "beast", [*cxx, *BEAST_FLAGS], [source], [], [*tls, "-lpthread"]
            )
        except NotAvailable as error:
            raise NotAvailable(f"{error} (Boost's headers: package libboost-dev)") from error
        words = [str(program)]
        return Installed(
            [*words, "server"], [*words, "client"], {}, versions_of(words, {}), self.has_tls
        )

    def _compile(
        self,
        name: str,
        command: Sequence[str],
        sources: Sequence[Path],
        headers: Sequence[Path],
        tail: Sequence[str],
    ) -> Path:
        digest = hashlib.sha256(repr((command, tail)).encode())
        for file in (*sources, *headers):
            digest.update(file.read_bytes())
        program = self.work / "programs" / f"{name}-{digest.hexdigest()[:12]}"
        if not program.exists():
            say(f"compiling {name}")
            program.parent.mkdir(exist_ok=True)
            part = program.with_suffix(".part")
            run([*command, *map(str, sources), "-o", str(part), *tail])
            part.rename(program)
        return program

    # Python

    def _install_python(self, library: Library) -> Installed:
        checkouts = {**dict.fromkeys((*IN_PLACE, "asgi"), ROOT), "before": self._ours.before}
        checkout = checkouts.get(library.name)
        path = [str(ROOT)]
        if library.name == "asgi" and self._ours.path:
            python = self._environment(library)
            path += self._ours.path.split(os.pathsep)
        elif library.name in IN_PLACE and self._ours.python is not None:
            python = self._ours.python
            path += self._ours.path.split(os.pathsep) if self._ours.path else []
        elif library.name == "before" and checkout is None:
            raise NotAvailable("another checkout of the project is wanted: --before DIR")
        else:
            python = self._environment(library)
            if checkout is not None:
                tool = str(checkout / "tools" / "install_wheels.py")
                run([str(python), tool, str(self.work / "wheels")])
        if library.compiled_listener:
            path.append(str(self._compile_listener(library, python, path, checkout or ROOT)))
        environment = {"PYTHONPATH": os.pathsep.join(path)}
        words = [str(python), "-m", library.adapter]
        return Installed(
            [*words, "server"],
            [*words, "client"],
            environment,
            versions_of(words, python_environment(self.work, environment)),
        )

    def _environment(self, library: Library) -> Path:
        """Make the library's virtual environment and return its interpreter."""
        home = self.work / "environments" / library.name
        python = home / "bin" / "python"
        mark = home / "requirements.json"
        wanted = json.dumps([sys.version, library.requirements])
        if self._renew or not mark.exists() or mark.read_text() != wanted:
            say(f"installing {library.name}: {' '.join(library.requirements)}")
            shutil.rmtree(home, ignore_errors=True)
            run([sys.executable, "-m", "venv", str(home)])
            pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
            run([*pip, *library.requirements])
            mark.write_text(wanted)
        return python

    def _compile_listener(
        self, library: Library, python: Path, path: Sequence[str], checkout: Path
    ) -> Path:
        # Another state of the project may have other names in C.
        folder = checkout / "bench" / "peers" / "compiled"
        return self.compile_extension(
            python, os.pathsep.join(path), folder, library.compiled_listener, library.name
        )

    def compile_extension(
        self, python: Path, path: str, folder: Path, name: str, library: str = ""
    ) -> Path:
        """Compile folder/name.pyx against what ``python`` has installed; returns its folder."""
        target = self.work / "extensions" / library / name
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / f"{name}.pyx", target)
        environment = python_environment(self.work, {"PYTHONPATH": path, "CFLAGS": LISTENER_FLAGS})
        say(f"compiling {name}")
        # Always: the packages that it is compiled against may have changed.
        run([str(python), "-m", "bench.peers.compile_extension", name], environment, target)
        return target

    # Node.js

    def _install_node(self, library: Library) -> Installed:
        if not shutil.which("node") or not shutil.which("npm"):
            raise NotAvailable("Node.js and npm are not on PATH")
        home = self.work / "environments" / library.name
        source = BENCH / "peers" / library.adapter
        home.mkdir(parents=True, exist_ok=True)
        manifest = (source / "package.json").read_text()
        mark = home / "package.json"
        shutil.copy(source / "adapter.js", home)
        if self._renew or not mark.exists() or mark.read_text() != manifest:
            say(f"installing {library.name}")
            mark.write_text(manifest)
            try:
                # No install scripts: bufferutil brings prebuilt code.
                run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=home)
            except NotAvailable:
                mark.unlink()
                raise
        words = ["node", str(home / "adapter.js")]
        return Installed([*words, "server"], [*words, "client"], {}, versions_of(words, {}))


def compiler() -> List[str]:
    """Return the C compiler's command."""
    return shlex.split(os.environ.get("CC", "cc"))


def python_environment(work: Path, extra: Mapping[str, str]) -> Dict[str, str]:
    """Return an environment without the caller's Python settings, and with none left behind."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**clean, "PYTHONPYCACHEPREFIX": str(work / "pycache"), **extra}


def versions_of(words: Sequence[str], environment: Mapping[str, str]) -> Dict[str, str]:
    """Ask an adapter what is installed."""
    outcome = subprocess.run(
        [*words, "versions"],
        env=dict(environment) or None,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if outcome.returncode:
        raise NotAvailable(f"the adapter does not start: {outcome.stderr.strip()[-500:]}")
    versions: Dict[str, str] = json.loads(outcome.stdout)
    return versions


def first_line(command: Sequence[str]) -> str:
    """Return the first line that a command prints, or nothing if it cannot be run."""
    try:
        return subprocess.check_output(command, encoding="utf-8").splitlines()[0].strip()
    except (OSError, subprocess.CalledProcessError, IndexError):
        return ""


def run(
    command: Sequence[str],
    environment: Optional[Mapping[str, str]] = None,
    cwd: Optional[Path] = None,
) -> None:
    """Run a command. Raises NotAvailable with the end of its output if it fails."""
    try:
        outcome = subprocess.run(
            list(command),
            env=dict(environment) if environment is not None else None,
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            check=False,
        )
    except OSError as error:
        raise NotAvailable(f"{command[0]} cannot be run: {error}") from error
    if outcome.returncode:
        words = f"{Path(command[0]).name} {' '.join(command[1:3])}"
        raise NotAvailable(f"{words} failed: {outcome.stdout.strip()[-500:]}")


def say(text: str) -> None:
    """Tell the user about a step that takes time."""
    print(text, file=sys.stderr, flush=True)
