"""Every program of README, pages for beginners and how-tos prints what stands below it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, List, Tuple

import pytest

from tests.examples.conftest import ROOT
from tests.support.engines import Engine

DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    *sorted(DOCS.glob("start/*.md")),
    *sorted(DOCS.glob("how-to/*.md")),
    DOCS / "coming-from" / "socketify.md",
]
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)


def programs() -> List[Any]:
    """Each program that is whole, and what it prints."""
    found = []
    for page in [*PAGES, DOCS / "topics.md"]:
        for match in BLOCK.finditer(page.read_text("utf-8")):
            # Those that meet at this port are of two pages: see test_documents.py.
            if "asyncio.run(" in match[1] and "127.0.0.1:9001" not in match[1]:
                found.append(pytest.param(match[1], match[2], id=f"{page.stem}-{len(found)}"))
    return found


def fragments() -> List[Tuple[str, str]]:
    """What is no program: definitions. Of the guide all, with a main that nobody calls here."""
    guide = [
        *sorted(DOCS.glob("guide/*.md")),
        DOCS / "topics.md",
        DOCS / "scaling.md",
        *sorted(DOCS.glob("coming-from/*.md")),
    ]
    return [
        (page.name, re.sub(r"^asyncio\.run\(main\(\)\)$", "", match[1], flags=re.MULTILINE))
        for page in dict.fromkeys([*PAGES, *guide])
        for match in BLOCK.finditer(page.read_text("utf-8"))
        if page not in PAGES or "asyncio.run(" not in match[1]
    ]


def test_programs_are_found() -> None:
    assert len(programs()) >= 15
    assert len(fragments()) >= 4


def run_program(program: str, directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        cwd=str(directory),
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        timeout=50,
        check=False,
    )


@pytest.mark.parametrize(("program", "printed"), programs())
def test_program(program: str, printed: str, tmp_path: Path) -> None:
    assert printed is not None, "what it prints stands below it, in a block of text"
    outcome = run_program(program, tmp_path)
    assert outcome.stdout == printed
    assert outcome.returncode == 0


# In a process of their own, because some of them set signal handlers, or register metrics.
DEFINE = """
import json, sys
for page, fragment in json.load(open(sys.argv[1])):
    exec(compile(fragment, page, "exec"), {"__name__": "fragment"})
"""


def test_program_with_an_engine(tmp_path: Path) -> None:
    """That of the page about scaling out, with an engine of its own."""
    pytest.importorskip("hiredis")
    page = (DOCS / "scaling.md").read_text("utf-8")
    ((program, printed),) = [
        match.groups() for match in BLOCK.finditer(page) if "asyncio.run(" in match[1]
    ]
    assert program.count("127.0.0.1:6379") == 1
    engine = Engine("valkey", tmp_path).start()
    try:
        program = program.replace("127.0.0.1:6379", f"127.0.0.1:{engine.port}")
        outcome = run_program(program, tmp_path)
    finally:
        engine.kill()
    assert outcome.stdout == printed
    assert outcome.returncode == 0


def test_fragments(tmp_path: Path) -> None:
    """What they define can be defined."""
    for library in ("msgspec", "hiredis", "nats", "nkeys"):
        pytest.importorskip(library)
    path = tmp_path / "fragments.json"
    path.write_text(json.dumps(fragments()), "utf-8")
    outcome = run_program(DEFINE, tmp_path, str(path))
    assert outcome.returncode == 0, outcome.stdout


def test_compiled_listener_is_the_example() -> None:
    """test_examples.py compiles that one."""
    page = (DOCS / "how-to" / "cython.md").read_text("utf-8")
    for name, language in (("compiled_listener.pyx", "cython"), ("pyproject.toml", "toml")):
        text = (ROOT / "examples" / "compiled_listener" / name).read_text("utf-8")
        assert f"```{language}\n{text}```" in page


def test_every_page_is_listed() -> None:
    listed = (DOCS / "how-to" / "index.md").read_text("utf-8")
    for page in DOCS.glob("how-to/*.md"):
        assert page.stem == "index" or f"({page.name})" in listed, page.name
