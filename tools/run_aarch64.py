"""Build the wheels for aarch64 and run tests on them, in a Debian root under qemu-user.

    python tools/run_aarch64.py DIRECTORY [ARGUMENTS OF PYTEST]

mmdebstrap makes the root once, in DIRECTORY. What comes from the package index is downloaded by
this interpreter's pip, so the root needs no network. Its Python is of aarch64; the kernel starts it
under qemu, where it takes ten times as long and longer. The compiler and the other programs are of
this machine. Needs Linux on x86-64 and root's rights.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Optional

ROOT = Path(__file__).resolve().parents[1]
SUITE = "trixie"
# Without python3-venv: Debian has no wheels of pip for an architecture that is not a root's first.
PACKAGES = ["gcc-aarch64-linux-gnu", "libc6-dev:arm64", "netbase", "python3-dev:arm64"]
BINFMT = Path("/proc/sys/fs/binfmt_misc")
# What is needed outside the root: packages of Debian, with a command of each.
NEEDED = {
    "mmdebstrap": "mmdebstrap",
    "qemu-user-static": "qemu-aarch64-static",
    "binfmt-support": "update-binfmts",
}
# What is copied into the root: the wheels' sources, and what its tests read.
COPIED = ("packages", "tests", "tools", "docs", "ARCHITECTURE.md", "pyproject.toml")
WHEELS = ("manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")
# To build and to import the wheels, and for the codec's tests, which also compile extensions.
REQUIRED = ["pip", "hatchling>=1.27", "aiofastnet", "multidict", "python-socks[asyncio]", "uvloop"]
TESTS = ["pytest>=8.3", "pytest-timeout>=2.3", "pytest-xdist>=3.5", "hypothesis>=6.113"]
TESTS += ["isal>=1.6", "zlib-ng>=0.4", "cython>=3.1,<4", "setuptools>=74.1"]
ENVIRONMENT = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
    "PIP_FIND_LINKS": "/downloads",
    "PIP_NO_INDEX": "1",
    "PYTHONPYCACHEPREFIX": "/pycache",
    "PYTHONSAFEPATH": "1",
}
PASSED_ON = ("CI", "PICOWS_")


def main(arguments: List[str]) -> None:
    """Make the root, build and install the wheels, run pytest."""
    if not arguments:
        sys.exit(__doc__)
    check_machine()
    directory = Path(arguments[0]).resolve()
    root = directory / "root"
    make_root(root)
    download(root)
    copy_sources(root)
    python = "/venv/bin/python"
    if not (root / "venv/bin/pip").exists():
        inside(root, "python3", "-m", "venv", "--without-pip", "/venv")
        pip = max((root / "downloads").glob("pip-*.whl"))  # an earlier run may have left another
        inside(root, python, f"/downloads/{pip.name}/pip", "install", "--quiet", "pip")
    inside(root, python, "tools/install_wheels.py", "/wheels")
    install_tests(root)
    inside(root, python, "-m", "pytest", *arguments[1:])


def check_machine() -> None:
    """End the program, with what to do, if something is missing."""
    if sys.platform != "linux":
        sys.exit(f"qemu-user runs programs of Linux on Linux, not on {sys.platform}")
    if platform.machine() == "aarch64":
        sys.exit("this machine needs no qemu: tox -e py runs the tests on its aarch64")
    if platform.machine() != "x86_64":
        sys.exit(f"the compiler is Debian's for x86-64, not for {platform.machine()}")
    if os.geteuid() != 0:
        sys.exit("only root makes and enters a root of Debian: run this with sudo")
    missing = [package for package, name in NEEDED.items() if shutil.which(name) is None]
    steps = [f"apt-get install {' '.join(missing)}"] if missing else []
    if not (BINFMT / "register").exists():
        steps.append(f"mount -t binfmt_misc binfmt_misc {BINFMT}")
    if not (BINFMT / "qemu-aarch64").exists():
        steps.append("update-binfmts --enable qemu-aarch64")
    if steps:
        sys.exit(f"programs of aarch64 do not run here yet; as root: {' && '.join(steps)}")


def make_root(root: Path) -> None:
    """Let mmdebstrap make the root, unless it did."""
    options = ["--quiet", "--mode=root", "--variant=minbase"]
    options.append("--architectures=amd64,arm64")
    command = ["mmdebstrap", *options, f"--include={','.join(PACKAGES)}", SUITE, str(root)]
    # Written when the root is complete.
    stamp = root.with_name("root-is-made-by")
    if stamp.is_file() and stamp.read_text("utf-8") == " ".join(command):
        return
    shutil.rmtree(str(root), ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    # In a namespace, so that what it mounts in the root is gone however it ends.
    run(["unshare", "--mount", *command])
    stamp.write_text(" ".join(command), "utf-8")


def download(root: Path) -> None:
    """Get the wheels that building, the packages and the tests require, for the root's Python."""
    pip = [sys.executable, "-m", "pip", "--quiet", "download", "--dest", str(root / "downloads")]
    run([*pip, *target_of(root), *REQUIRED, *TESTS])


def install_tests(root: Path) -> None:
    """Unpack what the tests require, by this interpreter's pip, because that only copies files."""
    (site,) = (root / "venv" / "lib").glob("python3*/site-packages")
    pip = [sys.executable, "-m", "pip", "--quiet", "install", "--target", str(site), "--upgrade"]
    local = ["--no-compile", "--no-index", "--find-links", str(root / "downloads")]
    run([*pip, *local, *target_of(root), *TESTS])


def target_of(root: Path) -> List[str]:
    """Return pip's arguments for wheels of the root's Python."""
    version = (root / "usr/bin/python3").resolve().name.partition("python")[2]
    target = ["--python-version", version, "--only-binary", ":all:"]
    for tag in WHEELS:
        target += ["--platform", tag]
    return target


def copy_sources(root: Path) -> None:
    """Replace the checkout in the root by the present one."""
    checkout = root / "checkout"
    shutil.rmtree(str(checkout), ignore_errors=True)
    checkout.mkdir()
    derived = shutil.ignore_patterns("*.so", "*.o", "__pycache__")
    for name in COPIED:
        source, copy = ROOT / name, checkout / name
        if source.is_dir():
            shutil.copytree(str(source), str(copy), ignore=derived)
        else:
            shutil.copy(str(source), str(copy))


def inside(root: Path, *command: str) -> None:
    """Run a command in the root, with processes and mounts of its own that end with it."""
    passed = {name: text for name, text in os.environ.items() if name.startswith(PASSED_ON)}
    enter = ["unshare", "--mount", "--pid", "--fork", "--kill-child", f"--root={root}"]
    run([*enter, "--mount-proc", "--wd=/checkout", *command], {**ENVIRONMENT, **passed})


def run(command: List[str], environment: Optional[Dict[str, str]] = None) -> None:
    """Run a command; its failure ends the program."""
    status = subprocess.run(command, env=environment, check=False).returncode
    if status:
        sys.exit(f"failed with status {status}: {' '.join(command)}")


if __name__ == "__main__":
    main(sys.argv[1:])
