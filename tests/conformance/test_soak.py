"""A small run of bench/soak.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).resolve().parents[2] / "bench" / "soak.py"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it counts POSIX descriptors")


def run_soak(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SOAK), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
        timeout=55,
    )


def test_nothing_is_lost_in_a_small_soak() -> None:
    outcome = run_soak("--connections", "60", "--seconds", "7", "--seed", "7")
    assert outcome.returncode == 0, outcome.stdout
    assert "VIOLATION" not in outcome.stdout


def test_a_violation_ends_with_an_error(tmp_path: Path) -> None:
    # A server that loses every tenth message.
    broken = SOAK.read_text(encoding="utf-8").replace(
        "transport.send(message.opcode, message)",
        "self.received % 10 and transport.send(message.opcode, message)",
    )
    copy = tmp_path / "soak.py"
    copy.write_text(broken, encoding="utf-8")
    command = [sys.executable, str(copy), "--connections", "10", "--seconds", "2"]
    outcome = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", check=False)
    assert outcome.returncode == 1
    assert "VIOLATION  client: expected message" in outcome.stdout
