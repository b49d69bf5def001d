"""The program in pipes: what goes in and comes out, exit codes, and how it is ended."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.cli.running import (
    PYTHON,
    Peer,
    default_signals,
    environment,
    finished,
    run_picows,
    started,
)

if sys.platform != "win32":
    import fcntl


def test_lines_in_messages_out(peer: Peer) -> None:
    lines = "one\n\nżółw\n\tlast without an end"
    assert run_picows(peer.url, "-w", "inf", "--count", "4", typed=lines.encode()) == (
        0,
        f"{lines}\n",
        "",
    )
    assert peer.events("closed 1000") == ["request /", "connected /", "closed 1000"]


def test_end_of_input(peer: Peer) -> None:
    """Replies to the last line are waited for."""
    assert run_picows(peer.url, typed=b"one\nlater two\n") == (0, "one\ntwo\n", "")


def test_file_as_input(peer: Peer, tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("".join(f"{number}\n" for number in range(20_000)))
    with path.open("rb") as file:
        outcome = run_picows(peer.url, "--count", "20000", stdin=file)
    assert outcome == (0, path.read_text(), "")


def test_no_input(peer: Peer) -> None:
    assert run_picows(peer.url, "-w", "0", stdin=subprocess.DEVNULL) == (0, "", "")


def test_closed_input(peer: Peer) -> None:
    def close() -> None:
        default_signals()
        os.close(0)

    assert run_picows(peer.url, "-w", "0", stdin=None, preexec_fn=close) == (0, "", "")


def test_closed_output(peer: Peer) -> None:
    def close() -> None:
        default_signals()
        os.close(1)

    assert run_picows(peer.url, "-x", "a", stdout=None, preexec_fn=close) == (1, "", "")


def test_closed_errors() -> None:
    def close() -> None:
        default_signals()
        os.close(2)

    assert run_picows("ws://127.0.0.1:1", stderr=None, preexec_fn=close) == (1, "", "")
    words = ["ws://127.0.0.1:1", "--cacert", "/missing"]
    assert run_picows(*words, stderr=None, preexec_fn=close) == (2, "", "")


def test_binary_messages_are_written_as_they_are(peer: Peer) -> None:
    process = started(peer.url, "-b", "--count", "2")
    assert finished(process, b"00ff\nde ad be ef\n") == (0, "00ff\ndeadbeef\n", "")
    assert "binary deadbeef" in peer.events("closed 1000")
    process = started(peer.url, "-1", "--gunzip", "-x", "gzip text")
    assert finished(process) == (0, "text\n", "")
    process = started(peer.url, "-1", "-x", "gzip x")
    output, _ = process.communicate()
    assert output[:2] == b"\x1f\x8b"
    assert not output.endswith(b"\n")


@pytest.mark.parametrize(
    ("words", "line", "complaint"),
    [
        ([], b"\xff\xfe\n", "not UTF-8, so not sent: b'\\xff\\xfe'; -b takes hex"),
        (["-b"], b"hello\n", "no hex digits, so not sent: 'hello'"),
        (["-b"], "żółw\n".encode() * 9, "no hex digits, so not sent: 'żółw'"),
    ],
)
def test_lines_that_cannot_be_sent(
    peer: Peer, words: list[str], line: bytes, complaint: str
) -> None:
    assert run_picows(peer.url, *words, typed=line) == (2, "", f"picows: {complaint}\n")
    peer.events("closed 1000")


def test_many_lines_both_ways(peer: Peer) -> None:
    lines = b"".join(b"%d %s\n" % (number, b"x" * 1000) for number in range(5000))
    assert run_picows(peer.url, "--count", "5000", typed=lines) == (0, lines.decode(), "")


def test_loop_that_cannot_wait_for_input() -> None:
    """As on Windows: it says so before it connects."""
    program = (
        "import asyncio, sys\n"
        "def add_reader(*args):\n"
        "    raise NotImplementedError\n"
        "asyncio.SelectorEventLoop.add_reader = add_reader\n"
        "from picows_client.cli.main import main\n"
        "sys.exit(main())\n"
    )
    code, output, errors = run_picows("ws://127.0.0.1:1", command=(*PYTHON, "-c", program))
    assert (code, output) == (2, "")
    assert errors.startswith("picows: input from a pipe")
    assert errors.count("\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="sets the size of a pipe")
def test_slow_reader(peer: Peer) -> None:
    """It slows the server down; nothing is lost."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, 1031, 4096)  # F_SETPIPE_SZ, which Python 3.8 does not know
    process = started(f"{peer.url}/many", "--count", "20000", stdout=writer)
    os.close(writer)
    peer.events("connected /many")
    with os.fdopen(reader, "rb") as output:
        lines = output.read().split(b"\n")
    assert len(lines) == 20_001
    assert lines[19_999] == b"message 19999"
    assert finished(process) == (0, "", "")


def test_reader_that_leaves(peer: Peer) -> None:
    """``picows | head``: no traceback, and the closing handshake."""
    process = started(f"{peer.url}/many")
    assert process.stdout.readline() == b"message 0\n"
    process.stdout.close()
    assert process.wait(40) == 0
    assert process.stderr.read() == b""
    process.stderr.close()
    process.stdin.close()
    peer.events("closed 1000")


