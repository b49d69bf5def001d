"""The commands in docs/command-line.md print what stands below them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Iterator, List, Tuple

import pytest

from tests.client.cli.running import Peer, default_signals, environment, serving
from tests.examples.conftest import ROOT

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or shutil.which("bash") is None, reason="needs a shell"
)

PAGE = (ROOT / "docs" / "command-line.md").read_text("utf-8")
SHOWN_URL = "ws://127.0.0.1:9001"


def commands() -> List[Tuple[str, str]]:
    """Each command of the page, and what it prints."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    with serving() as peer:
        yield peer


def test_commands_are_found() -> None:
    assert len(commands()) >= 10


@pytest.mark.parametrize(("command", "output"), commands())
def test_command(command: str, output: str, peer: Peer, tmp_path: Path) -> None:
    assert SHOWN_URL in command or "127.0.0.1:1;" in command
    function = f'picows() {{ "{sys.executable}" -m picows_client "$@"; }}\n'
    outcome = subprocess.run(
        ["bash", "-c", function + command.replace(SHOWN_URL, peer.url)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        cwd=tmp_path,
        env=environment(),
        preexec_fn=default_signals,
        check=False,
    )
    printed = outcome.stdout.replace(peer.url, SHOWN_URL)
    # The number of an error is the system's.
    assert re.sub(r"Errno \d+", "Errno 111", printed) == output


def test_options_are_described() -> None:
    """Every option of ``--help`` is on the page."""
    text = subprocess.run(
        [sys.executable, "-m", "picows_client", "--help"],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env=environment(COLUMNS="100", NO_COLOR="1"),
        check=True,
    ).stdout
    options = re.findall(r"^  (-.*?)(?:  |$)", text, re.MULTILINE)
    assert len(options) > 20
    for option in options:
        names = re.findall(r"-+[a-zA-Z0-9][a-z]*", option)
        if not {"--help", "--version"} & set(names):
            assert any(re.search(rf"`{name}\b", PAGE) for name in names), option
