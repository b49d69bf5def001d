"""What the wheels and the source distributions hold."""

from __future__ import annotations

import email
import os
import re
import sys
import tarfile
import tempfile
from email.message import Message
from pathlib import Path, PurePosixPath
from typing import Dict, Set
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import parse_sdist_filename, parse_wheel_filename

from tests.packaging.building import NAMES, ROOT, declared_version
from tools import install_wheels


def names_in(wheel: Path) -> Set[str]:
    with ZipFile(str(wheel)) as archive:
        return set(archive.namelist())


def metadata_of(wheel: Path) -> Message:
    with ZipFile(str(wheel)) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(archive.read(name))


@pytest.mark.parametrize("name", NAMES)
def test_wheel_holds_the_package_and_nothing_else(wheels: Dict[str, Path], name: str) -> None:
    names = names_in(wheels[name])
    tops = {PurePosixPath(entry).parts[0] for entry in names}
    assert {f"picows_{name}"} == {top for top in tops if not top.endswith(".dist-info")}
    assert len(tops) == 2
    assert f"picows_{name}/py.typed" in names
    assert f"picows_{name}/_version.py" in names
    assert any(re.fullmatch(r"[^/]+\.dist-info/licenses/LICENSE", entry) for entry in names)
    kinds = {PurePosixPath(entry).suffix for entry in names if entry.startswith(f"picows_{name}/")}
    extension = ".pyd" if sys.platform == "win32" else ".so"
    expected = {".py", ".typed"}
    assert kinds == (expected | {".pxd", ".pyi", extension} if name == "codec" else expected)


def test_codec_ships_every_declaration_stub_and_extension(
    wheels: Dict[str, Path], packages: Path
) -> None:
    names = names_in(wheels["codec"])
    source = packages / "picows-codec" / "src" / "picows_codec"
    assert {"picows_codec/__init__.pxd", "picows_codec/abi.pxd"} <= names
    for suffix in (".py", ".pxd", ".pyi"):
        for path in source.rglob(f"*{suffix}"):
            assert f"picows_codec/{path.relative_to(source).as_posix()}" in names
    for path in source.rglob("*.pyx"):
        room = path.relative_to(source).with_suffix("").as_posix()
        if sys.platform == "win32" and "stream" in room.split("/"):
            continue
        pattern = re.compile(rf"picows_codec/{room}\.[^/]*(so|pyd)")
        assert any(pattern.fullmatch(entry) for entry in names), room
        assert f"picows_codec/{room}.pyi" in names, "a compiled module needs a stub"


def test_tags(wheels: Dict[str, Path]) -> None:
    for name in ("client", "server"):
        assert wheels[name].name.endswith("-py3-none-any.whl")
    tags = parse_wheel_filename(wheels["codec"].name)[3]
    version = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    for tag in tags:
        assert tag.interpreter == version
        assert tag.abi.startswith(version)
        assert tag.platform != "any"


def test_extensions_hold_no_path_of_the_building_machine(wheels: Dict[str, Path]) -> None:
    places = [str(ROOT), tempfile.gettempdir(), sys.prefix, sys.base_prefix, str(Path.home())]
    with ZipFile(str(wheels["codec"])) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            for place in places:
                if len(Path(place).parts) > 1 and place != "/usr":
                    assert place.encode() not in content, f"{name} holds {place}"


@pytest.mark.skipif(sys.platform != "linux", reason="looks for sections of ELF files")
def test_extensions_are_stripped(wheels: Dict[str, Path]) -> None:
    with ZipFile(str(wheels["codec"])) as archive:
        extensions = [name for name in archive.namelist() if name.endswith(".so")]
        for name in extensions:
            content = archive.read(name)
            assert b".symtab" not in content, name
            assert b".debug_info" not in content, name


def test_a_build_leaves_nothing(
    wheels: Dict[str, Path], sdists: Dict[str, Path], unpacked: Path
) -> None:
    assert wheels["codec"].exists()
    with tarfile.open(str(sdists["codec"])) as archive:
        sources = {member.name for member in archive.getmembers() if member.isfile()}
    files = (path for path in unpacked.rglob("*") if path.is_file())
    assert {path.relative_to(unpacked.parent).as_posix() for path in files} == sources


def test_a_build_from_the_tree_gives_the_same_wheel(
    wheels: Dict[str, Path], tmp_path: Path
) -> None:
    """tox has built it already, and says where."""
    cache = os.environ.get("PICOWS_WHEELS")
    built = install_wheels.build_wheels(Path(cache) if cache else tmp_path)
    for name, wheel in zip(NAMES, built):
        assert Path(wheel).read_bytes() == wheels[name].read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_source_distribution(sdists: Dict[str, Path], name: str) -> None:
    with tarfile.open(str(sdists[name])) as archive:
        files = [
            PurePosixPath(member.name).relative_to(member.name.split("/")[0]).as_posix()
            for member in archive.getmembers()
            if member.isfile()
        ]
    package = f"src/picows_{name}"
    wanted = {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", f"{package}/py.typed"}
    assert wanted <= set(files)
    for file in files:
        path = PurePosixPath(file)
        assert path.suffix not in {".so", ".pyd", ".o", ".obj", ".pyc"}, file
        assert path.suffix != ".c" or path.parent.name == "native", file
        assert path.parts[0] in {"src", "hatch_build.py", "PKG-INFO", ".gitignore"} | wanted, file


def test_versions_agree(wheels: Dict[str, Path], sdists: Dict[str, Path]) -> None:
    versions = {name: declared_version(name) for name in NAMES}
    for name, version in versions.items():
        assert metadata_of(wheels[name])["Version"] == version
        assert str(parse_wheel_filename(wheels[name].name)[1]) == version
        assert str(parse_sdist_filename(sdists[name].name)[1]) == version
        changelog = ROOT / "packages" / f"picows-{name}" / "CHANGELOG.md"
        assert f"\n## {version}" in changelog.read_text(encoding="utf-8")
    for name in ("client", "server"):
        requirements = map(Requirement, metadata_of(wheels[name]).get_all("Requires-Dist"))
        [codec] = [
            requirement for requirement in requirements if requirement.name == "picows-codec"
        ]
        assert versions["codec"] in codec.specifier
        assert not any(other in str(codec) for other in ("client", "server"))


@pytest.mark.parametrize("name", NAMES)
def test_metadata(wheels: Dict[str, Path], name: str) -> None:
    metadata = metadata_of(wheels[name])
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.8"
    assert metadata["Description-Content-Type"] == "text/markdown"
    required = {
        Requirement(line).name
        for line in metadata.get_all("Requires-Dist")
        if "extra ==" not in line
    }
    assert required == ({"multidict"} if name == "codec" else {"picows-codec", "aiofastnet"})
    extras = {
        "codec": set(),
        "client": {"compression", "socks", "uvloop"},
        "server": {"compression", "metrics", "nats", "redis", "uvloop"},
    }
    assert set(metadata.get_all("Provides-Extra", [])) == extras[name]


@pytest.mark.parametrize("name", NAMES)
def test_scripts(wheels: Dict[str, Path], name: str) -> None:
    """The client's wheel has the command line."""
    with ZipFile(str(wheels[name])) as archive:
        texts = [
            archive.read(entry).decode()
            for entry in archive.namelist()
            if entry.endswith(".dist-info/entry_points.txt")
        ]
    script = "[console_scripts]\npicows = picows_client.cli.main:main\n"
    assert texts == ([script] if name == "client" else [])
