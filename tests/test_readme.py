"""README.md: its figures are those of the bench, and its versions those that were measured."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bench.readme import README, RESULTS, updated
from bench.results import Results

ROOT = Path(__file__).resolve().parents[1]


def test_figures_are_those_of_the_results() -> None:
    text = README.read_text("utf-8")
    assert updated(text, Results.load(RESULTS)) == text, "python -m bench.readme --write"


def test_other_results_give_other_figures() -> None:
    text = README.read_text("utf-8")
    results = Results.load(RESULTS)
    for sample in results.scenarios["echo-client-256"].rounds["ours"]:
        sample.value *= 1000
    del results.scenarios["memory-server"]
    changed = updated(text, results)
    rows = {line for line in changed.splitlines() if line[0:1] == "|"} - set(text.splitlines())
    assert [row.partition(",")[0] for row in rows] == ["| **Client**: round trips"]
    assert "bytes of an idle connection" not in changed


def test_a_readme_without_a_place() -> None:
    with pytest.raises(ValueError, match=r"has no lines <!-- python -m bench\.readme"):
        updated("# picows\n", Results.load(RESULTS))


def test_features_are_compared_with_what_is_measured() -> None:
    versions = json.loads(RESULTS.read_text("utf-8"))["versions"]
    note = README.read_text("utf-8").partition("\nEmpty: ")[2].partition("\n\n")[0]
    for name in ("picows", "websockets", "aiohttp"):
        assert f"{name} {versions[name][name]}" in " ".join(note.split())
    assert f"uvicorn {versions['asgi']['uvicorn']}" in " ".join(note.split())


def test_commands_are_targets() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    commands = re.findall(r"\bmake ([a-z]+)\b(?=[` ]*(?:#|`))", README.read_text("utf-8"))
    assert len(commands) >= 5
    assert set(commands) <= targets
