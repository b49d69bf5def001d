"""A small run of bench/soak/service."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
    pytest.mark.timeout(240),
]


def run_soak(output: Path, *arguments: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    words = ("--loop", "asyncio", "--output", str(output), *arguments)
    return subprocess.run(
        [sys.executable, "-m", "bench.soak.service", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(root)},  # where bench is; the rest is installed
        cwd=str(root),
        check=False,
        timeout=220,
    )


def test_nothing_is_lost_when_workers_are_replaced_and_drained(tmp_path: Path) -> None:
    output = tmp_path / "report.json"
    outcome = run_soak(output, "--connections", "20", "--minutes", "0.1")
    assert outcome.returncode == 0, outcome.stdout
    report: Dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    assert [event["what"] for event in report["events"]] == ["replace_workers", "drain_and_start"]
    assert report["counts"]["of these by the service"] >= 40  # everybody was sent away twice
    assert report["counts"]["messages"] > 0
    assert report["violations"] == []
    assert report["tasks_left"] == 0


def test_a_lost_message_ends_with_an_error(tmp_path: Path) -> None:
    # A service that says to have sent a message more than arrives.
    shutil.copytree(str(ROOT / "bench"), str(tmp_path / "bench"))
    application = tmp_path / "bench" / "soak" / "service" / "application.py"
    right = application.read_text(encoding="utf-8")
    noted = "self.received, self.sent, self.gaps"
    assert right.count(noted) == 1
    more = "self.received, self.sent + 1, self.gaps"
    application.write_text(right.replace(noted, more), encoding="utf-8")
    output = tmp_path / "report.json"
    outcome = run_soak(output, "--connections", "5", "--minutes", "0.1", root=tmp_path)
    assert outcome.returncode == 1, outcome.stdout
    assert "lost to the client" in outcome.stdout
