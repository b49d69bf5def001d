"""What was measured, its medians and ratios, and the file that keeps it."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from bench.scenarios import SCENARIOS, Scenario

__all__ = ["Ratio", "Results", "Sample", "ScenarioResult"]

FORMAT = 1


@dataclass
class Sample:
    """One measurement of one peer."""

    value: float  # in the scenario's unit
    cpu_us: Optional[float] = None  # microseconds of the subject's CPU per message
    p50_us: Optional[float] = None  # round trip as the client sees it
    p99_us: Optional[float] = None
    p999_us: Optional[float] = None
    max_us: Optional[float] = None
    compression: Optional[float] = None  # bytes of messages per byte of payload
    repeats: int = 0  # measurements before this one that were disturbed
    reasons: List[str] = field(default_factory=list)  # why this one still is, or nothing
    disturbance: float = 0.0


@dataclass(frozen=True)
class Ratio:
    """A peer against the base: the median, and the extremes, of the ratios of each round."""

    median: float
    low: float
    high: float


@dataclass
class ScenarioResult:
    """All rounds of a scenario: the n-th samples of all peers were measured one after another."""

    name: str
    rounds: Dict[str, List[Sample]] = field(default_factory=dict)  # by peer
    failures: Dict[str, str] = field(default_factory=dict)  # peer: what went wrong
    command: str = ""
    when: str = ""  # UTC
    settings: Dict[str, Any] = field(default_factory=dict)

    @property
    def scenario(self) -> Scenario:
        """What was measured."""
        return SCENARIOS[self.name]

    def values(self, peer: str) -> List[float]:
        """Return the figure of each round."""
        return [sample.value for sample in self.rounds.get(peer, [])]

    def median(self, peer: str) -> float:
        """Return the figure."""
        return statistics.median(self.values(peer))

    def median_of(self, peer: str, get: Callable[[Sample], Optional[float]]) -> Optional[float]:
        """Return the median of something that not every scenario has."""
        found = [value for value in map(get, self.rounds.get(peer, [])) if value is not None]
        return statistics.median(found) if found else None

    def percentile(self, peer: str, name: str) -> Optional[float]:
        """Return the median of ``p50_us``, ``p99_us``, ``p999_us`` or ``max_us``."""
        return self.median_of(peer, lambda sample: getattr(sample, name))

    def spread(self, peer: str) -> float:
        """Return (max - min) / median."""
        values = self.values(peer)
        return (max(values) - min(values)) / self.median(peer) if self.median(peer) else 0.0

    def ratio(
        self,
        peer: str,
        base: str,
        get: Callable[[Sample], Optional[float]] = lambda sample: sample.value,
    ) -> Optional[Ratio]:
        """Return peer / base, paired by round; None without both."""
        ratios = []
        for sample, other in zip(self.rounds.get(peer, []), self.rounds.get(base, [])):
            mine, theirs = get(sample), get(other)
            if mine is not None and theirs:
                ratios.append(mine / theirs)
        if not ratios:
            return None
        return Ratio(statistics.median(ratios), min(ratios), max(ratios))

    @property
    def repeated(self) -> int:
        """How many measurements were thrown away because other load was in the way."""
        return sum(sample.repeats for samples in self.rounds.values() for sample in samples)

    @property
    def disturbed(self) -> int:
        """How many measurements count although other load was in the way each time."""
        return sum(bool(sample.reasons) for samples in self.rounds.values() for sample in samples)


@dataclass
class Results:
    """A file of results. Scenarios of several runs may stand in one file."""

    machine: Dict[str, Any] = field(default_factory=dict)
    versions: Dict[str, Dict[str, str]] = field(default_factory=dict)  # by library
    missing: Dict[str, str] = field(default_factory=dict)  # library: why it did not take part
    scenarios: Dict[str, ScenarioResult] = field(default_factory=dict)

    def in_order(self) -> List[ScenarioResult]:
        """Return the scenarios as they are listed."""
        return [self.scenarios[name] for name in SCENARIOS if name in self.scenarios]

    def save(self, path: Path) -> None:
        """Write the file, medians and all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        scenarios = {}
        for result in self.in_order():
            scenario = asdict(result)
            scenario["title"] = result.scenario.title
            scenario["unit"] = result.scenario.unit
            scenario["medians"] = {
                peer: {
                    "value": result.median(peer),
                    "low": min(result.values(peer)),
                    "high": max(result.values(peer)),
                    "cpu_us": result.median_of(peer, lambda sample: sample.cpu_us),
                    "compression": result.median_of(peer, lambda sample: sample.compression),
                }
                for peer in result.rounds
            }
            scenarios[result.name] = scenario
        text = json.dumps(
            {
                "format": FORMAT,
                "machine": self.machine,
                "versions": self.versions,
                "missing": self.missing,
                "scenarios": scenarios,
            },
            indent=1,
        )
        path.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read a file. Raises ValueError if it is of another format."""
        data = json.loads(path.read_text(encoding="utf-8"))
        if data.get("format") != FORMAT:
            raise ValueError(f"{path} is not a file of results of this version")
        results = cls(data["machine"], data["versions"], data["missing"])
        for name, scenario in data["scenarios"].items():
            if name not in SCENARIOS:
                continue
            results.scenarios[name] = ScenarioResult(
                name,
                {
                    peer: [Sample(**sample) for sample in samples]
                    for peer, samples in scenario["rounds"].items()
                },
                scenario["failures"],
                scenario["command"],
                scenario["when"],
                scenario["settings"],
            )
        return results
