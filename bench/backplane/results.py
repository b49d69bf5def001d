"""What was measured with engines, and the file that keeps it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional

from bench.backplane.cases import CASES, Case
from bench.results import Sample, ScenarioResult

__all__ = ["CaseResult", "EngineResults", "EngineSample"]

FORMAT = 1


@dataclass
class EngineSample(Sample):
    """One measurement of one gateway. CPU times are per message that was published.

    ``cpu_us`` is that of the gateway; latencies are from the moment when a message was due to each
    of its deliveries.
    """

    publisher_us: Optional[float] = None
    engine_us: Optional[float] = None  # of all of them


@dataclass
class CaseResult(ScenarioResult):
    """All rounds of a case: the n-th samples of all gateways were measured one after another."""

    @property
    def case(self) -> Case:
        """What was measured."""
        return CASES[self.name]


@dataclass
class EngineResults:
    """A file of results. Cases of several runs may stand in one file."""

    machine: Dict[str, Any] = field(default_factory=dict)
    versions: Dict[str, Dict[str, str]] = field(default_factory=dict)  # by library
    missing: Dict[str, str] = field(default_factory=dict)  # library: why it did not take part
    topics: List[Dict[str, Any]] = field(default_factory=list)  # of micro/topics.py
    cases: Dict[str, CaseResult] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        cases = {name: asdict(self.cases[name]) for name in CASES if name in self.cases}
        data = {"format": FORMAT, **asdict(self), "cases": cases}
        path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> EngineResults:
        """Read a file. Raises ValueError if it is of another format."""
        data = json.loads(path.read_text(encoding="utf-8"))
        if data.pop("format", None) != FORMAT:
            raise ValueError(f"{path} is not a file of results of this version")
        cases = {}
        for name, case in data.pop("cases").items():
            if name in CASES:
                rounds: Dict[str, List[Sample]] = {
                    gateway: [EngineSample(**sample) for sample in samples]
                    for gateway, samples in case.pop("rounds").items()
                }
                cases[name] = CaseResult(rounds=rounds, **case)
        return cls(cases=cases, **data)
