"""Peers that no Python package brings; ``tox -e interop`` installs them (install_peers.py).

Without one of them its tests are skipped, unless the environment variable ``PICOWS_INTEROP`` is
"all", as in that environment.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn, Tuple

import pytest

__all__ = ["find_axe", "find_program", "find_ws"]


def find_ws() -> Tuple[str, Path]:
    """Node.js and the folder ``node_modules`` that has npm's ws; skips the test without them."""
    node = shutil.which("node")
    if node is None:
        _absent("Node.js")
    modules = _modules()
    if not (modules / "ws" / "package.json").is_file():
        _absent("npm's ws")
    return node, modules


def find_axe() -> Path:
    """The script of npm's axe-core, which judges how accessible a page is; skips without it."""
    script = _modules() / "axe-core" / "axe.min.js"
    if not script.is_file():
        _absent("npm's axe-core")
    return script


def _modules() -> Path:
    return Path(os.environ.get("PICOWS_NODE_MODULES", "node_modules")).resolve()


def find_program(*names: str) -> str:
    """The path of the first of these commands that exists; skips the test without them."""
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        _absent(names[0])
    return found


def _absent(what: str) -> NoReturn:
    message = f"{what} was not found: tox -e interop installs it"
    if os.environ.get("PICOWS_INTEROP") == "all":
        pytest.fail(message)
    pytest.skip(message)
