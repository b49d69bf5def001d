"""picows_codec.connection.record: what is kept of one connection for those who ask about it."""

from __future__ import annotations

import logging
import pickle
import re
from typing import Any, Dict, List, Tuple

import pytest

from picows_codec import (
    ServerHandshake,
    WSBatchListener,
    WSConnectionStats,
    WSEndpoint,
    WSFrame,
    WSListener,
    WSMsgType,
    WSOptions,
    WSStateError,
    WSThreadError,
    WSTransport,
)
from picows_codec.testing import FakeLoop
from tests.support.connection import Connection, Log, Recorder
from tests.support.frames import BINARY, CONTINUATION, PING, PONG, TEXT, close_payload
from tests.support.threads import Threads

# What logging itself puts into a record, on any version.
ATTRIBUTES = {*vars(logging.LogRecord("", 0, "", 0, "", None, None)), "message", "asctime"}
ATTRIBUTES |= {"taskName"}


class FieldLog(Log):
    """Keeps the fields of each line."""

    def __init__(self) -> None:
        super().__init__()
        self.is_verbose = True
        self.fields: List[Dict[str, Any]] = []

    def debug(self, message: str, *args: object, **options: Any) -> None:
        self.fields.append(options["extra"])

    info = error = debug


def with_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.connection.Log", FieldLog)


@pytest.mark.parametrize("role", ["client", "server"])
def test_without_the_option(role: str) -> None:
    connection = Connection(role)
    with pytest.raises(WSStateError, match="collect_stats=True"):
        connection.ws.stats()


@pytest.mark.parametrize("role", ["client", "server"])
def test_stats(role: str) -> None:
    connection = Connection(role, collect_stats=True)
    begun = connection.ws.stats()
    assert (begun.frames_received, begun.messages_sent, begun.age) == (0, 0, 0.0)
    assert begun.bytes_received > 100
    assert begun.bytes_sent > 100
    assert begun.rtt is None
    connection.loop.advance(5.0)
    connection.receive(WSMsgType.TEXT, b"abc")
    connection.ws.send(WSMsgType.TEXT, b"abc")
    connection.loop.advance(2.0)
    stats = connection.ws.stats()
    assert (stats.age, stats.last_heard) == (7.0, 2.0)
    assert (stats.frames_received, stats.messages_received) == (1, 1)
    assert (stats.frames_sent, stats.messages_sent) == (1, 1)
    masked = {"client": 4, "server": 0}[role]
    assert stats.bytes_sent - begun.bytes_sent == 5 + masked
    assert stats.bytes_received - begun.bytes_received == 9 - masked
    assert pickle.loads(pickle.dumps(stats)) == stats
    with pytest.raises(AttributeError):
        stats.age = 1.0  # type: ignore[misc]


@pytest.mark.parametrize("role", ["client", "server"])
def test_within_a_callback_frames_count_up_to_its_own(role: str) -> None:
    counts: List[Tuple[int, int]] = []

    def look(transport: WSTransport, _: WSFrame) -> None:
        stats = transport.stats()
        counts.append((stats.frames_received, stats.messages_received))

    connection = Connection(role, Recorder().act("on_ws_frame", look), collect_stats=True)
    before = connection.ws.stats().bytes_received
    read = [
        connection.build(TEXT, b"a"),
        connection.build(BINARY, b"b"),
        connection.build(TEXT, b"c", fin=False),
        connection.build(PING),  # answered by the library
        connection.build(PONG),
        connection.build(CONTINUATION, b"d"),
        connection.build(TEXT, b"e" * 70_000),
        connection.build(TEXT, b"f"),
    ]
    connection.feed(b"".join(read))
    assert counts == [(1, 1), (2, 2), (3, 3), (5, 3), (6, 3), (7, 4), (8, 5)]
    stats = connection.ws.stats()
    assert (stats.frames_received, stats.messages_received) == (8, 5)
    assert stats.bytes_received - before == sum(map(len, read))


def test_within_a_batch_all_of_it_counts() -> None:
    counts: List[Tuple[int, int]] = []

    class Batches(WSBatchListener):
        def on_ws_batch(self, transport: WSTransport, messages: List[Any]) -> None:
            stats = transport.stats()
            counts.append((stats.frames_received, stats.messages_received))

    connection = Connection("server", Batches(), collect_stats=True)
    connection.feed(b"".join([connection.build(TEXT, b"a")] * 3 + [connection.build(PING)]))
    connection.feed(connection.build(BINARY, b"b"))
    assert counts == [(4, 3), (5, 4)]


