from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, Iterator, Tuple

import pytest

from picows_server.backplane import BackplaneError, BackplaneFull, HistoryRule
from picows_server.backplane.nats_backplane import NatsBackplane, nats_subject
from tests.support.engines import Engine, free_port
from tests.support.receivers import Remembering, until

NUMBERS = [b"%d" % number for number in range(1000)]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    pytest.importorskip("nats", reason="nats-py is not installed")
    engine = Engine("nats", tmp_path).start()
    yield engine
    engine.kill()


async def started(engine: Engine, **options: Any) -> Tuple[NatsBackplane, Remembering]:
    receiver = Remembering()
    backplane = NatsBackplane(engine.url, **options)
    await backplane.start(receiver)
    return backplane, receiver


def publish(backplane: NatsBackplane, topic: str, payload: bytes, token: Any = None) -> None:
    backplane.publish(topic, payload, 1, key=None, history=None, token=token)


def test_subjects() -> None:
    topics = ["a.b", "a..b", "a.%.b", "", ".", "ä b", "*", ">", "a.*", "%", "%%", "A", "a"]
    subjects = [nats_subject("p", topic) for topic in topics]
    assert len(set(subjects)) == len(topics)
    assert subjects[0] == "p.t.a.b"
    assert not [each for each in subjects if set(each) & set("*> ")]
    assert not [each for each in subjects if "" in each.split(".")]


def test_all_come_in_order(run: Any, engine: Engine) -> None:
    async def main() -> None:
        one, to_one = await started(engine)
        other, to_other = await started(engine)
        for each in (one, other):
            each.subscribe("a b.ö*", None)
            await each.subscribed("a b.ö*")
        other.publish("a b.ö*", b"x" * 100_000, 2, key="kä", history=None, token=7)
        await until(lambda: len(to_one.publications) == len(to_other.publications) == 1)
        assert to_one.publications[0][2:] == (2, "kä", None, None)
        assert to_other.publications[0][2:] == (2, "kä", None, 7)
        for number in NUMBERS:
            publish(one, "a b.ö*", number)
            publish(one, "elsewhere", number)
            if number.endswith(b"00"):
                await asyncio.sleep(0)
        await until(lambda: to_one.payloads()[1:] == to_other.payloads()[1:] == NUMBERS)
        await until(lambda: one.stats().acknowledged == 2000)
        one.unsubscribe("a b.ö*")
        publish(other, "a b.ö*", b"last")
        await until(lambda: to_other.payloads()[-1] == b"last")
        assert len(to_one.publications) == 1001
        assert not to_one.gaps + to_other.gaps
        await one.close()
        await one.close()
        await other.close()
        with pytest.raises(BackplaneError, match="closed"):
            publish(one, "a", b"")

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
        with pytest.raises(BackplaneError, match="not subscribed"):
            await backplane.subscribed("a")
        await backplane.close()

    run(main)


def test_restarted_engine(run: Any, engine: Engine) -> None:
    async def main() -> None:
        backplane, receiver = await started(engine, max_pending_messages=600)
        backplane.subscribe("a", None)
        await backplane.subscribed("a")
        for number in NUMBERS[:500]:
            publish(backplane, "a", number)
        await until(lambda: len(receiver.publications) == 500)
        engine.kill()
        await until(lambda: not backplane.is_connected)
        for number in NUMBERS[500:]:
            publish(backplane, "a", number)
        for number in NUMBERS[:100]:
            publish(backplane, "a", b"again " + number)
        with pytest.raises(BackplaneFull, match="max_pending_messages=600"):
            publish(backplane, "a", b"x")
        engine.start()
        # Subscribed again before all is sent again: nothing is lost in this process.
        await until(lambda: backplane.is_connected and not backplane.stats().pending)
        await until(lambda: receiver.gaps)
        assert receiver.gaps[0][0] == ["a"]
        assert [is_connected for is_connected, _ in receiver.states] == [True, False, True]
        publish(backplane, "a", b"end")
        await until(lambda: receiver.payloads()[-1] == b"end")
        await backplane.close()

    run(main)


