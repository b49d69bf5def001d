"""One word for one thing: names in the three packages, and words in every text."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Dict, Iterator, Set

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ROOT / "packages"

# The same job in client and server, done in each one's way. The codec knows no logging.
SAME_JOB = {
    "Arguments",
    "Backend",
    "FastnetBackend",
    "Logger",
    "LoopBackend",
    "MEANINGS",
    "Marks",
    "StreamBackend",
    "choose_backend",
    "main",
    "parsed",
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


# Words that a reader stumbles over, and what to write instead.
AVOIDED = {
    r"turns? of the (?:event )?loop|loop's turn|next turn\b": "loop iteration",
    r"\b(?:lets?|letting) go\b|_let_go\b": "release",
    r"reference circle": "reference cycle",
    r"high[- ]water[- ]mark|low[- ]water[- ]mark": "watermark",
    r"\bin vain\b": "without effect",
    r"\ban only one\b": "the only one",
    r"something else is next|caller's win\b|limit is not its\b": "a whole sentence",
    r"asyncio-shaped": "an asyncio transport",
}

TEXTS = {".c", ".cpp", ".h", ".ini", ".js", ".md", ".pxd", ".py", ".pyi", ".pyx", ".toml", ".yml"}
FOLDERS = ("bench", "docs", "examples", "fuzz", "packages", "tests", "tools")


def texts() -> Iterator[Path]:
    """Yield every text of the project except this one; not C that Cython has written."""
    yield from (path for path in ROOT.iterdir() if path.suffix in TEXTS)
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            is_written_by_cython = path.suffix == ".c" and path.with_suffix(".pyx").exists()
            if path.suffix in TEXTS and not is_written_by_cython and path.name != "test_names.py":
                yield path


def test_words_to_avoid() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match.group()!r}; better: {AVOIDED[words]}"
        for path in texts()
        for words in AVOIDED
        for match in re.finditer(words, path.read_text(encoding="utf-8"), re.IGNORECASE)
    ]
    assert not found


def test_texts_are_found() -> None:
    names = {path.name for path in texts()}
    assert {
        "README.md",
        "sending.md",
        "sender.pyx",
        "frame_header.pxd",
        "cpu.c",
        "tox.ini",
    } <= names
