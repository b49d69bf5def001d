"""What the tools of the packaging world make of the wheels and source distributions."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Dict
from zipfile import ZipFile

import pytest

from tests.packaging.building import NAMES, run

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="about ELF files")
# What every Linux has; the loader is there for thread-local storage.
LIBRARIES = {
    r"libc\.so\.6",
    r"libpthread\.so\.0",
    r"ld-linux-[\w-]+\.so\.\d",
    r"libc\.musl-\w+\.so\.1",
}


def test_twine(sdists: Dict[str, Path], wheels: Dict[str, Path], tmp_path: Path) -> None:
    files = [str(path) for path in (*sdists.values(), *wheels.values())]
    output = run(sys.executable, "-m", "twine", "check", "--strict", *files, cwd=tmp_path)
    assert output.count("PASSED") == len(files)


@pytest.mark.parametrize("name", NAMES)
def test_check_wheel_contents(wheels: Dict[str, Path], name: str, tmp_path: Path) -> None:
    run(sys.executable, "-m", "check_wheel_contents", str(wheels[name]), cwd=tmp_path)


@needs_linux
def test_auditwheel(wheels: Dict[str, Path], tmp_path: Path) -> None:
    """The wheel runs on any Linux of the last decade; cibuildwheel only has to name it so."""
    output = run(sys.executable, "-m", "auditwheel", "show", str(wheels["codec"]), cwd=tmp_path)
    text = " ".join(output.split())
    tag = re.search(r'platform tag: "(many|musl)linux_(\d+)_(\d+)_\w+"', text)
    assert tag is not None, text
    if tag[1] == "many":
        assert (int(tag[2]), int(tag[3])) <= (2, 28)
    assert "libraries that require" not in text
    libraries = text.partition("shared libraries: ")[2].partition(" This ")[0]
    for library in re.findall(r"lib\w+\.so[.\w]*", libraries):
        assert any(re.fullmatch(known, library) for known in LIBRARIES), library


@needs_linux
def test_libraries_that_extensions_need(wheels: Dict[str, Path], tmp_path: Path) -> None:
    with ZipFile(str(wheels["codec"])) as archive:
        archive.extractall(str(tmp_path))
    for extension in tmp_path.rglob("*.so"):
        output = run("readelf", "--dynamic", str(extension), cwd=tmp_path)
        needed = re.findall(r"\(NEEDED\).*\[(.*)\]", output)
        assert needed
        for library in needed:
            assert any(re.fullmatch(known, library) for known in LIBRARIES), (extension, library)
        assert "RPATH" not in output
        assert "RUNPATH" not in output
        assert "TEXTREL" not in output


def test_an_extension_offers_its_entry_only(wheels: Dict[str, Path], tmp_path: Path) -> None:
    """Kernels and helpers are hidden: two extensions link the same ones."""
    if sys.platform != "linux":
        pytest.skip("looks at ELF symbols")
    with ZipFile(str(wheels["codec"])) as archive:
        archive.extractall(str(tmp_path))
    for extension in tmp_path.rglob("*.so"):
        command = ["nm", "--dynamic", "--defined-only", str(extension)]
        output = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", check=True)
        names = {line.split()[-1] for line in output.stdout.splitlines()}
        module = extension.name.partition(".")[0]
        folder = extension.relative_to(tmp_path).parent.parts
        main = f"__pyx_module_is_main_{'__'.join((*folder, module))}"  # Cython's, one per module
        assert names - {"_init", "_fini", main} == {f"PyInit_{module}"}, extension.name
