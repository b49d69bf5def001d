"""picows_server.running.workers.main_module: the user's script in a worker."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from picows_server import WSInvalidOptionError
from picows_server.running.workers.main_module import (
    check_not_in_worker,
    import_main_module,
    pickle_settings,
)

SCRIPT = """
import pickle, subprocess, sys
from picows_server.running.workers.main_module import pickle_settings

class Mine:
    name = __name__

if __name__ == "__main__":
    data, main = pickle_settings({"factory": Mine, "instance": [Mine()]})
    code = (
        "import pickle;"
        "from picows_server.running.workers.main_module import import_main_module;"
        f"import_main_module(*{main!r});"
        f"found = pickle.loads({data!r});"
        "print(found['factory'].__module__, found['factory'].name, type(found['instance'][0]))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
"""


REFUSED = """
from picows_server.running.workers.main_module import pickle_settings
class Mine: pass
try: pickle_settings(Mine)
except ValueError as error: print(error)
"""


def run_script(*arguments: str, folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout.strip()


EXPECTED = "__mp_main__ __mp_main__ <class '__mp_main__.Mine'>"


def test_a_script(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    assert run_script("script.py", folder=tmp_path) == EXPECTED


def test_a_module(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "module.py").write_text(SCRIPT, encoding="utf-8")
    (package / "__main__.py").write_text(SCRIPT, encoding="utf-8")
    assert run_script("-m", "package.module", folder=tmp_path) == EXPECTED
    assert run_script("-m", "package", folder=tmp_path) == EXPECTED


def test_a_directory(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__main__.py").write_text(SCRIPT, encoding="utf-8")
    assert run_script("package", folder=tmp_path) == EXPECTED


def test_an_archive(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "package.zip", "w") as archive:
        archive.writestr("__main__.py", REFUSED)
    assert "__main__.py of an archive" in run_script("package.zip", folder=tmp_path)


def test_an_interactive_session(tmp_path: Path) -> None:
    assert "interactive session" in run_script("-c", REFUSED, folder=tmp_path)


def test_settings_that_need_no_script() -> None:
    data, main = pickle_settings({"factory": Path, "text": "package.__main__"})
    assert b"pathlib" in data
    assert main is None


def test_an_import_string_of_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    # The main module of a process that runs tests in parallel is no file.
    monkeypatch.setattr(sys.modules["__main__"], "__file__", __file__, raising=False)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    _, main = pickle_settings(["__main__:Mine"])
    assert main is not None


def test_what_cannot_be_imported() -> None:
    with pytest.raises(WSInvalidOptionError, match="must be importable"):
        pickle_settings({"factory": lambda: None})


def test_a_script_that_starts_workers(tmp_path: Path) -> None:
    check_not_in_worker()
    script = tmp_path / "script.py"
    script.write_text(
        "from picows_server.running.workers.main_module import check_not_in_worker\n"
        "check_not_in_worker()\n",
        encoding="utf-8",
    )
    before: Any = sys.modules["__main__"]
    with pytest.raises(RuntimeError, match='below if __name__ == "__main__"'):
        import_main_module("path", str(script))
    assert sys.modules["__main__"] is before
    check_not_in_worker()
