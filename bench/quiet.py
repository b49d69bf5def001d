"""Whether the machine was quiet: what others used of the two cores, and whether these kept pace."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

__all__ = ["Disturbance", "Limits", "Observer"]

TICK = 1.0 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Limits:
    """Above which a measurement counts as disturbed; fractions of its time."""

    others: float = 0.05  # CPU time of other processes on one of the cores
    steal: float = 0.02  # CPU time that the hypervisor kept
    drift: float = 0.10  # slower than usual at a fixed piece of work, before or after


@dataclass(frozen=True)
class Disturbance:
    """What was seen during one measurement; fractions of its time."""

    others: float
    steal: float
    drift: float

    def reasons(self, limits: Limits) -> List[str]:
        """Return what was above the limits, in words."""
        found = []
        if self.others > limits.others:
            found.append("other processes on the cores")
        if self.steal > limits.steal:
            found.append("cores kept by the hypervisor")
        if self.drift > limits.drift:
            found.append("a slower processor than usual")
        return found

    @property
    def weight(self) -> float:
        """How bad it was, to choose the least disturbed of several."""
        return self.others + self.steal + self.drift


class Observer:
    """Watches the cores of server and client. ``program`` is the fixed piece of work."""

    def __init__(self, program: Path, cores: Sequence[int]) -> None:
        self._program = program
        self._cores = sorted(set(cores))
        self._times: Dict[int, List[float]] = {core: [] for core in self._cores}
        self._latest = 0.0
        self._before = 0.0
        self._start: Tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
        for _ in range(3):
            self._calibrate()

    def begin(self) -> None:
        """Note the state before a measurement."""
        self._before = self._latest
        self._start = (time.monotonic(), *self._busy_and_steal(), own_cpu())

    def end(self, charged: float) -> Disturbance:
        """Return what happened since ``begin``; the measured processes used ``charged`` seconds."""
        start, busy, steal, own = self._start
        now_busy, now_steal = self._busy_and_steal()
        seconds = time.monotonic() - start
        others = (now_busy - busy) - charged - (own_cpu() - own)
        self._calibrate()
        # The counters move in ticks, so a difference of a few ticks means nothing.
        return Disturbance(
            others=max(0.0, others - 3 * TICK) / seconds,
            steal=max(0.0, now_steal - steal) / seconds,
            drift=max(self._before, self._latest),
        )

    def _calibrate(self) -> None:
        worst = 0.0
        for core in self._cores:
            before = os.sched_getaffinity(0)
            os.sched_setaffinity(0, {core})
            try:
                output = subprocess.check_output([str(self._program)])
            finally:
                os.sched_setaffinity(0, before)
            taken = float(json.loads(output)["ns"])
            times = self._times[core]
            times.append(taken)
            worst = max(worst, taken / statistics.median(times) - 1.0)
        self._latest = worst

    def _busy_and_steal(self) -> Tuple[float, float]:
        """Return seconds that the cores have been busy, and that were stolen, since the boot."""
        wanted = {f"cpu{core}" for core in self._cores}
        busy = steal = 0
        with open("/proc/stat", encoding="ascii") as file:
            for line in file:
                name, *fields = line.split()
                if name in wanted:
                    user, nice, system, _, _, irq, softirq, stolen = map(int, fields[:8])
                    busy += user + nice + system + irq + softirq
                    steal += stolen
        return busy * TICK, steal * TICK


def own_cpu() -> float:
    """Return the seconds of CPU that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
