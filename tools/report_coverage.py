"""Report what ``coverage run`` measured; fail below the threshold of pyproject.toml.

    python tools/report_coverage.py

Every process that was measured has left a file, named after ``COVERAGE_FILE``; they are combined.
Runs where the installed packages are: Cython's plugin looks for the sources of a .pxd file below
the current directory, and takes one of the wrong name if it is not there. Lines in a ``finally``
that a ``return`` or an exception leads to count as missed, because Cython does not trace them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from coverage.cmdline import main

import picows_codec

ROOT = Path(__file__).resolve().parents[1]

if __name__ == "__main__":
    os.environ["COVERAGE_FILE"] = str(Path(os.environ.get("COVERAGE_FILE", ".coverage")).resolve())
    os.chdir(str(Path(picows_codec.__file__).resolve().parents[1]))
    settings = ["--rcfile", str(ROOT / "pyproject.toml")]
    sys.exit(main(["combine", "--quiet", *settings]) or main(["report", *settings]))
