"""What this process has: memory, descriptors, a log."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import Iterator

from bench.soak.messages import Tally


def memory() -> float:
    """Resident memory in MB (10**6 bytes)."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except FileNotFoundError:
        import resource  # noqa: PLC0415

        # The maximum so far, in bytes on macOS.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def descriptors() -> int:
    """How many are open."""
    return len(os.listdir("/dev/fd"))


def allow_descriptors(wanted: int) -> None:
    """Raise the limit of this process if it is too low; end the program if that cannot be done."""
    import resource  # noqa: PLC0415

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            sys.exit(f"{wanted} descriptors are needed and {hard} are allowed: see ulimit -n")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class ErrorLog(logging.Handler):
    """Counts what picows logs as an error."""

    def __init__(self, tally: Tally) -> None:
        super().__init__(logging.WARNING)
        self._tally = tally

    def emit(self, record: logging.LogRecord) -> None:
        """Note it."""
        self._tally.check(False, "logged:", record.getMessage())


@contextlib.contextmanager
def watched_log(tally: Tally) -> Iterator[None]:
    """Errors that are logged within are violations."""
    handler = ErrorLog(tally)
    logger = logging.getLogger("picows")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
