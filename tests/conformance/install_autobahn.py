"""Install Autobahn|Testsuite and print the path of its command, ``wstest``.

    python tests/conformance/install_autobahn.py DIRECTORY

The suite is Python 2 code. It gets a virtual environment of its own below DIRECTORY, made once for
each state of autobahn-requirements.txt. Its interpreter is the first that runs of:

* the environment variable ``AUTOBAHN_PYTHON``;
* ``python2.7`` and ``python2`` on PATH;
* the newest 2.7 that pyenv has.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, Iterator, List, Optional

REQUIREMENTS = Path(__file__).resolve().with_name("autobahn-requirements.txt")
# The last line of releases that makes environments for Python 2.7.
VIRTUALENV = "virtualenv==20.21.1"


def main(arguments: List[str]) -> None:
    """Install unless that was done, and print where ``wstest`` is."""
    if len(arguments) != 1:
        sys.exit(__doc__)
    environment = Path(arguments[0]).resolve() / "autobahn"
    stamp = environment / "installed"
    wanted = f"{VIRTUALENV}\n{REQUIREMENTS.read_text(encoding='utf-8')}"
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != wanted:
        install(find_python2(), environment)
        stamp.write_text(wanted, encoding="utf-8")
    print(environment / "bin" / "wstest")


def find_python2() -> str:
    """Return the path of a Python 2.7, or end the program with what can be done about it."""
    for candidate in python2_candidates():
        # A shim of pyenv may be on PATH and still refuse to run.
        if python2_version(candidate) == "2.7":
            return candidate
    sys.exit(
        "Autobahn|Testsuite needs a Python 2.7, and none was found: set AUTOBAHN_PYTHON to its"
        " path, or install it (pyenv install 2.7)"
    )


def python2_candidates() -> Iterator[str]:
    """Commands and paths to try, best first."""
    chosen = os.environ.get("AUTOBAHN_PYTHON")
    if chosen:
        yield chosen
        return
    for name in ("python2.7", "python2"):
        found = shutil.which(name)
        if found:
            yield found
    pyenv = shutil.which("pyenv")
    root = os.environ.get("PYENV_ROOT") or (pyenv and output_of([pyenv, "root"]))
    if root:
        patches = Path(root, "versions").glob("2.7.*/bin/python")
        yield from map(str, sorted(patches, reverse=True))


def python2_version(command: str) -> Optional[str]:
    """The version of an interpreter as ``"2.7"``, or None if it does not run."""
    return output_of([command, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])


def output_of(command: List[str]) -> Optional[str]:
    """What a command prints, stripped; None if it fails."""
    try:
        outcome = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8", check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return outcome.stdout.strip()


def install(python2: str, environment: Path) -> None:
    """Make the environment anew, with the pinned requirements."""
    shutil.rmtree(str(environment), ignore_errors=True)
    environment.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as tool:
        pip = ["-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        run([sys.executable, *pip, "--target", tool, VIRTUALENV])
        make = ["-m", "virtualenv", "--quiet", "--python", python2, str(environment)]
        run([sys.executable, *make], {**os.environ, "PYTHONPATH": tool})
    python = str(environment / "bin" / "python")
    # Python's own settings of this environment are not for the other one.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    run([python, *pip, "--requirement", str(REQUIREMENTS)], clean)


def run(command: List[str], environment: Optional[Dict[str, str]] = None) -> None:
    """Run a command, quietly unless it fails; that ends the program."""
    outcome = subprocess.run(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    if outcome.returncode:
        sys.exit(f"{outcome.stdout}\nfailed: {' '.join(command)}")


if __name__ == "__main__":
    main(sys.argv[1:])
