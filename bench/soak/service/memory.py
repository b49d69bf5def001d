"""Memory and descriptors of all processes over time."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from statistics import mean, median
from typing import Any, Dict, List, Sequence

from bench.service import Service, descriptors_of, resident_of

__all__ = ["Series"]

MOST_POINTS = 120  # in the JSON
MANY = 0.9  # of all connections: the service is neither stopped nor just started


@dataclass(frozen=True)
class Sample:
    """At one moment; memory in MB (10**6 bytes)."""

    seconds: float
    clients_mb: float
    supervisor_mb: float
    workers_mb: float
    workers: int
    clients_descriptors: int
    supervisor_descriptors: int
    connections: int


def sample(seconds: float, service: Service, connections: int) -> Sample:
    """Look at all processes."""
    supervisor = service.pid
    workers = [pid for pid in service.processes() if pid != supervisor]
    return Sample(
        round(seconds, 1),
        resident_of(os.getpid()) / 1e6,
        resident_of(supervisor) / 1e6,
        sum(map(resident_of, workers)) / 1e6,
        len(workers),
        descriptors_of(os.getpid()),
        descriptors_of(supervisor),
        connections,
    )


class Series:
    """What was sampled, and how it grew."""

    def __init__(self) -> None:
        self.samples: List[Sample] = []

    def add(self, seconds: float, service: Service, connections: int) -> None:
        """Look once more."""
        self.samples.append(sample(seconds, service, connections))

    def settled(self) -> List[Sample]:
        """Return the samples with all connections after the first quarter, which fills up."""
        settled = self.samples[len(self.samples) // 4 :]
        most = max((one.connections for one in settled), default=0)
        return [one for one in settled if one.workers and one.connections > MANY * most]

    def figures(self) -> Dict[str, Any]:
        """Return medians, slopes in MB an hour, and growth from the second quarter to the last."""
        found: Dict[str, Any] = {}
        settled = self.settled()
        if len(settled) < 3:
            return found
        times = [one.seconds / 3600 for one in settled]
        third = max(1, len(settled) // 3)
        for name in ("clients_mb", "supervisor_mb", "workers_mb"):
            values = [getattr(one, name) for one in settled]
            early, late = median(values[:third]), median(values[-third:])
            found[name] = {
                "median": round(median(values), 1),
                "highest": round(max(values), 1),
                "slope_mb_per_hour": round(slope(times, values), 2),
                "growth": round(late / early - 1, 4) if early else 0.0,
            }
        return found

    def points(self) -> List[Dict[str, Any]]:
        """Return some of the samples, evenly spaced."""
        step = -(-len(self.samples) // MOST_POINTS) or 1
        return [asdict(one) for one in self.samples[::step]]


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Return the slope of the straight line that fits best."""
    middle, level = mean(times), mean(values)
    weight = sum((time - middle) ** 2 for time in times)
    if not weight:
        return 0.0
    return sum((t - middle) * (value - level) for t, value in zip(times, values)) / weight
