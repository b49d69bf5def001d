"""One target under libFuzzer, in the process that ``fuzz/run.py`` has prepared for it.

python -m fuzz.worker TARGET [libFuzzer's options and directories]
"""

from __future__ import annotations

import ctypes
import sys

import atheris
import atheris.core_with_libfuzzer as libfuzzer

from fuzz.harness import load


def main() -> None:
    """Attach the coverage of the codec to libFuzzer, and let it run."""
    name = sys.argv.pop(1)
    coverage = ctypes.CDLL(None)
    if coverage.coverage_attach(libfuzzer.__file__.encode()):
        sys.exit(f"no libFuzzer in {libfuzzer.__file__}")
    with atheris.instrument_imports(
        include=["picows_server.proxies", "picows_server.sni"]
    ):  # in Python
        run = load(name)
    if not coverage.coverage_places():
        sys.exit("the codec was not compiled with -fsanitize-coverage: see fuzz/README.md")
    atheris.Setup(sys.argv, run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
