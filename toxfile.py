"""Let plain ``tox`` see every interpreter that pyenv has.

pyenv's commands ``python3.8`` and so on work only for the versions chosen with ``PYENV_VERSION``
or ``pyenv global``; tox looks for interpreters through these commands. Without pyenv, or with a
choice already made, this does nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess

pyenv = shutil.which("pyenv")
if pyenv and not os.environ.get("PYENV_VERSION"):
    listing = subprocess.run(
        [pyenv, "versions", "--bare"], stdout=subprocess.PIPE, encoding="utf-8", check=False
    )
    os.environ["PYENV_VERSION"] = ":".join(reversed(listing.stdout.split()))
