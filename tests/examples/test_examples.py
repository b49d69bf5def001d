"""Every example runs, prints what it should, and ends in order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Optional

import pytest

from tests.examples.conftest import ROOT, Examples

needs_sigint = pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process")


@needs_sigint
def test_echo_server_and_client(examples: Examples) -> None:
    path = ROOT / "examples" / "echo_server.py"
    with examples.start(path, "ws://127.0.0.1:0") as server:
        greeting = re.fullmatch(r"Listening on (ws://\S+); Ctrl-C to stop", server.read_line())
        assert greeting is not None
        *replies, ping = examples.run("echo_client.py", greeting[1], "first", "żółw")
        assert replies == ["Echo reply: first", "Echo reply: żółw"]
        assert re.fullmatch(r"Fastest of five pings: \d+ microseconds", ping)
        assert server.read_line() == "/: a client has connected"
        assert server.read_line() == "/: the peer closed: 1000"
        server.interrupt()
        assert server.finish() == ["Stopped"]


def test_echo_client_without_a_server(examples: Examples) -> None:
    with examples.start(ROOT / "examples" / "echo_client.py", "ws://127.0.0.1:1") as client:
        _, errors = client.process.communicate()
    assert client.process.returncode == 1
    assert errors.startswith("No answer from ws://127.0.0.1:1:")
    assert "Traceback" not in errors


def test_tls(examples: Examples) -> None:
    listening, refusal, encrypted, reply = examples.run("tls.py")
    assert listening.startswith("Listening on wss://localhost:")
    assert refusal.startswith("A client that does not know the authority: ")
    assert encrypted == "Encrypted: True"
    assert reply == "Echo reply: for your eyes only"


def test_routing(examples: Examples) -> None:
    lines = [line.strip() for line in examples.run("routing.py")]
    assert lines[1::2] == [
        "is anybody there? (room: -)",
        "welcome, we speak chat.v1 (room: lobby)",
        "welcome, we speak chat.v2 (room: lobby)",
        "refused with 400: offer one of: chat.v2, chat.v1",
        "refused with 403: this origin is not welcome",
        "refused with 404: Not Found",
    ]


def test_routes(examples: Examples) -> None:
    listening, *lines = examples.run("routes.py")
    script = "new WebSocket(`ws://${location.host}/ws`).onmessage = (e) => console.log(e.data);"
    assert listening.startswith("Listening on ws://127.0.0.1:")
    assert lines == [
        "/healthz: 200 OK: ok",
        "/readyz: 503 Service Unavailable: not ready: database",
        "/readyz: 200 OK: ready",
        '/: 200 OK: <!doctype html> <script src="/static/app.js"></script>',
        f"/static/app.js: 200 OK: {script}",
        "/static/../index.html: 404 Not Found: Not Found",
        "/ws: 426 Upgrade Required: header Upgrade must list websocket (RFC 6455, 4.2.1, 3)",
        "/ws: welcome",
        '/connections: 200 OK: {"connections": 2}',
        "/nowhere: refused with 404",
    ]


def test_compression(examples: Examples) -> None:
    plain, takeover, alone = examples.run("compression.py")
    assert plain == "200 messages, 11800 bytes of JSON, no extension"
    assert takeover == "200 messages, 11800 bytes of JSON, permessage-deflate"
    assert alone.endswith("permessage-deflate; server_no_context_takeover")


def test_fragments(examples: Examples) -> None:
    first, *middle, last, message = examples.run("fragments.py")
    assert first == "server: TEXT with 7 bytes"
    assert middle == ["server: CONTINUATION with 7 bytes"] * 4
    assert last == "server: CONTINUATION with 0 bytes, the last one"
    assert message.startswith("client: one TEXT message with 5 lines: ['line 1', ")


def test_reconnecting_client(examples: Examples) -> None:
    lines = examples.run("reconnecting_client.py")
    received = [line for line in lines if line.startswith("client: message ")]
    assert [int(line.split()[2].rstrip(":")) for line in received] == list(range(1, 11))
    changes = [line for line in lines if not line.startswith("client: message ")]
    assert [line.strip() for line in changes[:2]] == ["client: connecting", "client: connected"]
    assert changes[-1].startswith("client: closed")
    waits = [line for line in changes if "waiting for the next attempt" in line]
    assert len(waits) == 2
    assert "1012 (back in a moment)" in waits[0]
    assert "no data frame within data_timeout" in waits[1]


def test_many_connections(examples: Examples) -> None:
    assert examples.run("many_connections.py") == [
        "200 connections",
        "200 connections, each the second of its symbol",
        "All are closed",
    ]


def test_request_reply(examples: Examples) -> None:
    first, second, *others = examples.run("request_reply.py")
    assert {first, second} == {"quick is done", "slow is done"}
    assert others == [
        "nothing: no reply in time",
        "nothing: the peer closed: 1012 (back in a moment)",
        "restart: the peer closed: 1012 (back in a moment)",
        "quick: nothing was sent",
        "0 requests are in flight",
    ]


def test_order_book(examples: Examples) -> None:
    pytest.importorskip("msgspec")
    assert examples.run("order_book.py") == [
        "update 13 follows 11: the book is wrong, start anew",
        "bids [(100.2, 5.0), (100.0, 4.0)], asks [(100.4, 2.0), (100.5, 1.0)]",
    ]


def test_gzip_frames(examples: Examples) -> None:
    pong, feed, end = examples.run("gzip_frames.py")
    assert pong == 'server: the client replies {"pong": 1700000000000}'
    assert re.fullmatch(r"\d{3} bytes of gzip: 100 bids", feed)
    assert end == "The end: this side closed: 1007 (more than 1048576 bytes, or cut off)"


def test_from_thread(examples: Examples) -> None:
    first, second, refusal, end = examples.run("from_thread.py")
    assert [first, second] == ["a question", "another question"]
    assert refusal.startswith("Not from here: a connection may only be used on the thread of its")
    assert end == "The loop has stopped"


def test_coroutine_client(examples: Examples) -> None:
    reply, ping, nothing, quotes, end = examples.run("coroutine_client.py")
    assert reply == "Reply: no such command: hello"
    assert re.fullmatch(r"Round trip: \d+ microseconds", ping)
    assert nothing == "Nothing for a while"
    assert re.fullmatch(r"10000 quotes in \d+ calls of recv_many; the last of SYM7: 9907", quotes)
    assert end == "The end: the peer closed: 1012 (back in a moment) (code 1012)"


def test_coroutine_server(examples: Examples) -> None:
    listening, *lines = examples.run("coroutine_server.py")
    assert listening.startswith("Listening on ws://127.0.0.1:")
    assert lines[:4] == [
        "Without a token: 401",
        "Ada reads: Ada: hello",
        "Grace reads: Grace: good morning",
        "Ada reads: Grace: good morning",
    ]
    assert sorted(lines[4:6]) == ["server: Ada has left", "server: Grace has left"]
    assert lines[6:] == ["The server closed with 1001"] * 2


def test_batch(examples: Examples) -> None:
    counts, latest = examples.run("batch.py")
    found = re.fullmatch(r"10000 messages in (\d+) batches", counts)
    assert found is not None
    assert 1 <= int(found[1]) < 1000
    assert latest == "100 symbols; the latest price of SYM7 is 7.99"


def test_broadcast(examples: Examples) -> None:
    names = ("Ada", "Grace", "Barbara")
    assert sorted(examples.run("broadcast.py")) == sorted(
        f"{listener} hears {speaker}: hello everybody"
        for listener in names
        for speaker in names
        if listener != speaker
    )


def test_topics(examples: Examples) -> None:
    lines = examples.run("topics.py")
    refused = lines.pop(4)
    assert refused.startswith("refused: topic 'xxx")
    assert "max_topic_length is 255" in refused
    assert lines == [
        "BTC 64000",
        "subscribed to price.BTC",
        *["subscribed to trades.BTC"] * 2,
        "BTC 64100",
        *["0.5 BTC for 64100"] * 2,
        "delivered: 2 trades",
    ]


GOODBYES = [
    "Shutting down 2 connections",
    *["client: the server closed with code 1001"] * 2,
    *["server: session ended: this side closed: 1001"] * 2,
]


def test_graceful_shutdown(examples: Examples) -> None:
    listening, *goodbyes, last = examples.run("graceful_shutdown.py", "0.1")
    assert listening.startswith("Listening on ws://127.0.0.1:")
    assert sorted(goodbyes) == GOODBYES
    assert last == "Nothing is left"


@needs_sigint
def test_graceful_shutdown_by_a_signal(examples: Examples) -> None:
    with examples.start(ROOT / "examples" / "graceful_shutdown.py", "60") as server:
        assert server.read_line().startswith("Listening on ws://127.0.0.1:")
        server.interrupt()
        *goodbyes, last = server.finish()
    # It may have come before both clients were connected.
    assert set(goodbyes[1:]) <= set(GOODBYES)
    assert last == "Nothing is left"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the compiled examples, built against the installed codec."""
    pytest.importorskip("Cython")
    pytest.importorskip("setuptools", "74.1")
    target = tmp_path_factory.mktemp("compiled")
    # The codec that is installed here is the one to compile against: no isolation.
    command = [sys.executable, "-m", "pip", "install", "--no-build-isolation", "--no-deps"]
    projects = []
    for name in ("compiled_listener", "trading"):
        projects.append(tmp_path_factory.mktemp(name))
        for file in (ROOT / "examples" / name).iterdir():
            if file.is_file():
                (projects[-1] / file.name).write_bytes(file.read_bytes())
    outcome = subprocess.run(
        [*command, "--target", str(target), *map(str, projects)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout
    return target


class TestCompiled:
    @pytest.fixture
    def python_path(self, compiled: Path) -> Optional[Path]:
        return compiled

    @pytest.mark.timeout(300)
    def test_listener(self, examples: Examples) -> None:
        assert examples.run("compiled_listener/run.py") == [
            "Echo reply: no Python on the other side"
        ]

    @pytest.mark.timeout(300)
    def test_trading(self, examples: Examples) -> None:
        head, *rows, ratio = examples.run("trading/run.py", "0.2")
        assert head.split("  ")[0] == "consumer"
        assert [row.split()[0] for row in rows] == ["compiled", "Python"]
        for row in rows:
            rate, one, _, parsed, bid, offer = row.split()[1:]
            assert int(rate.replace(",", "")) > 0
            assert (one, int(parsed.replace(",", "")) > 0) == ("1", True)
            assert float(offer) - float(bid) == pytest.approx(0.0013)
        assert re.fullmatch(r"compiled / Python: \d+\.\d", ratio)

    @pytest.mark.timeout(300)
    def test_quotes(self, compiled: Path) -> None:
        """The compiled parser reads what a JSON parser reads, and refuses what is no quote."""
        program = """
from market_data import parse
good = b'{"u":40,"s":"X","b":"25.3519","B":"31.21","a":"0.1","A":"123456.789"}'
assert parse(good) == (40, 25.3519, 31.21, 0.1, 123456.789)
assert parse(good.replace(b'"25.3519"', b"25.3519")) == parse(good)
for cut in range(len(good)):
    assert parse(good[:cut]) is None, cut
    assert parse(good[:cut] + b"x" + good[cut + 1:]) is None or good[cut:cut + 1] == b"X", cut
for other in (b"{}", b"[]", b'{"u":1}', good + b" ", b'{"u":"' + b"1" * 16 + b'"}'):
    assert parse(other) is None, other
"""
        environment = {**os.environ, "PYTHONPATH": str(compiled)}
        subprocess.run([sys.executable, "-c", program], env=environment, check=True)
