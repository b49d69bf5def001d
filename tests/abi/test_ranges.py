"""Client and server at both ends of the range of codecs that they allow.

A released version is built from its tag. As long as the oldest version that a range allows is the
present one, that end is what is here; the newest end is a codec of a later level.
"""

from __future__ import annotations

import subprocess
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Dict

import pytest
from packaging.version import Version

import picows_codec
from tests.packaging.building import NAMES, ROOT, FreshEnvironment, pip_wheel, run, talk
from tools import install_wheels, release


@pytest.fixture(scope="session")
def wheels(codec_wheel: Path) -> Dict[str, Path]:
    """The three wheels of today; that of the codec has been built already."""
    return {
        name: Path(path)
        for name, path in zip(NAMES, install_wheels.build_wheels(codec_wheel.parents[2]))
    }


def released_wheel(package: str, version: Version, target: Path) -> Path:
    """Build a release from its tag."""
    tag = release.tag_of(ROOT, package, version)
    assert tag is not None, f"{package} {version} is allowed, but there is no tag of it"
    command = ["git", "archive", tag, f"packages/{package}"]
    archive = subprocess.run(command, cwd=str(ROOT), stdout=subprocess.PIPE, check=True).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as files:
        files.extractall(str(target))
    pip_wheel(str(target / "packages" / package), target)
    return next(target.glob("*.whl"))


def exchange(environment: FreshEnvironment, *wheels: Path) -> None:
    """Install what pip accepts together; client and server then talk to each other."""
    environment.pip_install(*map(str, wheels))
    run(environment.python, "-m", "pip", "check", cwd=wheels[0].parent)
    python = environment.python
    answer = talk(python, "quickstart_server.py", python, "quickstart_client.py")
    assert answer == "Echo reply: Hello world\n"


def test_lowest_codec(
    fresh_environment: FreshEnvironment, wheels: Dict[str, Path], tmp_path: Path
) -> None:
    lowest = max(
        release.lower_bound(release.codec_requirement(ROOT, package))
        for package in ("picows-client", "picows-server")
    )
    codec = wheels["codec"]
    if lowest != Version(picows_codec.__version__):
        codec = released_wheel("picows-codec", lowest, tmp_path)
    exchange(fresh_environment, codec, wheels["client"], wheels["server"])


def test_newest_codec(
    fresh_environment: FreshEnvironment, wheels: Dict[str, Path], newer_codec_wheel: Path
) -> None:
    """A release of the codec that is yet to come, with client and server of today."""
    exchange(fresh_environment, newer_codec_wheel, wheels["client"], wheels["server"])


def test_oldest_client_and_server(
    fresh_environment: FreshEnvironment, wheels: Dict[str, Path], tmp_path: Path
) -> None:
    """The codec of today with the first releases of the others that allow it."""
    chosen = [wheels["codec"]]
    for name in ("client", "server"):
        package = f"picows-{name}"
        tags = release.git(ROOT, "tag", "--list", f"{package}-v*").split()
        released = sorted(Version(tag.rpartition("-v")[2]) for tag in tags)
        directory = tmp_path / name
        directory.mkdir()
        old = released_wheel(package, released[0], directory) if released else wheels[name]
        chosen.append(old)
    exchange(fresh_environment, *chosen)
