from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Iterator

import pytest

from picows_server.backplane import BackplaneError, HistoryRule, Publication
from picows_server.backplane.nats_backplane import NatsBackplane, nats_subject
from tests.support.engines import Engine, free_port
from tests.support.receivers import Remembering, publish, started, until
from tests.support.slow_nats import SlowNats


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = Engine("nats", tmp_path).start()
    yield engine
    engine.kill()


def test_subjects() -> None:
    topics = [
        "a.b",
        "a..b",
        "a.%.b",
        "",
        ".",
        "ä b",
        "*",
        ">",
        "a.*",
        "%",
        "%%",
        "A",
        "a",
        "\ud800",
    ]
    subjects = [nats_subject("p", topic) for topic in topics]
    assert len(set(subjects)) == len(topics)
    assert subjects[0] == "p.t.a.b"
    assert not [each for each in subjects if set(each) & set("*> ")]
    assert not [each for each in subjects if "" in each.split(".")]


def test_long_topics(run: Any, engine: Engine) -> None:
    """A server would disconnect the process, and again whenever the topic was sent again."""
    longest, long = "a" * 3990, "\U0001f600" * 340

    async def main() -> None:
        backplane, receiver = await started(engine)
        backplane.subscribe(longest, None)
        await backplane.subscribed(longest)
        publish(backplane, longest, b"1")
        await until(lambda: receiver.payloads() == [b"1"])
        with pytest.raises(BackplaneError, match="NATS takes 4000"):
            backplane.subscribe(long, None)
        with pytest.raises(BackplaneError, match="NATS takes 4000"):
            publish(backplane, long, b"1")
        assert backplane.stats().reconnects == 0
        await backplane.close()

    run(main)


def test_no_history_and_no_count(run: Any, engine: Engine) -> None:
    async def main() -> None:
        backplane, _ = await started(engine)
        rule = HistoryRule(5)
        assert not backplane.supports_history
        with pytest.raises(BackplaneError, match="no history"):
            backplane.subscribe("a", rule)
        with pytest.raises(BackplaneError, match="no history"):
            backplane.publish("a", b"", 1, key=None, history=rule, token=None)
        with pytest.raises(BackplaneError, match="no history"):
            await backplane.history("a", None, rule)
        with pytest.raises(BackplaneError, match="counts no"):
            await backplane.count("a")
        with pytest.raises(BackplaneError, match="max_payload=1048576"):
            publish(backplane, "a", bytes(1_048_576))
        await backplane.close()

    run(main)


def limited(folder: Path, max_payload: int) -> Engine:
    """An engine that takes no larger messages."""
    configuration = folder / "nats.conf"
    configuration.write_text(f"max_payload: {max_payload}\n")
    return Engine("nats", folder, "-c", str(configuration))


def test_what_is_sent_at_once_is_what_the_server_takes(run: Any, tmp_path: Path) -> None:
    engine = limited(tmp_path, 8192).start()
    payloads = [b"%03d" % number * 333 for number in range(30)]

    async def main() -> None:
        backplane, receiver = await started(engine)
        backplane.subscribe("a", None)
        await backplane.subscribed("a")
        for payload in payloads:
            publish(backplane, "a", payload)
        await until(lambda: not backplane.stats().pending)
        assert (backplane.stats().acknowledged, backplane.stats().failed) == (30, 0)
        await until(lambda: len(receiver.publications) == 30)
        assert receiver.payloads() == payloads
        assert not receiver.gaps
        await backplane.close()

    try:
        run(main)
    finally:
        engine.kill()


def test_server_that_takes_less_than_the_one_before(
    run: Any, engine: Engine, tmp_path: Path
) -> None:
    """What was put together for another one is divided; what is too large alone is told."""
    other = limited(tmp_path, 8192)
    other.port = engine.port
    payloads = [b"%03d" % number * 333 for number in range(30)]

    async def main() -> None:
        backplane, receiver = await started(engine)
        for topic in ("a", "large"):
            backplane.subscribe(topic, None)
            await backplane.subscribed(topic)
        engine.kill()
        await until(lambda: not backplane.is_connected)
        for payload in payloads:
            publish(backplane, "a", payload)
        publish(backplane, "large", bytes(10_000))
        other.start()
        await until(lambda: backplane.is_connected and not backplane.stats().pending)
        assert (backplane.stats().acknowledged, backplane.stats().failed) == (30, 1)
        await until(lambda: len(receiver.publications) == 30)
        assert receiver.payloads() == payloads
        told = [topics for topics, cause in receiver.gaps if "lost" not in cause]
        assert told == [["large"]]
        with pytest.raises(BackplaneError, match="max_payload=8192"):
            publish(backplane, "large", bytes(10_000))
        await backplane.close()

    try:
        run(main)
    finally:
        other.kill()


def test_slow_consumer_is_told(run: Any, tmp_path: Path) -> None:
    configuration = tmp_path / "nats.conf"
    configuration.write_text("max_pending: 2000000\nwrite_deadline: '100ms'\n")
    engine = Engine("nats", tmp_path, "-c", str(configuration)).start()

    async def main() -> None:
        backplane, receiver = await started(engine)
        backplane.subscribe("a", None)
        await backplane.subscribed("a")
        other, _ = await started(engine)
        session = backplane._session
        assert session is not None
        transport = session.client._transport._io_writer.transport
        transport.pause_reading()
        for _ in range(60):
            publish(other, "a", bytes(500_000))
            await asyncio.sleep(0.01)
        await until(lambda: not other.stats().pending)
        await asyncio.sleep(0.5)
        if not transport.is_closing():
            transport.resume_reading()
        await until(lambda: bool(receiver.gaps))
        await backplane.close()
        await other.close()

    try:
        run(main)
    finally:
        engine.kill()


