"""tools/run_aarch64.py: what it says where it cannot run. tox -e aarch64 runs it."""

from __future__ import annotations

import platform
import shutil
import sys
from pathlib import Path

import pytest

from tools import run_aarch64


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine that has everything; the folder where its kernel lists the emulators."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(run_aarch64, "BINFMT", tmp_path)
    monkeypatch.setattr("os.geteuid", lambda: 0, raising=False)
    (tmp_path / "register").touch()
    (tmp_path / "qemu-aarch64").touch()
    return tmp_path


def told() -> str:
    with pytest.raises(SystemExit) as caught:
        run_aarch64.check_machine()
    return str(caught.value)


def test_a_machine_that_has_everything() -> None:
    run_aarch64.check_machine()


def test_missing_packages_are_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None if "qemu" in name else name)
    assert told().endswith("as root: apt-get install qemu-user-static")


def test_a_container_that_does_not_see_the_emulators(machine: Path) -> None:
    (machine / "qemu-aarch64").unlink()
    assert told().endswith("as root: update-binfmts --enable qemu-aarch64")
    (machine / "register").unlink()
    assert f"mount -t binfmt_misc binfmt_misc {machine} && update-binfmts" in told()


def test_somebody_else_than_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert "sudo" in told()


def test_a_machine_of_aarch64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert "tox -e py" in told()


def test_another_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert "not for riscv64" in told()


def test_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "darwin" in told()
