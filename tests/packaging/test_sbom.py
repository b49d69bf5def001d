"""tools/sbom.py: what a release consists of."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Dict

import pytest

from tests.packaging.building import ROOT, declared_version, run

needs_generator = pytest.mark.skipif(sys.version_info < (3, 9), reason="needs a newer Python")


@needs_generator
def test_list_of_the_client(wheels: Dict[str, Path], tmp_path: Path) -> None:
    directory = tmp_path / "dist"
    directory.mkdir()
    for wheel in (wheels["codec"], wheels["client"]):
        (directory / wheel.name).write_bytes(wheel.read_bytes())
    output = tmp_path / "sbom" / "sbom.cdx.json"
    program = str(ROOT / "tools" / "sbom.py")
    run(sys.executable, program, "picows-client", str(directory), str(output), cwd=tmp_path)
    document = json.loads(output.read_text("utf-8"))
    assert document["bomFormat"] == "CycloneDX"
    main = document["metadata"]["component"]
    assert (main["name"], main["version"]) == ("picows-client", declared_version("client"))
    others = {component["name"]: component["version"] for component in document["components"]}
    assert others["picows-codec"] == declared_version("codec")
    assert {"multidict", "aiofastnet"} <= set(others)
    assert not {"pip", "setuptools", "picows-client"} & set(others)
