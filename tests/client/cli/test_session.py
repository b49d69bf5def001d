"""Connecting, counting, waiting, measuring, and connecting again."""

from __future__ import annotations

import gzip
import os
import re
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, List

import pytest

from picows_client.cli import session as session_module
from picows_client.cli.arguments import parsed
from picows_client.cli.listening import Progress, sent_as
from picows_client.cli.rendering import Rendering
from picows_client.cli.session import LOST, SUCCESS, WRONG_USAGE, Session
from picows_codec import WSMsgType
from tests.client.cli.running import (
    PYTHON,
    Peer,
    environment,
    finished,
    run_picows,
    serving,
    started,
)
from tests.client.cli.test_main import accept_upgrade
from tests.support.certificates import Certificates
from tests.support.loops import run
from tests.support.rawpeer import RawConnection, raw_peer


def test_exit_codes() -> None:
    assert (SUCCESS, LOST, WRONG_USAGE) == (0, 1, 2)


def test_sent_as() -> None:
    assert sent_as("text") is WSMsgType.TEXT
    assert sent_as(b"bytes") is WSMsgType.BINARY


def test_progress() -> None:
    async def main() -> None:
        assert not Progress(None).lacks_messages
        progress = Progress(2)
        for _ in range(2):
            assert progress.lacks_messages
            assert not progress.is_satisfied.is_set()
            progress.count()
        assert progress.is_satisfied.is_set()
        assert not progress.lacks_messages

    run(main)


# -x, -w, -1, --count


def test_messages_of_the_command_line(peer: Peer) -> None:
    """Standard input is left alone."""
    assert run_picows(peer.url, "-x", "one", "-x", "", "-x", "two", typed=b"no\n") == (
        0,
        "one\n\ntwo\n",
        "",
    )
    assert run_picows(peer.url, "-b", "-x", "00ff", "-1") == (0, "00ff\n", "")


def test_one_reply(peer: Peer) -> None:
    assert run_picows(f"{peer.url}/many", "-1") == (0, "message 0\n", "")
    peer.events("closed 1000")


def test_one_reply_while_the_input_is_open(peer: Peer) -> None:
    process = started(peer.url, "-1")
    process.stdin.write(b"later hello\n")
    process.stdin.flush()
    assert process.wait(40) == 0
    assert finished(process) == (0, "hello\n", "")


def test_count(peer: Peer) -> None:
    lines = "".join(f"message {number}\n" for number in range(12_345))
    assert run_picows(f"{peer.url}/many", "--count", "12345") == (0, lines, "")


def test_too_few_messages(peer: Peer) -> None:
    complaint = "picows: 1 of 3 messages had arrived\n"
    assert run_picows(peer.url, "--count", "3", typed=b"a\nclose 1000\n") == (1, "a\n", complaint)
    assert run_picows(peer.url, "--count", "3", "-w", "0.2", "-x", "a") == (1, "a\n", complaint)


def test_no_wait(peer: Peer) -> None:
    """What arrives until the server has closed, too, is printed."""
    assert run_picows(peer.url, "-w", "0", typed=b"one\n") == (0, "one\n", "")


# How to connect


def test_headers_and_compression(peer: Peer) -> None:
    text = "compressed " * 100
    outcome = run_picows(
        f"{peer.url}/headers", "-H", "X-Name: value", "--compression", "-1", "-x", text
    )
    assert outcome == (0, f"{text}\n", "")
    events = peer.events("connected /headers")
    assert events[1] == "value"
    assert events[2].startswith("permessage-deflate")
    assert run_picows(f"{peer.url}/headers", "-x", "a", "-1") == (0, "a\n", "")
    assert peer.events("connected /headers")[-3:-1] == ["-", "-"]


