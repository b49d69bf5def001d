"""The reference of the site has every public name, and says something about each."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Set

import pytest

from tools import reference, reference_pages

ROOT = Path(__file__).resolve().parents[1]
TEXTS = ("README.md", "docs/**/*.md", "examples/**/*.py", "packages/*/README.md")

needs_unparse = pytest.mark.skipif(sys.version_info < (3, 9), reason="ast.unparse")


def test_every_public_name_has_its_place() -> None:
    assert reference_pages.missing() == set()
    assert reference_pages.superfluous() == set()


def imported_modules() -> Set[str]:
    """The modules from which documents and examples import."""
    found: Set[str] = set()
    for pattern in TEXTS:
        for path in ROOT.glob(pattern):
            text = path.read_text("utf-8")
            found.update(re.findall(r"^from (picows_[\w.]+) import", text, re.MULTILINE))
    return found


# Rooms that one page of the documentation speaks about, without a promise.
MENTIONED = {"picows_codec.coroutines.inbox", "picows_codec.mask"}


def test_every_module_that_users_import_from_is_in_it() -> None:
    found = imported_modules()
    assert {"picows_client", "picows_server", "picows_server.asgi"} <= found
    assert found - set(reference_pages.MODULES) <= MENTIONED


@needs_unparse
def test_something_is_said_about_every_name_and_member() -> None:
    assert reference.undocumented() == set()


@needs_unparse
def test_pages(tmp_path: Path) -> None:
    reference.main([str(tmp_path)])
    text = "".join(path.read_text("utf-8") for path in tmp_path.glob("*.rst"))
    for page in reference_pages.PAGES:
        for name in page.names:
            assert re.search(rf"^\.\. py:\w+:: {name}\b", text, re.MULTILINE), name
    connect = re.findall(r"^\.\. py:function:: connect(\(.*)", text, re.MULTILINE)[0]
    assert "enable_auto_ping: bool = False" in connect
    assert "logger_name: Union[str, Logger, None] = 'client'" in connect
    send = re.findall(r"^ +\.\. py:method:: send(\(opcode.*)", text, re.MULTILINE)[0]
    assert send.startswith("(opcode: int, message: Buffer | str | None, fin: bool=True")
    assert "cdef void ws_mask(" in text
    assert "_reserved" not in text
    assert re.search(r"stall_timeout`` \(60\.0\): seconds", text)


def test_pages_of_before_are_removed(tmp_path: Path) -> None:
    (tmp_path / "gone.rst").write_text("", "utf-8")
    (tmp_path / "index.md").write_text("", "utf-8")
    if sys.version_info >= (3, 9):
        reference.write(tmp_path)
        assert not (tmp_path / "gone.rst").exists()
        assert (tmp_path / "index.md").exists()
