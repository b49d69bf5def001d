"""One word for one thing: what client, server and codec define under one name."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Dict, Iterator, Set

PACKAGES = Path(__file__).resolve().parents[1] / "packages"

# The same job in client and server, done in each one's way. The codec knows no logging.
SAME_JOB = {
    "Backend",
    "FastnetBackend",
    "Logger",
    "LoopBackend",
    "MEANINGS",
    "StreamBackend",
    "choose_backend",
    "resolve_logger",
}

CYTHON_DEFINITION = re.compile(
    r"^(?:c(?:p)?def )?(?:class|struct|enum|def) (\w+)|^ctypedef .*?(\w+)$", re.MULTILINE
)


def names_of(package: str) -> Set[str]:
    """Return what the rooms of a package define for each other, or for users."""
    names: Set[str] = set()
    for path in (PACKAGES / f"picows-{package}" / "src").rglob("*.p*"):
        if path.suffix == ".py":
            names.update(_python_names(path.read_text(encoding="utf-8")))
        elif path.suffix in {".pyx", ".pxd"}:
            for match in CYTHON_DEFINITION.finditer(path.read_text(encoding="utf-8")):
                names.update(filter(None, match.groups()))
    # A type variable has one letter.
    return {name for name in names if not name.startswith("_") and len(name) > 1}


def _python_names(text: str) -> Iterator[str]:
    for node in ast.parse(text).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id


def test_two_things_never_share_a_name() -> None:
    seen: Dict[str, str] = {}
    shared = set()
    for package in ("codec", "client", "server"):
        for name in names_of(package):
            if name in seen:
                shared.add(name)
            seen[name] = package
    assert shared == SAME_JOB


def test_names_are_found() -> None:
    assert {"ws_frame_header", "Wire", "WSTransport", "has_readers"} <= names_of("codec")
    assert {"FirstHop", "Dialogue", "ws_connect", "WSParsedURL"} <= names_of("client")
    assert {"Route", "ServerProtocol", "ws_create_server"} <= names_of("server")
