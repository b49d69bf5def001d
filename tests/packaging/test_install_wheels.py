"""tools/install_wheels.py: what it keeps, and that several of it may run at once."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Callable, List

import pytest

from tests.packaging.building import NAMES
from tools import install_wheels


class Builds:
    """Stands in for pip and for the state of the sources."""

    def __init__(self) -> None:
        self.state = "one"
        self.count = 0
        self.during: Callable[[], object] = lambda: None

    def digest(self) -> str:
        return self.state

    def pip(self, *arguments: str) -> str:
        self.count += 1
        target = Path(arguments[arguments.index("--wheel-dir") + 1])
        target.mkdir()
        for name in NAMES:
            (target / f"picows_{name}-1-py3-none-any.whl").write_text(self.state)
        during, self.during = self.during, lambda: None
        during()
        return "said"


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> Builds:
    fake = Builds()
    monkeypatch.setattr(install_wheels, "pip", fake.pip)
    monkeypatch.setattr(install_wheels, "source_digest", fake.digest)
    return fake


def contents(wheels: List[str]) -> List[str]:
    return [Path(wheel).read_text() for wheel in wheels]


def test_built_once(builds: Builds, tmp_path: Path) -> None:
    first = install_wheels.build_wheels(tmp_path)
    assert install_wheels.build_wheels(tmp_path) == first
    assert builds.count == 1
    assert [Path(wheel).name.partition("-")[0] for wheel in first] == [
        f"picows_{name}" for name in NAMES
    ]


def test_wheels_of_changed_sources_leave_those_in_use(builds: Builds, tmp_path: Path) -> None:
    first = install_wheels.build_wheels(tmp_path)
    builds.state = "two"
    second = install_wheels.build_wheels(tmp_path)
    assert contents(first) == ["one"] * 3
    assert contents(second) == ["two"] * 3


def test_another_run_during_a_build(builds: Builds, tmp_path: Path) -> None:
    """Whether its sources are the same or not, each gets its own, and nothing unfinished stays."""
    results: List[List[str]] = []
    builds.during = lambda: results.append(install_wheels.build_wheels(tmp_path))
    results.append(install_wheels.build_wheels(tmp_path))
    assert results[0] == results[1]
    assert builds.count == 2

    def change() -> None:
        builds.state = "two"
        results.append(install_wheels.build_wheels(tmp_path))
        builds.state = "three"

    builds.state = "three"
    builds.during = change
    results.append(install_wheels.build_wheels(tmp_path))
    assert [contents(wheels)[0] for wheels in results] == ["one", "one", "two", "three"]
    [room] = tmp_path.iterdir()
    assert {path.name for path in room.iterdir()} == {"one", "two", "three"}


def test_a_build_that_fails_leaves_nothing(builds: Builds, tmp_path: Path) -> None:
    def fail() -> None:
        raise SystemExit("no compiler")

    builds.during = fail
    with pytest.raises(SystemExit, match="no compiler"):
        install_wheels.build_wheels(tmp_path)
    [room] = tmp_path.iterdir()
    assert list(room.iterdir()) == []


def test_what_nobody_has_asked_for_is_removed(builds: Builds, tmp_path: Path) -> None:
    first = Path(install_wheels.build_wheels(tmp_path)[0])
    long_ago = time.time() - install_wheels.KEPT - 10
    os.utime(str(first.parent), (long_ago, long_ago))
    install_wheels.build_wheels(tmp_path)  # asks for it
    assert first.exists()
    os.utime(str(first.parent), (long_ago, long_ago))
    builds.state = "two"
    second = Path(install_wheels.build_wheels(tmp_path)[0])
    assert second.exists()
    assert not first.parent.exists()