def test_reader_that_leaves_while_nothing_arrives(peer: Peer) -> None:
    process = started(f"{peer.url}/greeting")
    assert process.stdout.readline() == b"welcome\n"
    process.stdout.close()
    assert process.wait(40) == 0
    assert process.stderr.read() == b""
    process.stderr.close()
    process.stdin.close()
    peer.events("closed 1000")


def test_full_disk(peer: Peer) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    with open("/dev/full", "wb") as full:
        code, _, errors = run_picows(peer.url, "-x", "hello", stdout=full)
    assert code == 1
    assert errors == "picows: standard output: [Errno 28] No space left on device\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals(peer: Peer, number: int) -> None:
    process = started(f"{peer.url}/greeting")
    assert process.stdout.readline() == b"welcome\n"
    process.send_signal(number)
    assert finished(process) == (0, "", "")
    peer.events("closed 1000")


def test_signal_while_it_connects() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = started(f"ws://127.0.0.1:{server.getsockname()[1]}")
        sock, _ = server.accept()
        with sock:
            sock.recv(100)
            process.send_signal(signal.SIGINT)
            assert finished(process) == (0, "", "")


def test_second_signal_drops_the_connection() -> None:
    """A server that does not answer the CLOSE frame is not waited for."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = started(f"ws://127.0.0.1:{server.getsockname()[1]}", "-v")
        sock, _ = server.accept()
        with sock:
            accept_upgrade(sock)
            read_until(process, b"< Sec-WebSocket-Accept")
            process.send_signal(signal.SIGINT)
            assert sock.recv(1)[0] == 0x88
            process.send_signal(signal.SIGINT)
            code, output, errors = finished(process)
    assert (code, output) == (0, "")
    assert "received CLOSE" not in errors
    assert errors.endswith("* disconnected: this side closed: 1000\n")  # no timeout


def accept_upgrade(sock: socket.socket) -> None:
    head = b""
    while b"\r\n\r\n" not in head:
        head += sock.recv(4096)
    key = head.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    sock.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %s\r\n\r\n" % base64.b64encode(digest)
    )


def read_until(process: subprocess.Popen[bytes], start: bytes) -> None:
    assert process.stderr is not None
    while not process.stderr.readline().startswith(start):
        assert process.poll() is None


def test_ignored_signals_stay_ignored(peer: Peer) -> None:
    """In the background, and after ``nohup``."""

    def ignore() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    process = started(f"{peer.url}/greeting", "--count", "2", preexec_fn=ignore)
    assert process.stdout.readline() == b"welcome\n"
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGHUP)
    assert finished(process, b"alive\n") == (0, "alive\n", "")


def test_refused() -> None:
    code, output, errors = run_picows("ws://127.0.0.1:1")
    assert (code, output) == (1, "")
    assert errors.startswith("picows: ")
    assert "127.0.0.1 port 1" in errors
    assert errors.count("\n") == 1


def test_refused_by_the_server(peer: Peer) -> None:
    code, output, errors = run_picows(f"{peer.url}/refused")
    assert (code, output) == (1, "")
    assert errors == (
        "picows: the server answered with status 403 'Forbidden' instead of status 101:"
        " 'go \\x1b[31maway'\n"
    )


@pytest.mark.parametrize(
    ("command", "code", "errors"),
    [
        ("close 1000", 0, ""),
        ("close 1001 bye", 0, ""),
        ("close 1011 broken", 1, "picows: the peer closed: 1011 (broken)\n"),
        ("close 4000 no", 1, "picows: the peer closed: 4000 (no)\n"),
        ("evilclose", 1, "picows: the peer closed: 4001 (\\x1b[31mred)\n"),
    ],
)
def test_server_closes(peer: Peer, command: str, code: int, errors: str) -> None:
    assert run_picows(peer.url, "-w", "inf", typed=command.encode()) == (code, "", errors)


def test_server_drops(peer: Peer) -> None:
    code, output, errors = run_picows(peer.url, "-w", "inf", typed=b"drop\n")
    assert (code, output) == (1, "")
    assert errors.startswith("picows: the connection broke or ended without a closing handshake")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["ftp://host"], "'ftp://host' is not a valid WebSocket URL"),
        (["ws://host", "--proxy", "nonsense"], "nonsense"),
        (["ws://host", "-H", "Bad Name: x"], "Bad Name"),
        (["ws://host", "-H", "Host: a\nb: c"], "Host"),
        (["ws://host", "-s", "bad name"], "bad name"),
        (["ws://host", "--cacert", "/missing"], "cannot use /missing: No such file"),
        (["ws://host", "--bogus"], "unrecognized arguments: --bogus"),
        ([], "the following arguments are required: URL"),
    ],
)
def test_wrong_usage(words: list[str], complaint: str) -> None:
    code, output, errors = run_picows(*words)
    assert (code, output) == (2, "")
    assert complaint in errors
    assert "Traceback" not in errors


def test_entry_point(peer: Peer) -> None:
    """What the script ``picows`` of the wheel calls."""
    call = "import sys; from picows_client.cli.main import main; sys.exit(main())"
    command = (*PYTHON, "-c", call)
    assert run_picows(peer.url, "-1", "-x", "hi", command=command) == (0, "hi\n", "")


def test_importing_the_program_runs_nothing() -> None:
    command = (sys.executable, "-c", "import picows_client.__main__")
    assert run_picows(command=command, env=environment()) == (0, "", "")