def test_a_probe_behind_other_messages(run: Any, engine: Engine) -> None:
    """They show that the connection is not silent."""

    class Slow(Remembering):
        def received(self, publication: Publication) -> None:
            super().received(publication)
            time.sleep(0.01)

    async def main() -> None:
        receiver = Slow()
        backplane: Any = NatsBackplane(engine.url, probe_interval=0.3)
        await backplane.start(receiver)
        backplane.subscribe("a", None)
        await backplane.subscribed("a")
        other, _ = await started(engine)
        transport = backplane._session.client._transport._io_writer.transport
        backplane._probe_timer.cancel()  # or silence while nothing is read
        transport.pause_reading()
        for _ in range(200):
            publish(other, "a", bytes(50_000))
        while other.stats().pending:
            await asyncio.sleep(0)
        transport.resume_reading()
        backplane._probe()
        await until(lambda: len(receiver.publications) == 200)
        assert backplane.stats().silences == 0
        await backplane.close()
        await other.close()

    run(main)


def test_a_receiver_that_fails(run: Any, engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """It gets what follows, on the same connection."""

    class Failing(Remembering):
        def received(self, publication: Publication) -> None:
            super().received(publication)
            if publication.payload == b"bad":
                raise RuntimeError("as asked for")

    async def main() -> None:
        receiver = Failing()
        backplane = NatsBackplane(engine.url)
        await backplane.start(receiver)
        backplane.subscribe("a", None)
        await backplane.subscribed("a")
        publish(backplane, "a", b"bad")
        await until(lambda: receiver.payloads() == [b"bad"])
        publish(backplane, "a", b"good")
        await until(lambda: receiver.payloads() == [b"bad", b"good"])
        assert backplane.stats().reconnects == 0
        await backplane.close()

    run(main)
    [record] = caplog.records
    assert record.getMessage() == "topic 'a': a message cannot be delivered"
    assert "as asked for" in str(record.exc_text)


def test_one_of_several_servers(run: Any, engine: Engine) -> None:
    async def main() -> None:
        several = NatsBackplane([f"nats://127.0.0.1:{free_port()}", engine.url])
        await several.start(Remembering())
        await several.close()

    run(main)


def stubborn(call: Any, waiting: asyncio.Event, *, is_lost: bool) -> Any:
    """Return a call of the client library that swallows the first cancellation, as some do.

    :param is_lost: what it was to send does not leave any more.
    """

    async def called(*arguments: Any, **options: Any) -> Any:
        if not waiting.is_set():
            waiting.set()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)
        return None if is_lost else await call(*arguments, **options)

    return called


def test_a_subscription_that_outlives_its_connection(run: Any, engine: Engine) -> None:
    """The next connection makes its own."""

    async def main() -> None:
        backplane, receiver = await started(engine)
        session, waiting = backplane._session, asyncio.Event()
        session.client.subscribe = stubborn(session.client.subscribe, waiting, is_lost=False)
        backplane.subscribe("a", None)
        await waiting.wait()
        session.lose("as asked for")
        await until(lambda: backplane.stats().reconnects and backplane.is_connected)
        await asyncio.wait_for(backplane.subscribed("a"), 20.0)
        publish(backplane, "a", b"1")
        await until(lambda: receiver.payloads() == [b"1"])
        await backplane.close()

    run(main)


def test_a_publish_that_outlives_its_connection(run: Any, engine: Engine) -> None:
    """What waits is left to the next connection."""

    async def main() -> None:
        backplane, _ = await started(engine)
        other, receiver = await started(engine)
        for topic in "ab":
            other.subscribe(topic, None)
            await other.subscribed(topic)
        session, waiting = backplane._session, asyncio.Event()
        send = session.client._send_command
        session.client._send_command = stubborn(send, waiting, is_lost=True)
        for topic in "ab":
            publish(backplane, topic, b"1")
        await waiting.wait()
        session.lose("as asked for")
        await until(lambda: len(receiver.publications) == 2)
        await until(lambda: backplane.stats().acknowledged == 2)
        await backplane.close()
        await other.close()

    run(main)


def test_acknowledged_is_what_the_server_has(run: Any) -> None:
    pytest.importorskip("nats", reason="nats-py is not installed")

    async def main() -> None:
        server = SlowNats()
        backplane = NatsBackplane(await server.start(), close_timeout=0.1)
        await backplane.start(Remembering())
        await asyncio.sleep(0.1)
        server.stops = True
        publish(backplane, "first", b"x")
        await until(lambda: backplane.stats().acknowledged == 1)
        publish(backplane, "second", b"x")
        await asyncio.sleep(0.1)
        # More than the connection takes: the client library holds back what follows.
        for number in range(100):
            publish(backplane, f"a{number}", b"x" * 8000)
        await asyncio.sleep(0.1)
        for number in range(20):
            publish(backplane, f"b{number}", b"x" * 8000)
        await asyncio.sleep(0.1)
        while server.messages < 122:
            await server.read_to_ping()
            await asyncio.sleep(0.1)
            assert backplane.stats().acknowledged <= server.messages
        await until(lambda: backplane.stats().acknowledged == 122)
        await backplane.close()
        await server.stop()

    run(main)
