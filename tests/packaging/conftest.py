"""Fixtures that build: sdists from the tree, wheels from the sdists, fresh environments."""

from __future__ import annotations

import shutil
import sys
import tarfile
from pathlib import Path
from typing import Callable, Dict, List

import pytest

from tests.packaging.building import NAMES, ROOT, FreshEnvironment, pip_wheel, run


def pytest_collection_modifyitems(items: List[pytest.Item]) -> None:
    """Everything in this directory is slow: ``tox -e packaging`` runs it."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.packaging)
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture
def fresh_environment(tmp_path: Path) -> Callable[[], FreshEnvironment]:
    """Make a new virtual environment."""
    return lambda: FreshEnvironment(tmp_path / "environment")


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages' sources, without what builds leave in a working tree."""
    target = tmp_path_factory.mktemp("tree") / "packages"
    derived = shutil.ignore_patterns("*.so", "*.pyd", "*.o", "*.obj", "__pycache__")
    shutil.copytree(str(ROOT / "packages"), str(target), ignore=derived)
    return target


@pytest.fixture(scope="session")
def sdists(tmp_path_factory: pytest.TempPathFactory, packages: Path) -> Dict[str, Path]:
    """The three source distributions, by the name of the package."""
    target = tmp_path_factory.mktemp("sdists")
    for name in NAMES:
        source = str(packages / f"picows-{name}")
        run(sys.executable, "-m", "build", "--sdist", "-o", str(target), source, cwd=target)
    return {name: next(target.glob(f"picows_{name}-*.tar.gz")) for name in NAMES}


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory, sdists: Dict[str, Path]) -> Path:
    """The codec's source distribution, unpacked."""
    target = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(str(sdists["codec"])) as archive:
        # What is not chosen is warned of by Python 3.12 and 3.13.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(str(target))
    return next(target.iterdir())


@pytest.fixture(scope="session")
def wheels(
    tmp_path_factory: pytest.TempPathFactory, sdists: Dict[str, Path], unpacked: Path
) -> Dict[str, Path]:
    """The three wheels, built in isolation from the source distributions alone."""
    target = tmp_path_factory.mktemp("wheels")
    for source in (unpacked, sdists["client"], sdists["server"]):
        pip_wheel(str(source), target)
    return {name: next(target.glob(f"picows_{name}-*.whl")) for name in NAMES}
