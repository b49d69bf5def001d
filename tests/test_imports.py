"""Which way imports go: between the rooms of the codec, between the packages, at run time."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Iterator, List, Tuple

import pytest

PACKAGES = Path(__file__).resolve().parents[1] / "packages"
CODEC = PACKAGES / "picows-codec" / "src" / "picows_codec"

# Every module of the codec; each may import from those before it only. So there are no cycles,
# and nothing depends on stream. "folder.room" is a file in a folder; a folder's "__init__" comes
# before its rooms and holds nothing but its docstring.
ROOMS = (
    "_version",
    "abi",
    "constants",
    "enums",
    "errors",
    "log_text",
    "disconnect",
    "socket_address",
    "waiting",
    "option_names",
    "option_table",
    "option_types",
    "calls",
    "listener_factory",
    "tls",
    "simd",
    "mask",
    "utf8",
    "close",
    "headers",
    "frame_header",
    "parser",
    "buffers",
    "write_queue",
    "options",
    "exports",
    "frames",
    "deadlines",
    "handshake",
    "connection.__init__",
    "connection.state",
    "connection.sender",
    "transport",
    "listener",
    "callbacks",
    "connection.receiver",
    "connection.closing",
    "connection.progress",
    "connection.keepalive",
    "connection.endpoint",
    "__init__",
    "stream",
)
NEVER_IN_CODEC = {"asyncio", "logging", "select", "selectors", "socket", "ssl", "uvloop"}
SOURCES = sorted(path for path in CODEC.rglob("*.p*") if path.suffix in {".py", ".pyx", ".pxd"})

CYTHON_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<source>[\w.]+)[ \t]+c?import[ \t]+(?P<names>\([^)]*\)|[^\n]+)"
    r"|c?import[ \t]+(?P<modules>[\w., \t]+))",
    re.MULTILINE,
)
STRING_OR_COMMENT = re.compile(r'""".*?"""|#[^\n]*', re.DOTALL)


def room_of(path: Path) -> str:
    """Return the name of the room that a source file belongs to."""
    return ".".join(path.relative_to(CODEC).with_suffix("").parts)


def imports_of(path: Path) -> Iterator[str]:
    """Yield the dotted names that a source file imports when it is compiled or run."""
    text = path.read_text(encoding="utf-8")
    pairs = _python_imports(text) if path.suffix == ".py" else _cython_imports(text)
    for source, names in pairs:
        if source == "picows_codec":
            for name in names:
                yield f"picows_codec.{name}"
        else:
            yield source


def _cython_imports(text: str) -> Iterator[Tuple[str, List[str]]]:
    for match in CYTHON_IMPORT.finditer(STRING_OR_COMMENT.sub("", text)):
        if match["source"]:
            names = match["names"].strip("() \t\n").split(",")
            yield match["source"], [name.split()[0] for name in names if name.strip()]
        else:
            for module in match["modules"].split(","):
                yield module.split()[0], []


def _python_imports(text: str) -> Iterator[Tuple[str, List[str]]]:
    pending: List[ast.AST] = [ast.parse(text)]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            pending.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, []
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or ""), [alias.name for alias in node.names]
        pending.extend(ast.iter_child_nodes(node))


def test_every_room_has_its_place() -> None:
    assert {room_of(path) for path in SOURCES} == set(ROOMS)
    assert len(ROOMS) == len(set(ROOMS))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(CODEC).as_posix())
def test_imports_go_one_way(path: Path) -> None:
    own = room_of(path)
    reachable = ROOMS[: ROOMS.index(own)]
    for name in imports_of(path):
        top, _, room = name.partition(".")
        assert top, f"{path.name}: write the import in full, not {name!r}"
        assert top not in NEVER_IN_CODEC, f"{path.name} imports {name}"
        if top == "picows_codec" and room != own:  # a .pyx may name its own .pxd
            assert room in reachable, f"{path.name} imports {name}, which is not below it"


def test_imports_are_found() -> None:
    assert list(_cython_imports('"""\nimport no\n"""\nimport os, a.b as c\ncimport cython\n')) == [
        ("os", []),
        ("a.b", []),
        ("cython", []),
    ]
    assert list(_cython_imports("from a.b cimport (  # why\n    c,\n    d as e,\n)\n")) == [
        ("a.b", ["c", "d"])
    ]
    assert list(_cython_imports("    from . cimport frame\n")) == [(".", ["frame"])]
    assert "picows_codec.frames" in set(imports_of(CODEC / "transport.pyx"))
    assert "picows_codec.listener" in set(imports_of(CODEC / "__init__.pxd"))


@pytest.mark.parametrize(("package", "other"), [("client", "server"), ("server", "client")])
def test_client_and_server_know_only_the_codec(package: str, other: str) -> None:
    sources = sorted((PACKAGES / f"picows-{package}" / "src").rglob("*.py"))
    assert sources
    for path in sources:
        for name in imports_of(path):
            assert name.partition(".")[0] != f"picows_{other}", f"{path.name} imports {name}"


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("picows_codec", "asyncio socket ssl"),
        pytest.param(
            "picows_codec.stream",
            "asyncio socket ssl",
            marks=pytest.mark.skipif(sys.platform == "win32", reason="not built on Windows"),
        ),
        ("picows_client", "picows_server"),
        ("picows_server", "picows_client"),
    ],
)
def test_what_an_import_loads(module: str, unwanted: str) -> None:
    program = (
        "import sys; before = set(sys.modules);"
        f"import {module};"
        f"loaded = (set(sys.modules) - before) & set({unwanted.split()!r});"
        "sys.exit(f'loaded {loaded}' if loaded else 0)"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, encoding="utf-8", check=False
    )
    assert outcome.returncode == 0, outcome.stderr


@pytest.mark.parametrize("package", ["picows_codec", "picows_client", "picows_server"])
def test_tests_run_on_installed_wheels(package: str) -> None:
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    assert PACKAGES not in Path(spec.origin).resolve().parents
