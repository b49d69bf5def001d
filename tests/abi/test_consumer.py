"""A project of somebody else: built in isolation against the codec's wheel, and run."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Callable

import pytest

import picows_codec
from picows_codec.abi import ABI_EPOCH, ABI_LEVEL
from tests.abi.conftest import CONSUMER
from tests.packaging.building import FreshEnvironment, run

Build = Callable[[Path], Path]
CHECK = ("-W", "error", "-m", "abi_consumer_check")


@pytest.fixture(scope="session")
def consumer_wheel(build_consumer: Build, codec_wheel: Path) -> Path:
    return build_consumer(codec_wheel)


def test_from_source_where_only_the_codec_is(
    fresh_environment: FreshEnvironment, codec_wheel: Path, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    shutil.copytree(str(CONSUMER), str(project))
    fresh_environment.pip_install(str(codec_wheel))
    before = fresh_environment.distributions()
    # The compiler is the machine's, and Cython comes and goes with pip's isolated environment.
    fresh_environment.pip_install(
        str(project), environment={"PIP_FIND_LINKS": str(codec_wheel.parent)}
    )
    assert fresh_environment.distributions() == sorted([*before, "abi-consumer"])
    output = run(fresh_environment.python, *CHECK, cwd=tmp_path)
    expected = f"picows-codec {picows_codec.__version__}, epoch {ABI_EPOCH}, level {ABI_LEVEL}\n"
    assert output == expected


def test_built_against_an_older_wheel(
    fresh_environment: FreshEnvironment,
    consumer_wheel: Path,
    newer_codec_wheel: Path,
    tmp_path: Path,
) -> None:
    """It runs on the newest codec of its epoch, without being compiled again."""
    fresh_environment.pip_install(str(newer_codec_wheel), str(consumer_wheel))
    output = run(fresh_environment.python, *CHECK, cwd=tmp_path)
    assert output == f"picows-codec 0.99.0, epoch {ABI_EPOCH}, level {ABI_LEVEL + 1}\n"


def test_built_against_a_newer_wheel(
    fresh_environment: FreshEnvironment,
    build_consumer: Build,
    codec_wheel: Path,
    newer_codec_wheel: Path,
    tmp_path: Path,
) -> None:
    """It says what it needs."""
    fresh_environment.pip_install(str(codec_wheel), str(build_consumer(newer_codec_wheel)))
    program = "try:\n import abi_consumer\nexcept ImportError as error:\n print(error)"
    error = run(fresh_environment.python, "-c", program, cwd=tmp_path)
    assert re.fullmatch(
        rf"an extension that was compiled against picows-codec 0\.99\.0 \(C API epoch {ABI_EPOCH},"
        rf" level {ABI_LEVEL + 1}\) cannot run on picows-codec {picows_codec.__version__}"
        rf" \(epoch {ABI_EPOCH}, level {ABI_LEVEL}\): pip install 'picows-codec>=0\.99\.0,<1'\n",
        error,
    )
