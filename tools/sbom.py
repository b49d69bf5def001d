"""Write what an installation of one package consists of, as a CycloneDX document in JSON.

    python tools/sbom.py picows-client dist sbom.cdx.json

The package is installed from the files in the directory ``dist``, with what it requires from the
index, into an environment of its own; pip chooses the file as it does for a user. What is released
is listed as the main component, its requirements with the versions that pip found.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import List

ROOT = Path(__file__).resolve().parents[1]
GENERATOR = "cyclonedx-bom>=7,<8"


def main(arguments: List[str]) -> None:
    """Install, then list."""
    if len(arguments) != 3:
        sys.exit(__doc__)
    package, files, output = arguments
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        installed = environment(Path(temporary, "installed"))
        pip(installed, "install", "--find-links", files, f"{package}=={version(package)}")
        pip(installed, "uninstall", "--yes", "setuptools", "pip")
        generator = environment(Path(temporary, "generator"))
        pip(generator, "install", GENERATOR)
        command = [str(generator), "-m", "cyclonedx_py", "environment", "--output-reproducible"]
        command += ["--pyproject", str(ROOT / "packages" / package / "pyproject.toml")]
        command += ["--mc-type", "library", "--output-file", output, str(installed)]
        subprocess.run(command, check=True)
    complete(Path(output), package)


def complete(path: Path, package: str) -> None:
    """Write the version of the package, which is not in its pyproject.toml."""
    document = json.loads(path.read_text("utf-8"))
    component = document["metadata"]["component"]
    component["version"] = version(package)
    component["purl"] = f"pkg:pypi/{package}@{version(package)}"
    path.write_text(json.dumps(document, indent=2), "utf-8")


def version(package: str) -> str:
    """Return the version that is released."""
    module = package.replace("-", "_")
    path = ROOT / "packages" / package / "src" / module / "_version.py"
    return path.read_text("utf-8").split('"')[1]


def environment(path: Path) -> Path:
    """Make a virtual environment and return its interpreter."""
    venv.create(str(path), with_pip=True)
    return path / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def pip(python: Path, *arguments: str) -> None:
    """Run pip in an environment."""
    command = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
