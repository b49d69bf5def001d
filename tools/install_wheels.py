"""Build the three wheels with the running interpreter and install them into its environment.

    python tools/install_wheels.py CACHE

The wheels are built in isolation, once for each state of the sources, interpreter and value of
``PICOWS_BUILD``, and kept below the directory CACHE until nobody has asked for them for a day.
Several of these may run at once, over different states of the sources too.
uvloop and python-socks are installed with them where they run. Tests and the demo run on what this
installs, never on the source tree.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import List

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("codec", "client", "server")
KEPT = 24 * 60 * 60  # seconds
BUILD_LOG = "build.log"  # beside the wheels: all that their build has said
# What editable builds and test runs leave beside the sources.
DERIVED = {".so", ".pyd", ".o", ".obj", ".pyc"}


def main(arguments: List[str]) -> None:
    """Build what is missing, then install."""
    if len(arguments) != 1:
        sys.exit(__doc__)
    codec, client, server = build_wheels(Path(arguments[0]).resolve())
    pip("--quiet", "install", codec, f"{client}[uvloop,socks]", f"{server}[uvloop]")
    # The version number stays the same while the sources change.
    pip("--quiet", "install", "--force-reinstall", "--no-deps", codec, client, server)


def build_wheels(cache: Path) -> List[str]:
    """Return the paths of the wheels of codec, client and server for the current sources."""
    abi = sys.implementation.cache_tag + getattr(sys, "abiflags", "")
    kind = os.environ.get("PICOWS_BUILD") or "release"
    room = cache / f"{abi}-{kind}"
    kept = room / source_digest()
    if not kept.is_dir():
        print("Building the three wheels of these sources, once: it takes minutes.", flush=True)
        room.mkdir(parents=True, exist_ok=True)
        # Renamed when complete: an interrupted build leaves nothing that looks finished.
        with tempfile.TemporaryDirectory(dir=str(room)) as temporary:
            target = Path(temporary, "wheels")
            sources = (str(ROOT / "packages" / f"picows-{name}") for name in NAMES)
            log = pip("wheel", "--verbose", "--no-deps", "--wheel-dir", str(target), *sources)
            target.joinpath(BUILD_LOG).write_text(log, encoding="utf-8")
            try:
                target.rename(kept)
            except OSError:
                if not kept.is_dir():  # else another one has built the same meanwhile
                    raise
    os.utime(str(kept))
    remove_old(room)
    return [str(next(kept.glob(f"picows_{name}-*.whl"))) for name in NAMES]


def remove_old(room: Path) -> None:
    """Remove the wheels, and what an interrupted build left, that nobody can be using any more."""
    for entry in room.iterdir():
        # Another one may remove it first.
        with contextlib.suppress(FileNotFoundError):
            if time.time() - entry.stat().st_mtime > KEPT:
                shutil.rmtree(str(entry), ignore_errors=True)


def source_digest() -> str:
    """Return a name for the state of everything that the wheels are made of."""
    digest = hashlib.sha256()
    for file in sorted((ROOT / "packages").rglob("*")):
        if file.is_file() and file.suffix not in DERIVED:
            digest.update(f"{file.relative_to(ROOT).as_posix()}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def pip(*arguments: str) -> str:
    """Run pip in this environment; return what it says, and end the program with it if it fails."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
    )
    try:
        output, _ = process.communicate()
    except KeyboardInterrupt:
        # Ctrl-C has reached pip, too, which still removes what it has written.
        process.communicate()
        sys.exit(130)
    if process.returncode:
        sys.exit(f"{output}\nfailed: {' '.join(command)}")
    return output


if __name__ == "__main__":
    main(sys.argv[1:])
