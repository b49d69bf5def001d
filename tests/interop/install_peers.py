"""Install the peers that no Python package brings: npm's ws and axe-core, and the browsers.

    python tests/interop/install_peers.py DIRECTORY

npm's go into DIRECTORY, once for each state of node/package-lock.json, and need Node.js with npm on
PATH. Chromium and Firefox are Debian's packages: a root installs those that are missing,
anybody else is told to.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Optional

PACKAGE = Path(__file__).resolve().parent / "node"
PACKAGE_FILES = ("package.json", "package-lock.json")

# Commands, one of which must exist, for each package of Debian.
BROWSERS = {
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
    "firefox-esr": ("firefox-esr", "firefox"),
}


def main(arguments: List[str]) -> None:
    """Install whatever is missing."""
    if len(arguments) != 1:
        sys.exit(__doc__)
    install_ws(Path(arguments[0]).resolve())
    missing = [package for package, names in BROWSERS.items() if not any(map(shutil.which, names))]
    if missing:
        install_browsers(missing)


def install_ws(directory: Path) -> None:
    """Let npm install what the lock file says, unless it did."""
    lock = (PACKAGE / "package-lock.json").read_text(encoding="utf-8")
    stamp = directory / "installed"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == lock:
        return
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("npm was not found, which installs ws: install Node.js")
    shutil.rmtree(str(directory), ignore_errors=True)
    directory.mkdir(parents=True)
    for name in PACKAGE_FILES:
        shutil.copy(str(PACKAGE / name), str(directory))
    run([npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"], directory)
    stamp.write_text(lock, encoding="utf-8")


def install_browsers(packages: List[str]) -> None:
    """Let apt-get install them."""
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        sys.exit(f"install these packages of Debian, or what they are elsewhere: {packages}")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-qq"], environment=quiet)
    run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], None, quiet)


def run(
    command: List[str],
    directory: Optional[Path] = None,
    environment: Optional[Dict[str, str]] = None,
) -> None:
    """Run a command, quietly unless it fails; that ends the program."""
    outcome = subprocess.run(
        command,
        cwd=None if directory is None else str(directory),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    if outcome.returncode:
        sys.exit(f"{outcome.stdout}\nfailed: {' '.join(command)}")


if __name__ == "__main__":
    main(sys.argv[1:])
