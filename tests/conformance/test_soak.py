"""A small run of bench/soak."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it counts POSIX descriptors")


def run_soak(*arguments: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench.soak", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(root)},  # where bench is; the rest is installed
        cwd=str(root),
        check=False,
        timeout=55,
    )


def test_nothing_is_lost_in_a_small_soak() -> None:
    outcome = run_soak("--connections", "60", "--seconds", "7", "--seed", "7")
    assert outcome.returncode == 0, outcome.stdout
    assert "VIOLATION" not in outcome.stdout


def test_a_violation_ends_with_an_error(tmp_path: Path) -> None:
    # A server that loses every tenth message.
    shutil.copytree(str(ROOT / "bench" / "soak"), str(tmp_path / "bench" / "soak"))
    shutil.copy(str(ROOT / "bench" / "__init__.py"), str(tmp_path / "bench"))
    listeners = tmp_path / "bench" / "soak" / "listeners.py"
    right = listeners.read_text(encoding="utf-8")
    echo = "transport.send(message.opcode, message)"
    assert echo in right
    listeners.write_text(right.replace(echo, f"self.received % 10 and {echo}"), encoding="utf-8")
    outcome = run_soak("--connections", "10", "--seconds", "2", root=tmp_path)
    assert outcome.returncode == 1
    assert "VIOLATION  client: expected message" in outcome.stdout
