"""docs/conformance.md and security.md name tests that exist, and options that are so."""

from __future__ import annotations

import ast
import functools
import inspect
import json
import re
from pathlib import Path
from typing import Any, Dict, Set

import pytest

from picows_client import ws_connect
from picows_codec import WSOptions
from picows_server import ws_create_server
from tests.examples.conftest import ROOT

DOCUMENT = (ROOT / "docs" / "conformance.md").read_text("utf-8")
SECURITY = (ROOT / "docs" / "security.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", DOCUMENT + SECURITY)))

UNITS = {"": 1, " MiB": 1 << 20, " KiB": 1 << 10, " s": 1}


@functools.lru_cache(maxsize=None)
def _tests_of(file: str) -> Set[str]:
    tree = ast.parse(Path(ROOT, "tests", file).read_text("utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in tree.body if isinstance(node, kinds)}


def test_tests_are_named() -> None:
    assert len(NAMED) > 100


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_the_test_exists(file: str, name: str) -> None:
    assert name.startswith("test_")
    assert name in _tests_of(file)


def test_every_line_of_a_table_of_proofs_names_a_test() -> None:
    for table in re.findall(r"^\|.*proved by \|\n\|[-|]+\|\n((?:\|.*\n)+)", DOCUMENT, re.MULTILINE):
        for line in table.splitlines():
            assert re.search(r"`[\w/]+\.py::\w+`[^|]*\|$", line), line


def defaults() -> Dict[str, Any]:
    """All options of client and server."""
    found: Dict[str, Any] = {}
    for function in (ws_connect, ws_create_server):
        parameters = inspect.signature(function).parameters.values()
        found.update((each.name, each.default) for each in parameters)
    options = WSOptions()
    found.update((name, getattr(options, name)) for name in WSOptions.names())
    return found


def test_limits_have_their_defaults() -> None:
    limits = DOCUMENT.partition("## Limits")[2].partition("\n## ")[0]
    known = defaults()
    checked = set()
    for line in limits.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        match = re.match(r"`(\w+)`", cells[2]) if len(cells) > 4 else None
        if match is None:
            continue
        value = known[match[1]]
        number = re.fullmatch(r"(\d+)( \w+)?", cells[3])
        if number is not None:
            assert int(number[1]) * UNITS[number[2] or ""] == value, line
        else:
            assert cells[3] == {None: "None", False: "off"}[value], line
        checked.add(match[1])
    assert len(checked) > 12


@pytest.mark.parametrize("side", ["client", "server"])
def test_autobahn(side: str) -> None:
    path = ROOT / "tests" / "conformance" / "expected" / f"frames-{side}.json"
    results = json.loads(path.read_text("utf-8"))
    others = {case for case, result in results.items() if result["behavior"] != "OK"}
    assert f"of {len(results)} cases {len(results) - len(others)} are OK" in DOCUMENT
    assert {results[case]["behavior"] for case in others} == {"INFORMATIONAL"}
    assert set(re.findall(r"^\| (\d+\.[\d.]+) \|", DOCUMENT, re.MULTILINE)) == others


@pytest.mark.parametrize("side", ["client", "server"])
def test_autobahn_about_compression(side: str) -> None:
    path = ROOT / "tests" / "conformance" / "expected" / f"compression-{side}.json"
    results = json.loads(path.read_text("utf-8"))
    assert {result["behavior"] for result in results.values()} == {"OK"}
    assert f"all {len(results)} cases are OK" in DOCUMENT
