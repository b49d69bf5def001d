"""Names that are imported when somebody first asks for them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Iterator

import pytest

from picows_codec.lazy_names import SHARED_NAMES

PACKAGES = ["picows_codec", "picows_client", "picows_server"]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A package with a name that lies in a module."""
    directory = tmp_path / "lazy_package"
    directory.mkdir()
    (directory / "__init__.py").write_text(
        "from picows_codec.lazy_names import lazy_names\n"
        "eager = 1\n"
        "__getattr__, __dir__ = lazy_names(__name__, {'late': 'lazy_package.room'})\n"
    )
    (directory / "room.py").write_text("late = object()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("lazy_package")
    for name in ("lazy_package", "lazy_package.room"):
        sys.modules.pop(name, None)


def test_first_use_imports(package: ModuleType) -> None:
    assert "lazy_package.room" not in sys.modules
    assert "late" not in vars(package)
    assert {"late", "eager"} <= set(dir(package))
    late = package.late
    assert "lazy_package.room" in sys.modules
    assert vars(package)["late"] is late is sys.modules["lazy_package.room"].late
    assert dir(package).count("late") == 1


def test_unknown_names(package: ModuleType) -> None:
    with pytest.raises(AttributeError, match="module 'lazy_package' has no attribute 'missing'"):
        _ = package.missing
    assert not hasattr(package, "__path__later__")


@pytest.mark.parametrize("name", PACKAGES)
def test_every_public_name_is_there(name: str) -> None:
    module = importlib.import_module(name)
    for public in module.__all__:
        assert getattr(module, public) is not None
        assert public in dir(module)
    assert set(SHARED_NAMES) <= set(module.__all__)


@pytest.mark.parametrize("lazy", sorted(SHARED_NAMES))
def test_one_object_everywhere(lazy: str) -> None:
    found = {id(getattr(importlib.import_module(name), lazy)) for name in PACKAGES}
    assert len(found) == 1
    assert callable(getattr(importlib.import_module("picows_codec"), lazy))
