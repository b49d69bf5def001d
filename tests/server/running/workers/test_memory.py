"""picows_server.running.workers.memory: bytes of this process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from picows_server.running.workers import memory
from picows_server.running.workers.memory import resident_set_size


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_it_grows() -> None:
    before = resident_set_size()
    ballast = bytearray(b"x" * 100_000_000)
    after = resident_set_size()
    assert before is not None
    assert after is not None
    assert after - before > 50_000_000
    assert len(ballast) == 100_000_000


def test_a_platform_without_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "_STATM", str(tmp_path / "nothing"))
    assert resident_set_size() is None
