"""--record and --replay."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import List

import pytest

from picows_client.testing import read_recording
from picows_codec.recording.file_format import DATA, OPEN, encode_record, file_head
from tests.client.cli.running import (
    Peer,
    Terminal,
    default_signals,
    environment,
    run_picows,
    started,
)

if sys.platform != "win32":
    import resource


@pytest.fixture
def recording(tmp_path: Path) -> str:
    return str(tmp_path / "feed.rec")


def recorded(peer: Peer, recording: str, *words: str) -> str:
    code, output, errors = run_picows(peer.url, "--record", recording, *words)
    assert (code, errors) == (0, "")
    return output


def test_replay_prints_what_arrived(peer: Peer, recording: str) -> None:
    words = ["-x", "one", "-x", "gzip two", "-x", '{"three":3}', "-w", "0.3", "--gunzip"]
    output = recorded(peer, recording, *words)
    assert output == 'one\ntwo\n{"three":3}\n'
    assert run_picows("--replay", recording, "--gunzip") == (0, output, "")
    pretty = 'one\ntwo\n{\n  "three": 3\n}\n'
    assert run_picows("--replay", recording, "--gunzip", "--json") == (0, pretty, "")
    assert run_picows("--replay", recording, "-1") == (0, "one\n", "")
    shortage = "picows: 3 of 4 messages had arrived\n"
    assert run_picows("--replay", recording, "--gunzip", "--count", "4") == (1, output, shortage)


def test_nothing_to_replay(peer: Peer, recording: str) -> None:
    recorded(peer, recording, "-x", "one")
    path = Path(recording)
    path.write_bytes(path.read_bytes()[:200])
    code, output, errors = run_picows("--replay", recording)
    assert (code, output) == (1, "")
    assert errors.startswith(f"picows: {recording} has nothing to replay: ")


def test_times_are_those_of_the_recording(peer: Peer, recording: str) -> None:
    recorded(peer, recording, "-x", "one", "-1")
    times = [record.time_ns for record in read_recording(recording) if record.kind == "data"]
    outcomes = [run_picows("--replay", recording, "-t") for _ in range(2)]
    assert outcomes[0] == outcomes[1]
    found = re.fullmatch(r"\S+\.(\d{6}) \+(\S+) one\n", outcomes[0][1])
    assert found is not None
    assert int(found[1]) in [time_ns // 1000 % 1_000_000 for time_ns in times]


def test_recordings_are_appended(peer: Peer, recording: str) -> None:
    """All connections are replayed."""
    for text in ("one", "two"):
        recorded(peer, recording, "-x", text, "-1")
    assert run_picows("--replay", recording) == (0, "one\ntwo\n", "")


def test_all_connections_of_a_run_are_recorded(peer: Peer, recording: str) -> None:
    words = ["--reconnect", "--count", "2", "-x", "hello", "-x", "close 1012"]
    assert run_picows(peer.url, "--record", recording, *words)[:2] == (0, "hello\nhello\n")
    assert run_picows("--replay", recording) == (0, "hello\nhello\n", "")


def test_compressed_connection(peer: Peer, recording: str) -> None:
    text = "compressed " * 100
    recorded(peer, recording, "--compression", "-x", text, "-x", text, "--count", "2")
    assert run_picows("--replay", recording) == (0, f"{text}\n{text}\n", "")


def test_verbose_replay(peer: Peer, recording: str) -> None:
    recorded(peer, recording, "-x", "ping hello", "-1", "-H", "Authorization: secret")
    code, output, errors = run_picows("--replay", recording, "-v")
    assert (code, output) == (0, "pinged\n")
    assert "> GET / HTTP/1.1" in errors
    assert "* received PING 'hello'" in errors
    assert "secret" not in errors
    assert b"secret" not in Path(recording).read_bytes()


def test_harmless_on_a_terminal(peer: Peer, recording: str) -> None:
    recorded(peer, recording, "-x", "evil", "-1")
    with Terminal("--replay", recording) as terminal:
        assert terminal.finish() == 0
        head = "\\x1b[31mred\\x9b1m\\u202e\\r< fake"
        assert terminal.screen.lines == [head, "next", ""]


def test_slow_reader_and_one_that_leaves(peer: Peer, recording: str) -> None:
    code, lines, _ = run_picows(f"{peer.url}/many", "--record", recording, "--count", "20000")
    assert code == 0
    assert run_picows("--replay", recording) == (0, lines, "")
    process = started("--replay", recording)
    assert process.stdout.readline() == b"message 0\n"
    process.stdout.close()
    assert process.wait(40) == 0
    assert process.stderr.read() == b""
    process.stderr.close()
    process.stdin.close()


@pytest.mark.parametrize("words", [["--replay"], ["ws://127.0.0.1:1", "--record"]])
def test_files_that_are_no_recordings(words: List[str], tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("this is no recording, but a text of some length\n" * 10)
    code, output, errors = run_picows(*words, str(path))
    assert (code, output) == (1 if words == ["--replay"] else 2, "")
    assert str(path) in errors
    assert errors.count("\n") == 1
    code, output, errors = run_picows(*words, str(tmp_path / "missing" / "file"))
    assert (code, output) == (2, "")
    assert "No such file" in errors


def test_connection_that_cannot_be_replayed(recording: str) -> None:
    """Another client, or a damaged file, may have offered what this one refuses to offer."""
    request = b"GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Extensions: permessage-deflate;"
    request += b" client_max_window_bits=99\r\n\r\n"
    facts = b'{"role": "client", "url": "ws://a/"}'
    records = encode_record(OPEN, 1, 0, 0, facts)
    records += encode_record(DATA, 1, 0, 0, request, is_sent=True, is_handshake=True)
    Path(recording).write_bytes(file_head() + records)
    code, output, errors = run_picows("--replay", recording)
    assert (code, output) == (1, "")
    assert errors.startswith(f"picows: {recording} cannot be replayed: ")
    assert "client_max_window_bits" in errors
    assert errors.count("\n") == 1


def test_full_disk(peer: Peer, recording: str) -> None:
    """The connection goes on."""

    def limit_files() -> None:
        default_signals()
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    text = "x" * 5000
    words = ["--record", recording, "-1", "-x", text]
    untraced = environment(COVERAGE_PROCESS_CONFIG="")  # coverage writes a file at the end, too
    assert run_picows(peer.url, *words, preexec_fn=limit_files, env=untraced) == (
        1,
        f"{text}\n",
        "picows: the recording ends early, because it could not be written\n",
    )
