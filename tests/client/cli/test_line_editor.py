"""The program on a terminal: line editing, and what a peer can write to it."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import List

import pytest

from picows_client.cli import line_editor
from picows_client.cli.line_editor import load_readline
from tests.client.cli.running import Peer, Terminal, environment, serving

GREETING = "Connected to {}/. Each line is a message; Ctrl-D leaves."

needs_readline = pytest.mark.skipif(load_readline() is None, reason="no readline library")


def connected(terminal: Terminal, peer: Peer) -> None:
    greeting = GREETING.format(peer.url)
    terminal.wait_for(lambda lines: greeting in lines and lines[-1] == ">")


@needs_readline
def test_conversation(peer: Peer) -> None:
    with Terminal(peer.url) as terminal:
        connected(terminal, peer)
        terminal.type("hello\n")
        lines = terminal.wait_for(lambda lines: "< hello" in lines and lines[-1] == ">")
        assert lines == [GREETING.format(peer.url), "> hello", "< hello", ">"]
        terminal.type("\n\n")  # empty lines are no messages here
        terminal.type("żółw\n")
        terminal.wait_for(lambda lines: lines[-3:] == ["> żółw", "< żółw", ">"])
        terminal.type("\x04")  # Ctrl-D
        assert terminal.finish() == 0
        assert terminal.screen.lines[-3:] == [
            "< żółw",
            "Disconnected: this side closed: 1000",
            "",
        ]
        assert terminal.attributes() == terminal.before
    assert peer.events("closed 1000")[-1] == "closed 1000"


@needs_readline
def test_a_message_does_not_garble_what_is_typed(peer: Peer) -> None:
    with Terminal(peer.url) as terminal:
        connected(terminal, peer)
        terminal.type("later news\nhalf a li")
        terminal.wait_for(lambda lines: lines[-2:] == ["< news", "> half a li"])
        terminal.type("\x01later \x05ne\n")  # Ctrl-A, Ctrl-E
        lines = terminal.wait_for(lambda lines: lines[-2:] == ["< half a line", ">"])
        assert lines[1:] == [
            "> later news",
            "< news",
            "> later half a line",
            "< half a line",
            ">",
        ]


@needs_readline
def test_a_typed_line_of_several_rows(peer: Peer) -> None:
    with Terminal(peer.url, columns=40) as terminal:
        terminal.wait_for(lambda lines: lines[-1] == ">" and len(lines) > 1)
        terminal.type("later news\n")
        text = "".join(str(number % 10) for number in range(100))
        terminal.type(text)
        rows = [f"> {text[:38]}", text[38:78], text[78:]]
        lines = terminal.wait_for(lambda lines: "< news" in lines and lines[-3:] == rows)
        assert sum("0123456789" in line for line in lines) == 3
        terminal.type("\x15\x04")  # Ctrl-U, Ctrl-D
        assert terminal.finish() == 0


@needs_readline
def test_history(peer: Peer) -> None:
    with Terminal(peer.url) as terminal:
        connected(terminal, peer)
        for text in ("first", "second"):
            terminal.type(f"{text}\n")
            terminal.wait_for(lambda lines, text=text: lines[-2:] == [f"< {text}", ">"])
        terminal.type("\x10\x10")  # Ctrl-P
        terminal.wait_for(lambda lines: lines[-1] == "> first")
        terminal.type("\n")
        terminal.wait_for(lambda lines: lines[-3:] == ["> first", "< first", ">"])


@needs_readline
@pytest.mark.parametrize("command", ["evil", "evilclose"])
def test_escape_sequences_of_a_peer(peer: Peer, command: str) -> None:
    """They are shown, not obeyed, and no line of a message passes for another message."""
    with Terminal(peer.url, "-v", "-s", "v2") as terminal:
        connected(terminal, peer)
        terminal.type(f"{command}\n")
        if command == "evil":
            shown = ["< \\x1b[31mred\\x9b1m\\u202e\\r< fake", "  next", ">"]
            terminal.wait_for(lambda lines: lines[-3:] == shown)
            terminal.type("\x04")
        assert terminal.finish() == (0 if command == "evil" else 1)
        if command == "evilclose":
            assert "picows: the peer closed: 4001 (\\x1b[31mred)" in terminal.screen.lines
        assert "\x1b[31m" not in terminal.raw
        assert "\x9b" not in terminal.raw
        assert "\u202e" not in terminal.raw


def test_refusal_on_a_terminal(peer: Peer) -> None:
    with Terminal(f"{peer.url}/refused", "-v") as terminal:
        assert terminal.finish() == 1
        assert "< go \\x1b[31maway" in terminal.screen.lines
        assert "\x1b[31m" not in terminal.raw
        assert terminal.attributes() == terminal.before


def test_binary_message_on_a_terminal(peer: Peer) -> None:
    with Terminal(peer.url, "-x", "gzip x", "-1") as terminal:
        assert terminal.finish() == 0
        assert terminal.screen.lines[0].startswith("(21 bytes) 1f8b08")


@needs_readline
def test_control_c(peer: Peer) -> None:
    with Terminal(peer.url) as terminal:
        connected(terminal, peer)
        terminal.type("half a line\x03")
        assert terminal.finish() == 0
        assert terminal.screen.lines[-2:] == [GREETING.format(peer.url), ""]
        assert "Traceback" not in terminal.raw
        assert terminal.attributes() == terminal.before
    peer.events("closed 1000")


@needs_readline
def test_server_closes(peer: Peer) -> None:
    with Terminal(peer.url) as terminal:
        connected(terminal, peer)
        terminal.type("close 1001 bye\n")
        assert terminal.finish() == 0
        assert terminal.screen.lines[-2:] == ["Disconnected: the peer closed: 1001 (bye)", ""]
        assert terminal.attributes() == terminal.before


@needs_readline
def test_suspended_and_continued(peer: Peer) -> None:
    """Ctrl-Z gives the terminal back; the typed line is there again afterwards."""
    with Terminal(peer.url) as terminal:
        connected(terminal, peer)
        terminal.type("half")
        terminal.wait_for(lambda lines: lines[-1] == "> half")
        terminal.type("\x1a")
        # In a session of its own there is no shell that could continue a stopped program, and
        # the kernel does not stop an orphaned process group: it goes on at once.
        terminal.wait_for(lambda lines: terminal.raw.count("> half") > 1)
        terminal.type(" a line\n")
        terminal.wait_for(lambda lines: lines[-2:] == ["< half a line", ">"])


@needs_readline
def test_not_connected() -> None:
    """A line that is typed while there is no connection is not sent later."""
    with serving() as peer, Terminal(peer.url, "--reconnect", columns=200) as terminal:
        connected(terminal, peer)
        peer.kill()
        terminal.wait_for(lambda lines: any("connecting again" in line for line in lines))
        terminal.type("hello\n")
        terminal.wait_for(lambda lines: any("picows: not sent: the link is" in x for x in lines))
        terminal.type("\x03")
        assert terminal.finish() == 0


@needs_readline
def test_wrong_hex_is_no_end(peer: Peer) -> None:
    with Terminal(peer.url, "-b") as terminal:
        connected(terminal, peer)
        terminal.type("hello\n00ff\n")
        lines = terminal.wait_for(lambda lines: "< 00ff" in lines and lines[-1] == ">")
        assert "picows: no hex digits, so not sent: 'hello'" in lines


@pytest.mark.parametrize("reason", ["dumb", "no readline"])
def test_without_line_editing(peer: Peer, reason: str, tmp_path: Path) -> None:
    """The terminal edits lines itself."""
    options = environment(TERM="dumb")
    if reason == "no readline":
        (tmp_path / "readline.py").write_text("raise ImportError('not in this test')\n")
        paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
        options = environment(TERM="xterm", PYTHONPATH=os.pathsep.join(paths))
    with Terminal(peer.url, env=options) as terminal:
        terminal.type("hello\nevil\n")
        terminal.wait_for(lambda lines: lines.count("hello") == 2 and "  next" not in lines)
        terminal.wait_for(lambda lines: any("fake" in line for line in lines))
        terminal.type("\x04")
        assert terminal.finish() == 0
        assert "\x1b[31m" not in terminal.raw


def test_terminal_that_hangs_up(peer: Peer) -> None:
    with Terminal(f"{peer.url}/greeting") as terminal:
        terminal.wait_for(lambda lines: any("welcome" in line for line in lines))
        terminal.process.send_signal(signal.SIGHUP)
        assert terminal.finish() == 0
    peer.events("closed 1000")


def test_libraries_without_the_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_editor, "_NEEDED", ("no_such_function",))
    assert load_readline() is None


@needs_readline
@pytest.mark.parametrize("words", [["--reconnect"], ["--count", "3"], ["-1"]])
def test_control_d_leaves(peer: Peer, words: List[str]) -> None:
    with Terminal(peer.url, *words) as terminal:
        connected(terminal, peer)
        terminal.type("\x04")
        assert terminal.finish() == (0 if words == ["--reconnect"] else 1)
        assert terminal.attributes() == terminal.before
    peer.events("closed 1000")


@needs_readline
def test_control_d_while_there_is_no_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:  # which does not respond
        url = f"ws://127.0.0.1:{server.getsockname()[1]}"
        terminal = Terminal(url, "--reconnect")
        with terminal:
            terminal.wait_for(lambda lines: lines[-1] == ">")
            terminal.type("\x04")
            assert terminal.finish() == 0
            assert terminal.attributes() == terminal.before
