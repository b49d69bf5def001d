"""Fail if a compiler has a warning about our own sources.

Two passes: the hand-written C with every warning that it is written for, then the whole codec, as
its build hook compiles it, with Cython's and the C compiler's warnings as errors. Needs GCC or
Clang (``CC``).
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Dict, List, Optional

CODEC = Path(__file__).resolve().parents[1] / "packages" / "picows-codec"
NATIVE_FLAGS = "-std=c11 -O2 -Wall -Wextra -Wconversion -Wshadow -Wpedantic -Werror -c"


def main() -> None:
    """Run both passes and report."""
    kernels = sorted((CODEC / "src" / "picows_codec").rglob("native/*.c"))
    compiler = shlex.split(os.environ.get("CC", "cc"))
    for kernel in kernels:
        run([*compiler, *shlex.split(NATIVE_FLAGS), str(kernel), "-o", os.devnull])
    # Where there are headers only, their functions are compiled into the rooms that include them.
    headers = [
        header
        for header in sorted((CODEC / "src" / "picows_codec").rglob("native/*.h"))
        if not list(header.parent.glob("*.c"))
    ]
    python = ["-isystem", sysconfig.get_path("include")]
    for header in headers:
        include = [*python, "-include", str(header), "-x", "c", os.devnull]
        run([*compiler, *shlex.split(NATIVE_FLAGS), *include, "-o", os.devnull])
    with tempfile.TemporaryDirectory() as target:
        pip = [sys.executable, "-m", "pip", "wheel", "--verbose", "--no-deps", "-w", target]
        flags = f"{os.environ.get('CFLAGS', '')} -Werror"
        log = run([*pip, str(CODEC)], {**os.environ, "CFLAGS": flags})
    # Cython has no switch for this in a build; pip's own warnings are written in capitals.
    warnings = [line for line in log.splitlines() if "warning:" in line]
    if warnings:
        sys.exit("\n".join(warnings))
    count = len(kernels) + len(headers)
    print(f"{count} native sources and the codec's extensions compile without a warning")


def run(command: List[str], environment: Optional[Dict[str, str]] = None) -> str:
    """Return the output of a command; end the program with it if the command fails."""
    outcome = subprocess.run(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    if outcome.returncode:
        sys.exit(f"{outcome.stdout}\nfailed: {shlex.join(command)}")
    return outcome.stdout


if __name__ == "__main__":
    main()
