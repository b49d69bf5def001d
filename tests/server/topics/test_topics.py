"""Topics as a user has them: all kinds of connections, servers, threads, wrong arguments."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from types import SimpleNamespace
from typing import Any, Callable, List

import pytest

from picows_client import connect
from picows_codec import (
    WSFrame,
    WSInvalidFrameError,
    WSInvalidOptionError,
    WSListener,
    WSMsgType,
    WSPreparedMessage,
    WSThreadError,
    WSTransport,
)
from picows_server import WSConnection, serve, ws_create_server
from picows_server.asgi import asgi_listener
from picows_server.topics import SubscriberStats, Topics, TopicsStats, WSTopicError
from tests.support.backplanes import FakeBackplane, FakeEngine
from tests.support.connection import Connection
from tests.support.deflate import DeflateConnection
from tests.support.frames import BINARY, TEXT
from tests.support.leaks import count_instances, eventually
from tests.support.servers import ANY_PORT, quiet_logger, sockname

Run = Callable[..., Any]


def texts(connection: Connection) -> List[str]:
    return [frame.payload.decode() for frame in connection.sent()]


# Payloads, connections


@pytest.mark.parametrize(
    ("payload", "opcode", "expected"),
    [
        ("\u00fc", TEXT, (TEXT, b"\xc3\xbc")),
        (b"text", TEXT, (TEXT, b"text")),
        (b"\xff", BINARY, (BINARY, b"\xff")),
        (bytearray(b"x"), BINARY, (BINARY, b"x")),
        (WSPreparedMessage(WSMsgType.BINARY, b"x"), TEXT, (BINARY, b"x")),
        (None, TEXT, (TEXT, b"")),
    ],
)
def test_payloads(payload: Any, opcode: Any, expected: Any) -> None:
    topics = Topics()
    connection = Connection("server")
    topics.subscribe(connection.ws, "a")
    assert topics.publish("a", payload, opcode) == 1
    assert [(frame.opcode, frame.payload) for frame in connection.sent()] == [expected]


def test_payloads_that_cannot_be_sent() -> None:
    topics = Topics()
    with pytest.raises(WSInvalidFrameError, match="must be UTF-8"):
        topics.publish("nobody", b"\xff")
    with pytest.raises(WSInvalidFrameError, match="TEXT or BINARY"):
        topics.publish("nobody", b"", WSMsgType.PING)
    with pytest.raises(TypeError):
        topics.publish("nobody", 1)  # type: ignore[arg-type]
    with pytest.raises(WSTopicError, match="must not be empty"):
        topics.publish("", "x")


def test_what_has_a_transport() -> None:
    topics = Topics()
    links = [Connection("server") for _ in range(3)]
    audience: List[Any] = [
        links[0].ws,
        links[1].listener,
        SimpleNamespace(transport=links[2].ws),
    ]
    for each in audience:
        assert topics.subscribe(each, "a")
        assert topics.of(each) == ["a"]
        assert topics.stats_of(each).topics == 1
    assert topics.publish("a", "x", exclude=links[1].listener) == 2
    assert topics.subscribers("a") == [link.ws for link in links]
    assert topics.subscribers("b") == []
    for each in audience:
        assert topics.unsubscribe(each, "a")


def test_who_has_none_yet() -> None:
    topics = Topics()
    topics.configure("h", history=3)
    nobody: Any = WSListener()
    assert not topics.subscribe(nobody, "a")
    assert not topics.unsubscribe(nobody, "a")
    assert not asyncio.run(topics.subscribe_from(nobody, "h")).recovered
    assert topics.of(nobody) == []
    assert topics.stats_of(nobody) == SubscriberStats()
    assert topics.stats_of(Connection("server").ws) == SubscriberStats()


@pytest.mark.parametrize("wrong", [None, 1, "x", object(), SimpleNamespace(transport=1)])
def test_no_connection(wrong: Any) -> None:
    """An error of the program, in contrast to a connection that is not open."""
    topics = Topics()
    topics.configure("h", history=3)
    calls: List[Callable[[], object]] = [
        lambda: topics.subscribe(wrong, "a"),
        lambda: asyncio.run(topics.subscribe_from(wrong, "h")),
        lambda: topics.unsubscribe(wrong, "a"),
        lambda: topics.of(wrong),
        lambda: topics.stats_of(wrong),
    ]
    if wrong is not None:  # who excludes nobody
        calls.append(lambda: topics.publish("a", "x", exclude=wrong))
    for call in calls:
        with pytest.raises(TypeError, match=f"a WSTransport is .*not {type(wrong).__name__}"):
            call()


def test_connections_that_are_not_open() -> None:
    topics = Topics()
    closing = Connection("server")
    closing.ws.send_close()
    closed = Connection("server")
    closed.lose()
    closed.loop.run_ready()
    connecting = Connection("server", open=False)
    for connection in (closing, closed, connecting):
        assert not topics.subscribe(connection.ws, "a")
    greeted = Connection("server", open=False)
    greeted.listener.act("on_ws_connected", lambda transport: topics.subscribe(transport, "a"))
    greeted.start()
    greeted.open()
    assert topics.subscribers("a") == [greeted.ws]
    greeted.ws.send_close()
    assert not topics.subscribe(greeted.ws, "a")
    assert topics.publish("a", "x") == 0


def test_a_connection_that_ends() -> None:
    topics = Topics()
    connection = Connection("server")
    for topic in ("a", "b"):
        topics.subscribe(connection.ws, topic)
    found: List[Any] = []
    connection.listener.act(
        "on_ws_disconnected", lambda transport: found.extend(topics.of(transport))
    )
    connection.lose()
    connection.loop.run_ready()
    assert found == ["a", "b"]
    assert topics.of(connection.ws) == []
    assert topics.stats() == TopicsStats(rules=topics.stats().rules)


def test_several_topics_objects_for_one_connection() -> None:
    first, second = Topics(), Topics()
    connection = Connection("server", coalesce_writes=False)
    for topics in (first, second):
        topics.subscribe(connection.ws, "a")
    connection.ws.send(TEXT, "1", fin=False)
    first.publish("a", "first")
    second.publish("a", "second")
    connection.ws.send(0, "2")
    assert sorted(texts(connection)) == ["1", "2", "first", "second"]
    connection.lose()
    connection.loop.run_ready()
    assert first.stats().connections == second.stats().connections == 0


def test_compressed_once() -> None:
    topics = Topics()
    links = [DeflateConnection("server", compression="deflate") for _ in range(3)]
    for link in links:
        topics.subscribe(link.ws, "a")
        link.sent_bytes()
    message = WSPreparedMessage(WSMsgType.TEXT, "x" * 1000)
    assert topics.publish("a", message) == 3
    written = {link.sent_bytes() for link in links}
    assert len(written) == 1
    assert len(written.pop()) < 100


# Order


def test_order() -> None:
    topics = Topics()
    connection = Connection("server")
    for topic in ("a", "b"):
        topics.subscribe(connection.ws, topic)
    for number in range(5):
        topics.publish("a", f"a{number}")
        connection.ws.send(TEXT, f"sent{number}")
        topics.publish("b", f"b{number}")
    topics.unsubscribe(connection.ws, "b")
    topics.publish("b", "late")
    connection.loop.run_ready()
    assert texts(connection) == [
        f"{kind}{number}" for number in range(5) for kind in ("a", "sent", "b")
    ]


def test_batches() -> None:
    topics = Topics()
    links = [Connection("server") for _ in range(3)]
    for link in links[:2]:
        for topic in ("a", "b"):
            topics.subscribe(link.ws, topic)
    before = [len(link.transport.writes) for link in links]
    with topics.batch():
        topics.publish("a", "1")
        with topics.batch():
            topics.publish("b", "2")
        links[0].ws.send(TEXT, "3")
        topics.publish("b", "4")
        assert [len(link.transport.writes) for link in links] == before
    after = [len(link.transport.writes) for link in links]
    assert after == [before[0] + 1, before[1] + 1, before[2]]
    assert [texts(link) for link in links] == [["1", "2", "3", "4"], ["1", "2", "4"], []]
    with contextlib.suppress(ValueError), topics.batch():
        topics.publish("a", "5")
        links[1].lose()
        raise ValueError
    assert texts(links[0]) == ["5"]
    assert topics.publish("a", "6") == 1


def test_batch_of_one_whose_transport_raises() -> None:
    topics = Topics()
    links = [Connection("server") for _ in range(3)]
    for link in links:
        topics.subscribe(link.ws, "a")
    with topics.batch():
        assert topics.publish("a", "1") == 3
        links[1].transport.fail_next()
    assert [texts(link) for link in links] == [["1"], [], ["1"]]


# Servers


def test_listeners_and_coroutines_of_two_servers(run: Run) -> None:
    async def main() -> None:
        topics = Topics()
        topics.configure("kept", retain=True)
        topics.publish("kept", "hello")

        class Member(WSListener):
            def on_ws_connected(self, transport: WSTransport) -> None:
                topics.subscribe(transport, "kept")

            def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
                if frame.opcode is WSMsgType.TEXT:
                    topics.publish("kept", frame.get_payload_as_bytes(), exclude=transport)

        async def handler(ws: WSConnection) -> None:
            topics.subscribe(ws, "kept")
            async for message in ws:
                topics.publish("kept", message)

        async with ws_create_server(ANY_PORT, Member, quiet_logger()) as first, serve(
            handler, ANY_PORT, quiet_logger()
        ) as second:
            urls = ["ws://{}:{}".format(*sockname(server)[:2]) for server in (first, second)]
            async with connect(urls[0]) as one, connect(urls[1]) as two:
                assert [await one.recv(), await two.recv()] == ["hello", "hello"]
                await one.send("from one")
                assert await two.recv() == "from one"
                await two.send("from two")
                assert [await one.recv(), await two.recv()] == ["from two", "from two"]
            await eventually(lambda: not topics.subscribers("kept"))
            assert topics.stats().connections == 0

    run(main)


def test_asgi_applications(run: Run) -> None:
    topics = Topics()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        assert topics.subscribe(scope["picows.transport"], "a")
        while (await receive())["type"] != "websocket.disconnect":
            pass

    async def main() -> None:
        async with ws_create_server(
            ANY_PORT, asgi_listener(application, lifespan="off"), quiet_logger()
        ) as server, connect("ws://{}:{}".format(*sockname(server)[:2])) as ws:
            await eventually(lambda: topics.subscribers("a"))
            assert topics.publish("a", "x") == 1
            assert await ws.recv() == "x"

    run(main)


# Wrong use


def test_other_threads() -> None:
    topics = Topics()
    connection = Connection("server")
    topics.subscribe(connection.ws, "a")
    errors: List[BaseException] = []

    def call() -> None:
        calls: List[Callable[[], Any]] = [
            lambda: topics.publish("a", "x"),
            lambda: topics.publish("unknown", "x"),
            lambda: topics.subscribe(connection.ws, "b"),
            lambda: topics.unsubscribe(connection.ws, "a"),
            lambda: topics.of(connection.ws),
            lambda: topics.subscribers("a"),
            lambda: topics.forget("a"),
            lambda: topics.configure("a", retain=True),
            lambda: topics.batch().__enter__(),
        ]
        for each in calls:
            try:
                each()
            except WSThreadError as error:
                errors.append(error)
        assert topics.stats().topics == 1

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert len(errors) == 9
    assert texts(connection) == []


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_topics": 0}, WSInvalidOptionError),
        ({"max_topic_length": 1.5}, TypeError),
        ({"max_history_bytes": True}, TypeError),
        ({"local_echo": 1}, TypeError),
        ({"on_gap": 1}, TypeError),
        ({"backplane": 1}, TypeError),
    ],
)
def test_options_out_of_range(options: Any, error: Any) -> None:
    with pytest.raises(error, match=next(iter(options))):
        Topics(**options)


@pytest.mark.parametrize(
    ("grace", "error"),
    [(-1, WSInvalidOptionError), (float("inf"), WSInvalidOptionError), ("1", TypeError)],
)
def test_grace(grace: Any, error: Any) -> None:
    with pytest.raises(error, match="unsubscribe_grace"):
        Topics(SimpleNamespace(publish=None), unsubscribe_grace=grace)  # type: ignore[arg-type]


def test_a_coroutine_function_for_gaps() -> None:
    async def on_gap(topics: List[str]) -> None:
        raise AssertionError

    with pytest.raises(TypeError, match="on_gap must be a function, and no coroutine function"):
        Topics(on_gap=on_gap)


# As a handler gets it from a peer's JSON.
GARBAGE: List[Any] = [None, 1, -1.5, True, ["a"], {"a": "b"}, [[["a"]]], "x" * 300, "a\n", ""]


@pytest.mark.parametrize("has_backplane", [False, True])
@pytest.mark.parametrize("wrong", GARBAGE, ids=repr)
def test_topics_of_peers(wrong: Any, has_backplane: bool) -> None:
    async def main() -> None:
        connection = Connection("server").ws
        async with Topics(FakeBackplane(FakeEngine()) if has_backplane else None) as topics:
            topics.configure("", history=3)
            for ask in (
                lambda: topics.subscribe(connection, wrong),
                lambda: topics.unsubscribe(connection, wrong),
                lambda: topics.publish(wrong, "payload"),
                lambda: topics.forget(wrong),
                lambda: topics.subscribers(wrong),
            ):
                with pytest.raises(WSTopicError, match=r"topic .*(must|max_topic_length|printed)"):
                    ask()
            with pytest.raises(WSTopicError, match="topic "):
                await topics.subscribe_from(connection, wrong)
            with pytest.raises(WSTopicError, match="topic "):
                await topics.count_everywhere(wrong)
            assert topics.stats().topics == 0

    asyncio.run(main())


@pytest.mark.parametrize("wrong", [*GARBAGE[1:6], "x" * 300], ids=repr)
def test_keys_of_peers(wrong: Any) -> None:
    topics = Topics()
    topics.configure("", retain=True)
    with pytest.raises(WSTopicError, match=r"key .*(must|max_topic_length)"):
        topics.publish("a", "payload", key=wrong)
    with pytest.raises(WSTopicError, match=r"key .*(must|max_topic_length)"):
        topics.forget("a", key=wrong)
    assert topics.stats().retained == 0


@pytest.mark.parametrize("wrong", [*GARBAGE[1:], [5, None], [-1, "x"], [1, "x", "y"]], ids=repr)
def test_positions_of_peers(wrong: Any) -> None:
    topics = Topics()
    topics.configure("", history=3)
    connection = Connection("server").ws
    with pytest.raises(WSTopicError, match="since must be a Position"):
        asyncio.run(topics.subscribe_from(connection, "a", wrong))
    assert topics.of(connection) == []


@pytest.mark.parametrize("wrong", [None, -1, 1.5, True, "1", [1]], ids=repr)
def test_numbers_of_messages_of_peers(wrong: Any) -> None:
    topics = Topics()
    topics.configure("", history=3)
    connection = Connection("server").ws
    with pytest.raises(WSTopicError, match="last must be a number of messages"):
        asyncio.run(topics.subscribe_from(connection, "a", last=wrong))
    assert topics.of(connection) == []


def test_without_a_backplane() -> None:
    async def main() -> None:
        async with Topics() as topics:
            topics.subscribe(Connection("server").ws, "a")
            assert await topics.count_everywhere("a") == 1

    asyncio.run(main())


# The end


def test_nothing_is_left_for_the_collector(without_collector: None) -> None:
    topics = Topics()
    topics.configure("", when_slow="latest", retain=True)
    before = count_instances(WSTransport)
    for _ in range(5):
        connection = Connection("server", room=0, write_high_watermark=10)
        for topic in ("a", "b"):
            topics.subscribe(connection.ws, topic)
            topics.publish(topic, "x" * 20)
        connection.lose()
        connection.loop.run_ready()
        del connection
    assert count_instances(WSTransport) == before
