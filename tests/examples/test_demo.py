"""examples/demo, which `make demo` runs: in a pipe, and on terminals of several kinds."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Optional

import pytest

from tests.client.cli.running import PYTHON, Terminal, environment
from tests.examples.conftest import ROOT, Examples

pytest.importorskip("trustme")

NAMES = ["plain", "TLS", "coroutines", "compressed", "burst"]
DEMO = (*PYTHON, "-W", "ignore", "-m", "examples.demo")  # cryptography announces ends of support
LEADS = ("docs/start/install.md", "examples/README.md", "make market", "make bench")

needs_terminal = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")


class TestPipe:
    @pytest.fixture
    def python_path(self) -> Optional[Path]:
        return ROOT

    def test_table(self, examples: Examples) -> None:
        lines = examples.run_module("examples.demo", "0.05")
        assert not re.search(r"[^ -~]", "".join(lines)), "a control character"
        versions, what, head, *table = lines[:8]
        assert versions.startswith("picows ")
        assert what.endswith("a line takes 0.05 s")
        assert head.split() == ["per", "second", "p50", "p99"]
        assert [line.split()[0] for line in table] == NAMES
        for line in table:
            name, rate, *times, note = re.split(r"\s{2,}", line)
            assert int(rate.replace(",", "")) > 0
            latencies = [microseconds(time) for time in times]
            assert len(latencies) == 2
            assert latencies == sorted(latencies)
            assert note
            if name == "compressed":
                plain, sent = re.findall(r"(\d+) B", note)
                assert int(sent) < int(plain)  # the first ones gain least
        assert lines[8:10] == ["", "Next:"]
        assert [line.strip().partition("  ")[0] for line in lines[10:]] == list(LEADS)
        assert all((ROOT / lead).is_file() for lead in LEADS if not lead.startswith("make "))


def microseconds(text: str) -> float:
    number, unit = text.split()
    return float(number.replace(",", "")) * {"us": 1.0, "ms": 1000.0}[unit]


def demo_on(columns: int, seconds: str = "0.05", **variables: str) -> Terminal:
    where = environment(PYTHONPATH=str(ROOT), **{"TERM": "xterm", **variables})
    return Terminal(seconds, command=DEMO, env=where, columns=columns)


@needs_terminal
class TestTerminal:
    def test_progress(self) -> None:
        """The bar is seen while it measures, and is gone afterwards."""
        with demo_on(80) as terminal:
            terminal.wait_for(lambda lines: re.search(r"^\[#*\.*\] +\d+% \w+$", lines[-1]))
            assert terminal.finish() == 0
        assert "\x1b[32m" in terminal.raw
        table = terminal.screen.lines[3:8]
        assert [line.split()[0] for line in table] == NAMES
        assert all(line[45:].strip() for line in table), "each has a note"
        assert not [line for line in terminal.screen.lines if "%" in line]

    def test_no_colour(self) -> None:
        with demo_on(80, NO_COLOR="1") as terminal:
            assert terminal.finish() == 0
        assert "[#" in terminal.raw
        assert "\x1b" not in terminal.raw

    def test_dumb(self) -> None:
        with demo_on(80, TERM="dumb") as terminal:
            assert terminal.finish() == 0
        assert not re.search(r"[^ -~\n]", terminal.raw.replace("\r\n", "\n"))

    @pytest.mark.parametrize("columns", [40, 24])
    def test_narrow(self, columns: int) -> None:
        """No line is longer than the terminal is wide."""
        with demo_on(columns) as terminal:
            assert terminal.finish() == 0
        for line in re.split(r"[\r\n]+", re.sub(r"\x1b\[\d+m", "", terminal.raw)):
            assert len(line) <= columns, line
        rates = [re.match(r"(\w+) +[\d,]+( |$)", line) for line in terminal.screen.lines]
        assert [found[1] for found in rates if found] == NAMES

    def test_interrupt(self, tmp_path: Path) -> None:
        """Ctrl-C leaves no bar, no file and no process, and says nothing."""
        with demo_on(80, "60", TMPDIR=str(tmp_path)) as terminal:
            terminal.wait_for(lambda lines: lines[-1].startswith("["))
            assert list(tmp_path.iterdir())
            terminal.type("\x03")
            assert terminal.finish() == 130
            with pytest.raises(ProcessLookupError):
                os.killpg(terminal.process.pid, 0)
        assert list(tmp_path.iterdir()) == []
        versions, what, head = filter(None, terminal.screen.lines)
        assert (versions.split()[0], what.split()[0], head.split()[0]) == (
            "picows",
            "client",
            "per",
        )
