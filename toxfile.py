"""Let plain ``tox`` see every interpreter that pyenv has.

tox looks for ``python3.8`` and so on along PATH, where pyenv has commands of these names; but they
work only for the versions that ``pyenv global`` names. So the interpreters themselves are added to
the end of PATH. Without pyenv this does nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

pyenv = shutil.which("pyenv")
if pyenv:
    root = subprocess.run(
        [pyenv, "root"], stdout=subprocess.PIPE, encoding="utf-8", check=True
    ).stdout.strip()
    versions = sorted(Path(root, "versions").glob("*/bin"), reverse=True)
    os.environ["PATH"] = os.pathsep.join([os.environ["PATH"], *map(str, versions)])
