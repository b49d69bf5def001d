"""What this process has: memory, descriptors, a log; what a soak test leaves of them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import sys
from typing import Callable, Iterator, NamedTuple

from bench.soak.messages import Tally
from picows_codec import WSTransport

# How many more descriptors may be open at the end: logging, the loop's own.
DESCRIPTORS_LEFT = 3


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


class Remains(NamedTuple):
    """What there is more than before a soak test."""

    tasks: int
    descriptors: int


async def check_remains(tally: Tally, descriptors_before: int, longest_pause: float) -> Remains:
    """Note what is left of a soak test whose clients pause for up to so many seconds."""
    await asyncio.sleep(longest_pause + 0.2)  # timers of clients that were about to send
    gc.collect()
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    tally.check(not left, "tasks left:", left[:3])
    transports = sum(type(found) is WSTransport for found in gc.get_objects())
    tally.check(not transports, "transports left:", transports)
    more = descriptors() - descriptors_before
    tally.check(more <= DESCRIPTORS_LEFT, "descriptors left:", more)
    return Remains(len(left), more)


class WarningLog(logging.Handler):
    """Notes what picows logs as a warning or an error, unless it is expected."""

    def __init__(self, tally: Tally, is_expected: Callable[[logging.LogRecord], bool]) -> None:
        super().__init__(logging.WARNING)
        self._tally = tally
        self._is_expected = is_expected

    def emit(self, record: logging.LogRecord) -> None:
        """Note it."""
        self._tally.check(self._is_expected(record), "logged:", record.getMessage())


@contextlib.contextmanager
def watched_log(
    tally: Tally, is_expected: Callable[[logging.LogRecord], bool] = lambda _: False
) -> Iterator[None]:
    """Warnings and errors that are logged within are violations."""
    handler = WarningLog(tally, is_expected)
    logger = logging.getLogger("picows")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