def test_proxy_of_the_environment(peer: Peer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        url = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        proxied = environment(ws_proxy=url)
        process = started("ws://example.invalid/", env=proxied)
        sock, _ = proxy.accept()
        with sock:
            assert sock.recv(100).startswith(b"CONNECT example.invalid:80 HTTP/1.1\r\n")
            sock.sendall(b"HTTP/1.1 403 \x1b[31mNo\r\nContent-Length: 0\r\n\r\n")
            code, _, errors = finished(process)
        assert code == 1
        assert f"proxy {url} opened no tunnel" in errors
        assert "\x1b" not in errors
        process = started("ws://example.invalid/", "--proxy", "none", env=proxied)
        code, _, errors = finished(process)
        assert code == 1
        assert "proxy" not in errors
        process = started("ws://example.invalid/", "--proxy", url)
        sock, _ = proxy.accept()
        with sock:
            assert sock.recv(100).startswith(b"CONNECT example.invalid:80 HTTP/1.1\r\n")
        assert finished(process)[0] == 1


def test_wrong_proxy_of_the_environment() -> None:
    outcome = run_picows("ws://example.invalid/", env=environment(ws_proxy="ftp://nonsense"))
    assert outcome[:2] == (2, "")
    assert "environment variable ws_proxy" in outcome[2]


def test_tls(certificates: Certificates) -> None:
    files = (certificates.server_chain, certificates.server_key, certificates.authority)
    ours = ["--cert", str(certificates.client_chain), "--key", str(certificates.client_key)]
    with serving(*map(str, files)) as peer:
        assert peer.url.startswith("wss://localhost:")
        code, output, errors = run_picows(peer.url, "-1", "-x", "hi", *ours)
        assert (code, output) == (1, "")
        assert "certificate verify failed" in errors.replace("_", " ").lower()
        for trust in (["--cacert", str(certificates.authority)], ["-k"]):
            assert run_picows(peer.url, "-1", "-x", "hi", *trust, *ours) == (0, "hi\n", "")
        code, output, _ = run_picows(peer.url, "-1", "-x", "hi", "-k")
        assert (code, output) == (1, "")


def test_user_and_password_stay_out_of_the_output(peer: Peer) -> None:
    url = peer.url.replace("://", "://user:secret@")
    code, output, errors = run_picows(f"{url}/refused?token=hidden")
    assert code == 1
    code, output, more = run_picows(url, "--ping", "2")
    assert code == 0
    for text in (output, errors, more):
        assert "secret" not in text
        assert "hidden" not in text


@pytest.mark.skipif(sys.version_info < (3, 9), reason="asyncio.run leaves the thread to the exit")
def test_a_name_that_takes_long() -> None:
    """Its thread cannot be ended; a second Ctrl-C does not wait for it."""
    program = (
        "import socket, sys, threading, time\n"
        "numeric = socket.getaddrinfo\n"
        "def getaddrinfo(*args, **options):\n"
        "    if threading.current_thread() is threading.main_thread():\n"
        "        return numeric(*args, **options)\n"
        "    print('resolving', flush=True)\n"
        "    time.sleep(300)\n"
        "socket.getaddrinfo = getaddrinfo\n"
        "from picows_client.cli.main import main\n"
        "sys.exit(main())\n"
    )
    process = started("ws://name.invalid", command=(*PYTHON, "-c", program))
    assert process.stdout.readline() == b"resolving\n"
    deadline = time.monotonic() + 40
    while process.poll() is None and time.monotonic() < deadline:
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    assert finished(process) == (0, "", "")


@pytest.mark.parametrize("error", [None, OSError(28, "No space left on device")])
def test_what_was_recorded_is_written(monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    """Before the process ends without cleaning up."""
    events: List[str] = []

    class Part:
        editor = None

        def close(self) -> None:
            events.append("closed")

        def flush(self) -> None:
            events.append("flushed")
            if error is not None:
                raise error

    def leave(code: int) -> None:
        raise SystemExit(code)

    async def main() -> None:
        part: Any = Part()
        session = Session(parsed(["ws://host"]), None, None, part, lambda *_: part, part)
        session.stop()
        with pytest.raises(SystemExit) as caught:
            session.stop()
        assert caught.value.code == SUCCESS

    monkeypatch.setattr(os, "_exit", leave)
    run(main)
    assert events == ["closed", "flushed"]


# --ping


def test_ping(peer: Peer) -> None:
    code, output, errors = run_picows(peer.url, "--ping", "50")
    assert (code, errors) == (0, "")
    head, *rows = output.splitlines()
    assert head == f"50 round trips to {peer.url}/"
    assert [row.split()[0] for row in rows] == ["min", "p50", "p90", "p99", "p99.9", "max"]
    values = [float(row.split()[1]) for row in rows]
    assert values == sorted(values)
    assert all(re.fullmatch(r"\S+ +\d+\.\d{3} ms", row) for row in rows)
    peer.events("closed 1000")


def test_ping_of_a_server_that_leaves() -> None:
    """What was measured is shown."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = started(f"ws://127.0.0.1:{server.getsockname()[1]}", "--ping", "5")
        sock, _ = server.accept()
        with sock:
            accept_upgrade(sock)
            for _ in range(2):
                frame = sock.recv(100)
                assert frame[0] == 0x89
                size = frame[1] & 0x7F
                payload = bytes(b ^ frame[2 + i % 4] for i, b in enumerate(frame[6 : 6 + size]))
                sock.sendall(bytes([0x8A, size]) + payload)
            sock.recv(100)
        code, output, errors = finished(process)
    assert code == 1
    assert output.startswith("2 round trips to ws://127.0.0.1:")
    assert "without a closing handshake" in errors


def test_ping_of_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not waited for without end, though it sends other things."""
    monkeypatch.setattr(session_module, "_KEEPALIVE", 0.01)
    complaints: List[str] = []

    class Part:
        editor = None

        def close(self) -> None:
            pass

        clear_progress = close

        async def drain(self) -> None:
            pass

        def complain(self, text: object) -> None:
            complaints.append(str(text))

    async def deaf(peer: RawConnection) -> None:
        await peer.accept_upgrade()
        frame = await peer.read_frame()
        assert frame.opcode == WSMsgType.PING
        peer.write_frame(WSMsgType.TEXT, b"deaf")
        frame = await peer.read_frame()
        peer.write_frame(WSMsgType.CLOSE, frame.payload)

    async def main() -> None:
        part: Any = Part()
        async with raw_peer(deaf) as peer:
            arguments = parsed([peer.url(), "--ping", "3"])
            rendering = Rendering(arguments, is_terminal=False)
            session = Session(arguments, None, None, rendering, lambda *_: part)
            part.print_message = lambda _: None
            part.is_full = False
            assert await session.run() == LOST
            await peer.finished()

    run(main)
    assert complaints == ["no answer to a ping within 0.01 seconds"]


# --reconnect


def test_lines_go_to_the_next_connection(peer: Peer) -> None:
    """Those that are read while there is none wait for it; nothing is sent again."""
    process = started(peer.url, "--reconnect")

    def type_lines(text: bytes) -> None:
        process.stdin.write(text)
        process.stdin.flush()

    for number, command, end in (
        (b"one", b"drop", "without a closing handshake: the peer ended the stream"),
        (b"two", b"close 1011", "the peer closed: 1011"),
    ):
        type_lines(number + b"\n")
        assert process.stdout.readline() == number + b"\n"
        type_lines(command + b"\n")
        line = process.stderr.readline().decode()
        assert line.startswith("picows: ")
        assert line.endswith(f"{end}; connecting again\n")
    type_lines(b"three\n")
    assert process.stdout.readline() == b"three\n"
    process.send_signal(signal.SIGINT)
    assert finished(process) == (0, "", "")


def test_messages_of_the_command_line_are_sent_on_each_connection(peer: Peer) -> None:
    words = ["--reconnect", "--count", "2", "-x", "hello", "-x", "close 1012"]
    code, output, errors = run_picows(peer.url, *words)
    assert (code, output) == (0, "hello\nhello\n")
    assert "the peer closed: 1012" in errors


def test_reconnect_ends_where_it_makes_no_sense(peer: Peer) -> None:
    code, output, errors = run_picows(f"{peer.url}/refused", "--reconnect")
    assert (code, output) == (1, "")
    assert errors.count("\n") == 1


def test_reconnect_in_vain_with_a_time_limit() -> None:
    for words in (["-x", "a"], ["-1"]):
        code, output, errors = run_picows("ws://127.0.0.1:1", "--reconnect", "-w", "0.2", *words)
        assert (code, output) == (1, "")
        assert "Connection refused; connecting again\n" in errors
        assert errors.endswith("picows: no connection within 0.2 s\n")


def test_what_cannot_be_inflated(peer: Peer, tmp_path: Path) -> None:
    bomb = gzip.compress(bytes(17 * 1024 * 1024))
    recording = str(tmp_path / "a.rec")
    words = ["-b", "-x", bomb.hex(), "-1", "--gunzip", "--record", recording]
    complaint = "picows: a message is printed as it came: it inflates to more than 16777216 bytes\n"
    assert run_picows(peer.url, *words) == (1, f"{bomb.hex()}\n", complaint)
    outcome = run_picows("--replay", recording, "--gunzip", "-b")
    assert outcome == (1, f"{bomb.hex()}\n", complaint)


def test_reconnect_with_a_time_limit(peer: Peer) -> None:
    assert run_picows(peer.url, "--reconnect", "-w", "0.1", "-x", "a") == (0, "a\n", "")
    peer.events("closed 1000")


def test_control_c_at_the_moment_of_a_failure() -> None:
    """The dial fails in the same iteration of the loop as the signal arrives."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = started(f"ws://127.0.0.1:{server.getsockname()[1]}", "--reconnect")
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            process.send_signal(signal.SIGSTOP)
            process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        assert finished(process) == (0, "", "")


@pytest.mark.parametrize("words", [["-1"], ["--count", "3"]])
def test_no_connection_to_count_on(words: list[str]) -> None:
    code, output, errors = run_picows("ws://127.0.0.1:1", *words)
    assert (code, output) == (1, "")
    assert errors.count("\n") == 1


def test_arguments_of_a_session() -> None:
    assert parsed(["ws://host"]).seconds_to_stay is None
