"""What -v shows."""

from __future__ import annotations

from picows_client.cli.traffic import refusal
from picows_codec import WSInvalidMessageError
from tests.client.cli.running import Peer, run_picows


def test_handshake_and_end(peer: Peer) -> None:
    code, output, errors = run_picows(f"{peer.url}/path", "-v", "-1", "-x", "hi", "-s", "v2")
    assert (code, output) == (0, "hi\n")
    lines = errors.splitlines()
    assert lines[0].startswith("* connected to 127.0.0.1:")
    assert lines[1] == "> GET /path HTTP/1.1"
    assert "> Sec-WebSocket-Protocol: v2" in lines
    assert "< HTTP/1.1 101 Switching Protocols" in lines
    assert "< Sec-WebSocket-Protocol: v2" in lines
    assert lines[-3:] == [
        "* sent CLOSE: 1000",
        "* received CLOSE: 1000",
        "* disconnected: this side closed: 1000",
    ]


def test_control_frames_and_close_code(peer: Peer) -> None:
    words = ["-v", "-w", "inf", "-x", "ping a\x1b[31m", "-x", "close 4000 bye"]
    code, output, errors = run_picows(peer.url, *words)
    assert (code, output) == (1, "pinged\n")
    lines = errors.splitlines()
    assert "* received PING 'a\\\\x1b[31m'" in lines
    assert lines[-4:] == [
        "* received CLOSE: 4000 (bye)",
        "* sent CLOSE: 4000",
        "* disconnected: the peer closed: 4000 (bye)",
        "picows: the peer closed: 4000 (bye)",
    ]


def test_refusal(peer: Peer) -> None:
    code, output, errors = run_picows(f"{peer.url}/refused", "-v")
    assert (code, output) == (1, "")
    lines = errors.splitlines()
    assert lines[0].startswith("< HTTP/1.1 403")
    assert "< X-Why: no" in lines
    assert "< go \\x1b[31maway" in lines
    assert lines[-1].startswith("picows: ")


def test_nothing_arrived() -> None:
    _, _, errors = run_picows("ws://127.0.0.1:1", "-v")
    assert errors.count("\n") == 1


def test_a_line_feed_alone_begins_no_line_of_its_own() -> None:
    head = b"HTTP/1.1 200 OK\npicows: all is well\r> sent\r\nX: 1\r\n\r\n"
    error = WSInvalidMessageError("no response", raw_header=head)
    assert refusal(error) == ["< HTTP/1.1 200 OK", "< picows: all is well", "< > sent", "< X: 1"]
