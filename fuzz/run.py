"""Fuzz the codec with libFuzzer: ``python -m fuzz.run TARGET [--seconds N]``.

TARGET is a target or ``all``. The codec must have been compiled by GCC or Clang with coverage,
as ``tox -e fuzz`` does it; see README.md beside this file. New inputs are gathered below the work
directory and used again by the next run, findings are written there, too. Ends with an error if
there is one.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Dict, Optional

from fuzz.harness import TARGETS

HERE = Path(__file__).resolve().parent
MAX_INPUT = 4096
# A single input takes less than a millisecond.
INPUT_TIMEOUT = 10
# The address sanitizer holds back freed memory.
MEMORY_LIMIT = 3072
SANITIZER_OPTIONS = (
    "detect_leaks=0",  # the interpreter's, at its end
    "verify_asan_link_order=0",
    "allocator_may_return_null=1",
    "malloc_context_size=3",  # unwinding deeper takes most of the time
)


def main() -> None:
    """Run what was asked for, one target after another."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("target", choices=("all", *TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="for each target (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of libFuzzer; 0 takes any")
    parser.add_argument("--input", type=Path, help="run this input only, of one target")
    parser.add_argument(
        "--work",
        type=Path,
        default=HERE.parent / ".tox" / "fuzzing",
        help="directory for new inputs and findings (%(default)s)",
    )
    arguments = parser.parse_args()
    if arguments.input is not None and arguments.target == "all":
        parser.error("--input belongs to one target")
    work: Path = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    environment = prepared_environment(work)
    targets = TARGETS if arguments.target == "all" else (arguments.target,)
    failed = [
        target
        for target in targets
        if not fuzz(target, work, environment, arguments.seconds, arguments.seed, arguments.input)
    ]
    sys.exit(f"findings: {', '.join(failed)}" if failed else 0)


def prepared_environment(work: Path) -> Dict[str, str]:
    """The variables of a worker: the coverage library preloaded, and the sanitizer's if needed."""
    compiler = shlex.split(os.environ.get("CC", "cc"))
    library = work / "coverage.so"
    flags = ["-std=c11", "-O2", "-shared", "-fPIC"]
    command = [*compiler, *flags, str(HERE / "coverage.c"), "-o", str(library), "-ldl"]
    subprocess.run(command, check=True)
    preloaded = [str(library)]
    if is_sanitized():
        # After ours: the sanitizer has functions of the same names, which do nothing.
        find = [*compiler, "-print-file-name=libasan.so"]
        found = subprocess.run(find, stdout=subprocess.PIPE, encoding="utf-8", check=True)
        preloaded.append(found.stdout.strip())
    return {
        **os.environ,
        "LD_PRELOAD": ":".join(preloaded),
        "PYTHONMALLOC": "malloc",
        # "-m" finds this package in the current directory.
        "PYTHONSAFEPATH": "",
        "ASAN_OPTIONS": ":".join(SANITIZER_OPTIONS),
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }


def is_sanitized() -> bool:
    """Whether the installed codec was compiled with the address sanitizer."""
    package = importlib.util.find_spec("picows_codec")
    if package is None or package.origin is None:
        sys.exit("picows-codec is not installed")
    extension = next(Path(package.origin).parent.glob("parser.*.so"))
    return b"__asan_init" in extension.read_bytes()


def fuzz(
    target: str,
    work: Path,
    environment: Dict[str, str],
    seconds: int,
    seed: int,
    only: Optional[Path],
) -> bool:
    """Run a target and report how often; whether nothing was found."""
    gathered = work / target
    gathered.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "fuzz.worker", target]
    if only is not None:
        command.append(str(only.resolve()))
        outcome = subprocess.run(command, env=environment, cwd=str(HERE.parent), check=False)
        return outcome.returncode == 0
    command += [
        f"-max_total_time={seconds}",
        f"-max_len={MAX_INPUT}",
        f"-timeout={INPUT_TIMEOUT}",
        f"-rss_limit_mb={MEMORY_LIMIT}",
        f"-seed={seed}",
        f"-artifact_prefix={work}/{target}-",
        f"-dict={HERE / 'dictionary.txt'}",
        "-use_value_profile=1",
        "-print_final_stats=1",
        # The first directory gets the new inputs.
        str(gathered),
        str(HERE / "corpus" / target),
    ]
    print(f"{target}: {seconds} seconds", flush=True)
    log = work / f"{target}.log"
    with log.open("w", encoding="utf-8") as out:
        outcome = subprocess.run(
            command, env=environment, cwd=str(HERE.parent), stdout=out, stderr=out, check=False
        )
    text = log.read_text(encoding="utf-8", errors="replace")
    statistics = dict(re.findall(r"^stat::(\w+): +(\d+)", text, re.MULTILINE))
    coverage = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", text)
    print(
        f"{target}: {int(statistics.get('number_of_executed_units', 0)):,} executions,"
        f" {statistics.get('average_exec_per_sec', '?')} a second,"
        f" {coverage[-1][0] if coverage else '?'} places covered,"
        f" {coverage[-1][2] if coverage else '?'} inputs kept;"
        f" {'nothing found' if outcome.returncode == 0 else f'FAILED, see {log}'}",
        flush=True,
    )
    if outcome.returncode:
        print(text[-4000:], flush=True)
    return outcome.returncode == 0


if __name__ == "__main__":
    main()
