"""Output and remarks where only one of them is a terminal, colours, and progress."""

from __future__ import annotations

import os
from typing import Dict, List

import pytest

from tests.client.cli.running import Peer, Terminal, environment

JSON = '{"a":[1]}'
PRETTY = ["{", '  "a": [', "    1", "  ]", "}"]


@pytest.mark.parametrize(
    ("words", "variables", "is_coloured"),
    [
        (["--json"], {}, True),
        (["--json"], {"NO_COLOR": "1"}, False),
        (["--json"], {"NO_COLOR": ""}, True),
        (["--json"], {"TERM": "dumb"}, False),
    ],
)
def test_colours(
    peer: Peer, words: List[str], variables: Dict[str, str], is_coloured: bool
) -> None:
    options = environment(**{"TERM": "xterm", **variables})
    with Terminal(peer.url, *words, "-1", "-x", JSON, env=options) as terminal:
        assert terminal.finish() == 0
        assert terminal.screen.lines == [*PRETTY, ""]
        assert ("\x1b[36m1\x1b[0m" in terminal.raw) is is_coloured


def test_progress_bar(peer: Peer) -> None:
    """It is gone at the end."""
    with Terminal(peer.url, "--ping", "20") as terminal:
        assert terminal.finish() == 0
        assert "[##......" in terminal.raw
        assert terminal.screen.lines[0] == f"20 round trips to {peer.url}/"
        assert not any("#" in line for line in terminal.screen.lines)


def test_interrupted_measurement(peer: Peer) -> None:
    """What was measured until then is shown."""
    with Terminal(peer.url, "--ping", "999999999") as terminal:
        terminal.wait_for(lambda lines: lines[0].endswith("/999999999"))
        terminal.type("\x03")
        assert terminal.finish() == 0
        lines = [line for line in terminal.screen.lines if "round trips to" in line]
        assert len(lines) == 1
    peer.events("closed 1000")


def test_input_from_a_terminal_output_to_a_pipe(peer: Peer) -> None:
    """No prompt and no line editing; the messages are as they came."""
    reader, writer = os.pipe()
    with Terminal(peer.url, stdout=writer) as terminal:
        os.close(writer)
        terminal.type("evil\n")
        with os.fdopen(reader, "rb") as output:
            assert output.readline() == "\x1b[31mred\x9b1m\u202e\r< fake\n".encode()
            assert output.readline() == b"next\n"
            terminal.type("\x04")
            assert terminal.finish() == 0
            assert output.read() == b""


def test_output_to_a_terminal_input_from_a_pipe(peer: Peer) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"evil\n")
    os.close(writer)
    with Terminal(peer.url, stdin=reader) as terminal:
        os.close(reader)
        assert terminal.finish() == 0
        head = "\\x1b[31mred\\x9b1m\\u202e\\r< fake"
        assert terminal.screen.lines == [head, "next", ""]