def test_silent_engine(run: Any, engine: Engine) -> None:
    async def main() -> None:
        backplane, receiver = await started(engine, probe_interval=0.2, connect_timeout=0.5)
        backplane.subscribe("a", None)
        await backplane.subscribed("a")
        engine.pause()
        try:
            await until(lambda: not backplane.is_connected)
            publish(backplane, "a", b"1")
            await until(lambda: backplane.stats().failed_attempts > 0)
        finally:
            engine.resume()
        await until(lambda: backplane.is_connected and receiver.gaps)
        assert "silent" in receiver.states[1][1]
        await until(lambda: not backplane.stats().pending)
        await asyncio.sleep(0.3)
        assert len(receiver.payloads()) <= 1
        await backplane.close()

    run(main)


def test_hole_is_told(run: Any, engine: Engine) -> None:
    async def main() -> None:
        backplane, receiver = await started(engine)
        backplane.subscribe("a", None)
        await backplane.subscribed("a")
        publish(backplane, "a", b"1")
        await until(lambda: receiver.payloads() == [b"1"])
        backplane._outbox._follow("a", 99)  # as if 99 had been sent and lost
        backplane._outbox._sequence = 99
        publish(backplane, "a", b"3")
        await until(lambda: receiver.payloads() == [b"1", b"3"])
        assert receiver.gaps[0][0] == ["a"]
        assert backplane.stats().gaps == 1
        await backplane.close()

    run(main)


def test_slow_consumer_is_told(run: Any, tmp_path: Path) -> None:
    pytest.importorskip("nats", reason="nats-py is not installed")
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


def test_engine_that_is_not_there(run: Any, engine: Engine) -> None:
    async def main() -> None:
        port = free_port()
        backplane = NatsBackplane(f"nats://user:secret@127.0.0.1:{port}")
        with pytest.raises(BackplaneError, match=f"127.0.0.1:{port}") as caught:
            await backplane.start(Remembering())
        assert "secret" not in str(caught.value)
        await backplane.close()
        # One of several is enough.
        several = NatsBackplane([f"nats://127.0.0.1:{port}", engine.url])
        await several.start(Remembering())
        await several.close()

    run(main)


def test_wrong_password(run: Any, tmp_path: Path) -> None:
    pytest.importorskip("nats", reason="nats-py is not installed")
    engine = Engine("nats", tmp_path, "--user", "me", "--pass", "right").start()

    async def main() -> None:
        for who in ("me:wrong@", ""):
            backplane = NatsBackplane(f"nats://{who}127.0.0.1:{engine.port}")
            with pytest.raises(BackplaneError, match=f"127.0.0.1:{engine.port}") as caught:
                await backplane.start(Remembering())
            assert "wrong" not in str(caught.value)
        backplane = NatsBackplane(f"nats://me:right@127.0.0.1:{engine.port}")
        await backplane.start(Remembering())
        await backplane.close()

    try:
        run(main)
    finally:
        engine.kill()


def test_tls(run: Any, certificates: Any, tmp_path: Path) -> None:
    pytest.importorskip("nats", reason="nats-py is not installed")
    files = (str(certificates.server_chain), str(certificates.server_key))
    engine = Engine("nats", tmp_path, "--tls", "--tlscert", files[0], "--tlskey", files[1]).start()

    async def main() -> None:
        receiver = Remembering()
        context = certificates.client_context(alpn=None)
        backplane = NatsBackplane(f"tls://localhost:{engine.port}", ssl_context=context)
        await backplane.start(receiver)
        backplane.subscribe("a", None)
        await backplane.subscribed("a")
        publish(backplane, "a", b"1")
        await until(lambda: receiver.payloads() == [b"1"])
        await backplane.close()

    try:
        run(main)
    finally:
        engine.kill()


def test_blocked_loop_is_not_the_engines_silence(run: Any, engine: Engine) -> None:
    async def main() -> None:
        backplane, _ = await started(engine, probe_interval=0.1)
        for _ in range(5):
            await asyncio.sleep(0.11)
            time.sleep(0.25)  # noqa: ASYNC251 - the fault of this process
        await asyncio.sleep(0.5)
        assert backplane.stats().silences == 0
        assert backplane.stats().reconnects == 0
        await backplane.close()

    run(main)
