"""picows_server.running.import_strings: what is found, and what is said of the rest."""

from __future__ import annotations

import os.path
import sys
from pathlib import Path

import pytest

from picows_server import WSInvalidOptionError
from picows_server.running.import_strings import import_object


def test_objects() -> None:
    assert import_object("application", "os.path:join") is os.path.join
    assert import_object("application", "pathlib:Path.home") == Path.home


@pytest.mark.parametrize(
    "text",
    ["", "app", ":app", "app:", "app:x:y", "app.:x", "a-b:x", "app:x()", "/:x"],
)
def test_no_import_string(text: str) -> None:
    with pytest.raises(WSInvalidOptionError, match="application must be an import string"):
        import_object("application", text)


@pytest.mark.parametrize("text", ["chat.py", "chat.py:app", "/srv/chat.py:app", "./chat:app"])
def test_files(text: str) -> None:
    with pytest.raises(WSInvalidOptionError, match="not by its file"):
        import_object("application", text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nothing_there:x", "there is no module 'nothing_there'"),
        ("os.nothing:x", r"there is no module 'os\.nothing'"),
        ("os:nothing", "'os' has no attribute 'nothing'"),
        ("os:path.nothing", "has no attribute 'nothing'"),
    ],
)
def test_nothing_there(text: str, why: str) -> None:
    with pytest.raises(WSInvalidOptionError, match=f"the thing is '{text}', and .*{why}"):
        import_object("the thing", text)


def test_a_module_that_needs_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needs_another.py").write_text("import nothing_there")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="nothing_there"):
        import_object("application", "needs_another:x")
    sys.modules.pop("needs_another", None)


@pytest.mark.parametrize(
    ("source", "call"),
    [
        ("import sys\nsys.exit()", r"sys\.exit\(None\), in line 2 of"),
        ("raise SystemExit('not configured')", r"sys\.exit\('not configured'\), in line 1 of"),
        # deeper than the line of the module
        ("import argparse\n\nargparse.ArgumentParser().exit(0)", r"sys\.exit\(0\), in line 3 of"),
    ],
)
def test_a_module_that_exits(
    source: str, call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "exiting.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(WSInvalidOptionError, match=f"importing 'exiting' calls {call} '.*below if"):
        import_object("application", "exiting:x")
    assert "exiting" not in sys.modules
