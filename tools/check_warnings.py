"""Fail if a compiler has a warning about our own sources.

    python -m tools.check_warnings CACHE

Two passes: the hand-written C with every warning that it is written for, then what Cython and the C
compiler said when the wheels were built; CACHE is that of ``install_wheels.py``, so that what is
built here need not be built again. Needs GCC or Clang (``CC``).
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import List

from tools.install_wheels import BUILD_LOG, ROOT, build_wheels

CODEC = ROOT / "packages" / "picows-codec" / "src" / "picows_codec"
NATIVE_FLAGS = "-std=c11 -O2 -Wall -Wextra -Wconversion -Wshadow -Wpedantic -Werror -c"


def main(arguments: List[str]) -> None:
    """Run both passes and report."""
    if len(arguments) != 1:
        sys.exit(__doc__)
    kernels = sorted(CODEC.rglob("native/*.c"))
    compiler = shlex.split(os.environ.get("CC", "cc"))
    for kernel in kernels:
        run([*compiler, *shlex.split(NATIVE_FLAGS), str(kernel), "-o", os.devnull])
    # Where there are headers only, their functions are compiled into the rooms that include them.
    headers = [
        header
        for header in sorted(CODEC.rglob("native/*.h"))
        if not list(header.parent.glob("*.c"))
    ]
    python = ["-isystem", sysconfig.get_path("include")]
    for header in headers:
        include = [*python, "-include", str(header), "-x", "c", os.devnull]
        run([*compiler, *shlex.split(NATIVE_FLAGS), *include, "-o", os.devnull])
    wheels = build_wheels(Path(arguments[0]).resolve())
    log = Path(wheels[0]).with_name(BUILD_LOG).read_text(encoding="utf-8", errors="replace")
    # pip's own warnings are written in capitals.
    warnings = [line for line in log.splitlines() if "warning:" in line]
    if warnings:
        sys.exit("\n".join(warnings))
    count = len(kernels) + len(headers)
    print(f"{count} native sources and the codec's extensions compile without a warning")


def run(command: List[str]) -> None:
    """Run a command; end the program with its output if it fails."""
    outcome = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    if outcome.returncode:
        sys.exit(f"{outcome.stdout}\nfailed: {shlex.join(command)}")


if __name__ == "__main__":
    main(sys.argv[1:])