@pytest.mark.parametrize("role", ["client", "server"])
def test_sent_fragments_and_control_frames(role: str) -> None:
    connection = Connection(role, collect_stats=True)
    counts: List[Tuple[int, int]] = []

    def send(opcode: WSMsgType, payload: bytes, fin: bool = True) -> None:
        connection.ws.send(opcode, payload, fin)
        stats = connection.ws.stats()
        counts.append((stats.frames_sent, stats.messages_sent))

    send(WSMsgType.TEXT, b"a", fin=False)
    send(WSMsgType.PING, b"b")
    send(WSMsgType.CONTINUATION, b"c", fin=False)
    send(WSMsgType.PONG, b"d")
    send(WSMsgType.CONTINUATION, b"e")
    send(WSMsgType.BINARY, b"f")
    send(WSMsgType.CLOSE, close_payload(1000))
    assert counts == [(1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 2), (7, 2)]
    assert [frame.opcode for frame in connection.sent()] == [1, 9, 0, 10, 0, 2, 8]


@pytest.mark.parametrize("option", [False, True])
def test_only_with_the_option_a_read_looks_at_the_clock(
    option: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = Connection("server", collect_stats=option)
    assert connection.ws.connection_id  # from now on there is a record
    looks: List[float] = []

    def looked() -> float:
        looks.append(0.0)
        return 0.0

    monkeypatch.setattr(connection.loop, "time", looked)
    connection.receive(WSMsgType.TEXT, b"abc")
    assert len(looks) == option


def test_nothing_is_recorded() -> None:
    connection = Connection("server")
    with pytest.raises(WSStateError, match="nothing is recorded"):
        connection.endpoint.counts()


def test_before_the_beginning() -> None:
    options = WSOptions(collect_stats=True)
    loop: Any = FakeLoop()
    endpoint = WSEndpoint(options, ServerHandshake(WSListener, options), loop, Log())
    assert endpoint.transport is not None
    with pytest.raises(WSStateError, match="has not begun"):
        endpoint.transport.stats()


@pytest.mark.parametrize("collect_stats", [False, True])
def test_after_the_end_it_stands_still(collect_stats: bool) -> None:
    connection = Connection("server", collect_stats=collect_stats)
    connection.loop.advance(3.0)
    connection.lose()
    connection.loop.advance(3.0)
    assert connection.ws.log_fields()["seconds"] == 3.0
    if collect_stats:
        assert isinstance(connection.ws.stats(), WSConnectionStats)
        assert connection.ws.stats().age == 3.0


def test_a_round_trip() -> None:
    connection = Connection("server", collect_stats=True)
    connection.endpoint.ping_peer()
    (ping,) = [frame for frame in connection.sent() if frame.opcode == WSMsgType.PING]
    connection.receive(WSMsgType.PONG, ping.payload)
    rtt = connection.ws.stats().rtt
    assert rtt is not None
    assert rtt > 0


def test_on_another_thread() -> None:
    connection = Connection("server", collect_stats=True)
    threads = Threads()
    threads.start(connection.ws.stats)
    with pytest.raises(WSThreadError):
        threads.join()


def test_ids_are_made_on_demand_and_stay() -> None:
    first, second = Connection("server"), Connection("client")
    found = first.ws.connection_id
    assert re.fullmatch(r"[0-9a-f]{16}", found)
    assert second.ws.connection_id != found
    first.lose()
    assert first.ws.connection_id == found
    with pytest.raises(WSStateError):
        first.ws.stats()


def test_fields_of_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    with_fields(monkeypatch)
    connection = Connection("server", target="/feed?token=secret")
    connection.loop.advance(1.5)
    connection.receive_close(1000)
    connection.lose()
    log: Any = connection.log
    last = log.fields[-1]
    assert last == {
        "peer": last["peer"],
        "path": "/feed",
        "connection_id": connection.ws.connection_id,
        "cause": "peer_close",
        "code": 1000,
        "bytes_received": last["bytes_received"],
        "bytes_sent": last["bytes_sent"],
        "seconds": 1.5,
    }
    assert last == connection.ws.log_fields()
    for fields in log.fields:
        assert set(fields) == set(last)
        assert not set(fields) & ATTRIBUTES
        assert "secret" not in str(fields)


def test_logging_takes_the_fields(caplog: pytest.LogCaptureFixture) -> None:
    """It raises KeyError for a name that a record has."""
    connection = Connection("server")
    logging.getLogger("picows.test").warning("mine", extra=connection.ws.log_fields())
    record: Any = caplog.records[-1]
    assert record.connection_id == connection.ws.connection_id
    assert record.cause is None


def test_fields_of_a_refused_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    with_fields(monkeypatch)
    connection = Connection("server", open=False, factory=lambda _: None, target="/x?y")
    connection.start()
    connection.feed(connection.opening_bytes())
    connection.lose()
    log: Any = connection.log
    assert [fields["path"] for fields in log.fields] == ["/x"] * len(log.fields)
    assert log.fields[-1]["cause"] == "handshake_failure"
