from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any, Iterator, Optional, Tuple

import pytest

import picows_server.backplane
from picows_server.backplane import (
    BackplaneError,
    BackplaneFull,
    HistoryRule,
    Position,
)
from picows_server.backplane.envelope import PRODUCER_SIZE, encode_published, plain_envelope
from picows_server.backplane.redis_backplane import RedisBackplane
from tests.support.engines import Engine, free_port
from tests.support.receivers import Remembering, until

RULE = HistoryRule(1000)


@pytest.fixture(params=["valkey", "redis"])
def engine(request: Any, tmp_path: Path) -> Iterator[Engine]:
    engine = Engine(request.param, tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    engine.start()
    yield engine
    engine.kill()


async def started(engine: Engine, **options: Any) -> Tuple[RedisBackplane, Remembering]:
    receiver = Remembering()
    backplane = RedisBackplane(engine.url, **options)
    await backplane.start(receiver)
    return backplane, receiver


def publish(
    backplane: RedisBackplane, topic: str, payload: bytes, history: Optional[HistoryRule] = None
) -> None:
    backplane.publish(topic, payload, 1, key=None, history=history, token=None)


NUMBERS = [b"%d" % number for number in range(1000)]


@pytest.mark.parametrize("history", [None, RULE])
def test_all_come_in_order(run: Any, engine: Engine, history: Optional[HistoryRule]) -> None:
    async def main() -> None:
        one, to_one = await started(engine)
        other, to_other = await started(engine)
        for each in (one, other):
            each.subscribe("a b.ö}", history)
            await each.subscribed("a b.ö}")
        other.publish("a b.ö}", b"x" * 100_000, 2, key="kä", history=history, token=7)
        for number in NUMBERS:
            publish(one, "a b.ö}", number, history)
            publish(one, "elsewhere", number, history)
            if number.endswith(b"00"):
                await asyncio.sleep(0)
        await until(lambda: len(to_one.publications) == len(to_other.publications) == 1001)
        first = next(each for each in to_other.publications if each.opcode == 2)
        assert (first.key, first.token, first.payload) == ("kä", 7, b"x" * 100_000)
        assert next(each for each in to_one.publications if each.opcode == 2).token is None
        assert [each for each in to_one.payloads() if len(each) < 9] == NUMBERS
        assert to_one.payloads() == to_other.payloads() or history is None
        if history is not None:
            offsets = [each.position.offset for each in to_one.publications if each.position]
            assert offsets == list(range(1, 1002))
        await until(lambda: one.stats().acknowledged == 2000)
        assert one.stats().pending == one.stats().pending_bytes == 0
        one.unsubscribe("a b.ö}")
        publish(other, "a b.ö}", b"last", history)
        await until(lambda: to_other.payloads()[-1] == b"last")
        assert len(to_one.publications) == 1001
        assert not to_one.gaps + to_other.gaps
        await one.close()
        await one.close()
        await other.close()
        with pytest.raises(BackplaneError, match="closed"):
            publish(one, "a", b"")

    run(main)


def test_history(run: Any, engine: Engine) -> None:
    async def main() -> None:
        backplane, _ = await started(engine)
        empty = await backplane.history("a", None, RULE)
        assert empty.position.offset == 0
        for number in NUMBERS:
            publish(backplane, "a", number, RULE)
        for number in NUMBERS:
            publish(backplane, "a", number + b"!", HistoryRule(2000))
        await until(lambda: not backplane.stats().pending)
        now = await backplane.history("a", None, RULE)
        assert (now.position.offset, now.recovered, now.publications) == (2000, True, [])
        both = await backplane.history("a", empty.position, RULE)
        assert both.recovered
        assert [each.payload for each in both.publications] == [
            *NUMBERS,
            *(number + b"!" for number in NUMBERS),
        ]
        some = await backplane.history("a", Position(1990, now.position.epoch), RULE)
        assert [each.position.offset for each in some.publications if each.position] == list(
            range(1991, 2001)
        )
        publish(backplane, "a", b"x", RULE)
        await until(lambda: not backplane.stats().pending)
        lost = await backplane.history("a", Position(1000, now.position.epoch), RULE)
        assert not lost.recovered
        assert not lost.publications
        assert (await backplane.history("a", Position(1001, now.position.epoch), RULE)).recovered
        for position in (Position(5, "other"), Position(3000, now.position.epoch)):
            assert not (await backplane.history("a", position, RULE)).recovered
        await backplane.close()

    run(main)


def test_history_ages(run: Any, engine: Engine) -> None:
    async def main() -> None:
        backplane, _ = await started(engine)
        rule = HistoryRule(100, 0.5)
        begin = (await backplane.history("a", None, rule)).position
        for _ in range(50):
            publish(backplane, "a", b"old", rule)
        await until(lambda: not backplane.stats().pending)
        assert len((await backplane.history("a", begin, rule)).publications) == 50
        await asyncio.sleep(0.6)
        assert not (await backplane.history("a", begin, rule)).recovered
        publish(backplane, "a", b"new", rule)
        await until(lambda: not backplane.stats().pending)
        assert engine.command("XLEN", "picows:{a}:s") == 1
        assert engine.command("TTL", "picows:{a}:m") > 80_000
        await backplane.close()

    run(main)


@pytest.mark.parametrize("kind", ["normal", "pubsub"])
def test_killed_connections(run: Any, engine: Engine, kind: str) -> None:
    async def main() -> None:
        one, to_one = await started(engine)
        other, to_other = await started(engine)
        for each in (one, other):
            each.subscribe("with", RULE)
            each.subscribe("without", None)
            await each.subscribed("with")
            await each.subscribed("without")
        for number in NUMBERS:
            publish(one, "with", number, RULE)
            publish(one, "without", number)
            if int(number) % 200 == 100:
                engine.command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
                await asyncio.sleep(0.02)
        await until(lambda: not one.stats().pending)
        await until(lambda: to_one.payloads("with") == to_other.payloads("with") == NUMBERS)
        await until(lambda: one.is_connected and other.is_connected)
        publish(other, "without", b"end")
        await until(lambda: b"end" in to_one.payloads("without"))
        found = to_one.payloads("without")
        assert len(found) == len(set(found))
        if kind == "pubsub":
            assert ["without"] in [topics for topics, _ in to_one.gaps]
        else:
            assert found == [*NUMBERS, b"end"]
            assert not to_one.gaps
            assert one.stats().resent
        assert not any("with" in (topics or ()) for topics, _ in to_one.gaps)
        await one.close()
        await other.close()

    run(main)


def test_silent_engine(run: Any, engine: Engine) -> None:
    async def main() -> None:
        backplane, receiver = await started(engine, probe_interval=0.2, connect_timeout=0.5)
        backplane.subscribe("a", RULE)
        backplane.subscribe("b", None)
        await backplane.subscribed("a")
        engine.pause()
        try:
            publish(backplane, "a", b"1", RULE)
            await until(lambda: not backplane.is_connected)
            publish(backplane, "a", b"2", RULE)
            await until(lambda: backplane.stats().failed_attempts > 0)
        finally:
            engine.resume()
        await until(lambda: receiver.payloads("a") == [b"1", b"2"])
        await until(lambda: backplane.is_connected and bool(receiver.gaps))
        assert [is_connected for is_connected, _ in receiver.states] == [True, False, True]
        assert receiver.gaps[0][0] == ["b"]
        assert "silent" in receiver.states[1][1]
        assert backplane.stats().silences
        await asyncio.sleep(0.5)
        assert receiver.payloads("a") == [b"1", b"2"]
        await backplane.close()

    run(main)


@pytest.mark.parametrize("persists", [True, False])
def test_restarted_engine(run: Any, tmp_path: Path, persists: bool) -> None:
    how = ("--appendonly", "yes", "--appendfsync", "always") if persists else ()
    engine = Engine("valkey", tmp_path, *how).start()

    async def main() -> None:
        backplane, receiver = await started(engine)
        backplane.subscribe("a", RULE)
        await backplane.subscribed("a")
        for number in NUMBERS[:500]:
            publish(backplane, "a", number, RULE)
        await until(lambda: len(receiver.publications) == 500)
        before = receiver.publications[-1].position
        assert before is not None
        engine.kill()
        for number in NUMBERS[500:]:
            publish(backplane, "a", number, RULE)
        await until(lambda: not backplane.is_connected)
        engine.start()
        if persists:
            await until(lambda: receiver.payloads() == NUMBERS)
            assert not receiver.gaps
            missed = await backplane.history("a", before, RULE)
            assert [each.payload for each in missed.publications] == NUMBERS[500:]
        else:
            await until(lambda: bool(receiver.gaps) and not backplane.stats().pending)
            assert receiver.gaps[0][0] == ["a"]
            publish(backplane, "a", b"end", RULE)
            await until(lambda: receiver.payloads()[-1] == b"end")
            assert not (await backplane.history("a", before, RULE)).recovered
        last = receiver.publications[-1].position
        assert last is not None
        assert last.epoch != before.epoch
        await backplane.close()

    try:
        run(main)
    finally:
        engine.kill()


def test_output_limit(run: Any, engine: Engine) -> None:
    async def main() -> None:
        backplane, receiver = await started(engine)
        backplane.subscribe("a", RULE)
        backplane.subscribe("b", None)
        await backplane.subscribed("a")
        await backplane.subscribed("b")
        engine.command("CONFIG", "SET", "client-output-buffer-limit", "pubsub 100000 100000 0")
        producer = bytes(PRODUCER_SIZE)
        for number in range(1, 11):  # more than the kernel holds, while this loop stands still
            record = encode_published(number, number - 1, None, 2, None, bytes(4_000_000))
            engine.command("PUBLISH", "picows:{b}:c", plain_envelope(producer, [record]))
        for _ in range(3):
            publish(backplane, "a", b"x", RULE)
        await until(lambda: bool(receiver.gaps))
        await until(lambda: len(receiver.payloads("a")) == 3)
        assert receiver.gaps[0][0] == ["b"]
        await backplane.close()

    run(main)


def test_lost_script_is_loaded_again(run: Any, engine: Engine) -> None:
    async def main() -> None:
        backplane, receiver = await started(engine)
        backplane.subscribe("a", RULE)
        await backplane.subscribed("a")
        for number in NUMBERS:
            publish(backplane, "a", number, RULE)
            if int(number) % 100 == 50:
                engine.command("SCRIPT", "FLUSH")
                await asyncio.sleep(0.001)
        await until(lambda: receiver.payloads() == NUMBERS)
        assert not receiver.gaps
        await backplane.close()

    run(main)


def test_lost_message_is_fetched(run: Any, engine: Engine) -> None:
    async def main() -> None:
        backplane, receiver = await started(engine)
        backplane.subscribe("a", RULE)
        await backplane.subscribed("a")
        publish(backplane, "a", b"1", RULE)
        await until(lambda: receiver.payloads() == [b"1"])
        arrived = backplane._delivery.arrived
        backplane._delivery.arrived = lambda feed, data: None  # type: ignore[method-assign]
        publish(backplane, "a", b"2", RULE)
        await until(lambda: not backplane.stats().pending)
        await asyncio.sleep(0.05)
        backplane._delivery.arrived = arrived  # type: ignore[method-assign]
        publish(backplane, "a", b"3", RULE)
        await until(lambda: receiver.payloads() == [b"1", b"2", b"3"])
        assert not receiver.gaps
        assert backplane.stats().recovered
        await backplane.close()

    run(main)


def test_counts_of_all_processes(run: Any, engine: Engine) -> None:
    async def main() -> None:
        one, to_one = await started(engine)
        other, to_other = await started(engine)
        dead, to_dead = await started(engine, presence_ttl=1.0)
        for backplane, receiver, count in ((one, to_one, 2), (other, to_other, 3)):
            receiver.counts["a"] = count
            backplane.subscribe("a", None)
            assert await backplane.count("a") >= count
        to_dead.counts["a"] = 10
        assert await dead.count("a") == 15
        dead._producer = b""
        await dead._subscriptions.stop()
        await dead._pipes.stop()
        await asyncio.sleep(2.2)
        assert await one.count("a") == 5
        await dead.close()
        await other.close()
        assert await one.count("a") == 2
        to_one.counts.clear()
        assert await one.count("a") == 0
        await one.close()

    run(main)


def test_bounded_buffer(run: Any, engine: Engine) -> None:
    async def main() -> None:
        backplane, _ = await started(engine, max_pending_messages=3, max_payload=10)
        for _ in range(3):
            publish(backplane, "a", b"x")
        with pytest.raises(BackplaneFull, match="max_pending_messages=3"):
            publish(backplane, "a", b"x")
        with pytest.raises(BackplaneError, match="max_payload=10"):
            publish(backplane, "a", b"x" * 11)
        assert backplane.stats().refused == 1
        await until(lambda: backplane.stats().acknowledged == 3)
        await backplane.close()

    run(main)


def test_engine_that_is_not_there(run: Any) -> None:
    async def main() -> None:
        port = free_port()
        backplane = RedisBackplane(f"redis://:secret@127.0.0.1:{port}")
        with pytest.raises(BackplaneError, match=f"127.0.0.1:{port}") as caught:
            await backplane.start(Remembering())
        assert "secret" not in str(caught.value)
        await backplane.close()

    run(main)


def test_wrong_password(run: Any, tmp_path: Path) -> None:
    engine = Engine("valkey", tmp_path, "--requirepass", "right").start()

    async def main() -> None:
        for url in (f"redis://:wrong@127.0.0.1:{engine.port}", engine.url):
            backplane = RedisBackplane(url)
            with pytest.raises(BackplaneError, match=f"127.0.0.1:{engine.port}") as caught:
                await backplane.start(Remembering())
            assert "wrong@" not in str(caught.value)
        backplane = RedisBackplane(f"redis://:right@127.0.0.1:{engine.port}")
        await backplane.start(Remembering())
        await backplane.close()

    try:
        run(main)
    finally:
        engine.kill()


def test_sentinel(run: Any, tmp_path: Path) -> None:
    engines = []
    for name in ("one", "two", "watch"):
        folder = tmp_path / name
        folder.mkdir()
        engines.append(Engine("redis", folder))
    one, two, watch = engines
    one.start()
    two._arguments = ("--replicaof", "127.0.0.1", str(one.port))
    two.start()
    configuration = watch.folder / "sentinel.conf"
    configuration.write_text(
        f"sentinel monitor main 127.0.0.1 {one.port} 1\n"
        "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 2000\n"
    )
    watch._command = [*watch._command, str(configuration), "--sentinel"]
    watch.start()

    async def main() -> None:
        receiver = Remembering()
        backplane = RedisBackplane("redis://main", sentinels=[("127.0.0.1", watch.port)])
        await backplane.start(receiver)
        backplane.subscribe("a", RULE)
        await backplane.subscribed("a")
        publish(backplane, "a", b"1", RULE)
        await until(lambda: receiver.payloads() == [b"1"])
        await until(lambda: one.command("WAIT", 1, 10) == 1)
        await until(lambda: watch.command("SENTINEL", "REPLICAS", "main"), 30)
        one.kill()
        publish(backplane, "a", b"2", RULE)
        await until(lambda: b"2" in receiver.payloads(), 40)
        assert receiver.payloads() == [b"1", b"2"] or receiver.gaps
        await backplane.close()

    try:
        run(main)
    finally:
        for engine in engines:
            engine.kill()


@pytest.mark.parametrize(("kind", "library"), [("Redis", "hiredis"), ("Nats", "nats")])
def test_without_the_extra(kind: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    if library == "nats":
        monkeypatch.setitem(sys.modules, "nats.aio.client", None)
    with pytest.raises(ImportError, match=rf"pip install 'picows-server\[{kind.lower()}\]'"):
        getattr(picows_server.backplane, f"{kind}Backplane")(f"{kind.lower()}://127.0.0.1")


def test_rights(run: Any, tmp_path: Path) -> None:
    """A user with no more than the documented rights."""
    engine = Engine("valkey", tmp_path).start()
    rights = (
        "on >pw resetkeys ~picows:* resetchannels &picows:* -@all +@connection +@pubsub +evalsha"
        " +script|load +info +hmget +hset +hdel +hlen +hgetall +del +xadd +xtrim +xrange +xdel"
        " +expire +ttl +time"
    )
    engine.command("ACL", "SETUSER", "me", *rights.split())

    async def main() -> None:
        receiver = Remembering()
        backplane = RedisBackplane(f"redis://me:pw@127.0.0.1:{engine.port}")
        await backplane.start(receiver)
        receiver.counts["a"] = 1
        for topic, rule in (("a", RULE), ("b", None)):
            backplane.subscribe(topic, rule)
            await backplane.subscribed(topic)
            publish(backplane, topic, b"1", rule)
        await until(lambda: len(receiver.publications) == 2)
        assert await backplane.count("a") == 1
        await backplane.close()

        elsewhere = RedisBackplane(f"redis://me:pw@127.0.0.1:{engine.port}", prefix="other:")
        await elsewhere.start(receiver)
        publish(elsewhere, "a", b"1", RULE)
        await until(lambda: elsewhere.stats().failed == 1)
        assert receiver.gaps[-1][0] == ["a"]
        await elsewhere.close()

    try:
        run(main)
    finally:
        engine.kill()


def test_tls(run: Any, certificates: Any, tmp_path: Path) -> None:
    engine = Engine("redis", tmp_path)
    port = free_port()
    engine._arguments = (
        *("--tls-port", str(port), "--tls-auth-clients", "no"),
        *("--tls-cert-file", str(certificates.server_chain)),
        *("--tls-key-file", str(certificates.server_key)),
    )
    engine.start()

    async def main() -> None:
        receiver = Remembering()
        authority = {"ssl_ca_certs": str(certificates.authority)}
        backplane = RedisBackplane(f"rediss://localhost:{port}", options=authority)
        await backplane.start(receiver)
        backplane.subscribe("a", RULE)
        await backplane.subscribed("a")
        publish(backplane, "a", b"1", RULE)
        await until(lambda: receiver.payloads() == [b"1"])
        await backplane.close()
        stranger = RedisBackplane(f"rediss://localhost:{port}")
        with pytest.raises(BackplaneError, match=f"localhost:{port} .*certificate"):
            await stranger.start(receiver)

    try:
        run(main)
    finally:
        engine.kill()


def test_node_of_a_cluster(run: Any, tmp_path: Path) -> None:
    cluster_port = str(free_port())
    engine = Engine("valkey", tmp_path, "--cluster-enabled", "yes", "--cluster-port", cluster_port)
    engine.start()

    async def main() -> None:
        with pytest.raises(BackplaneError, match="ShardedBackplane"):
            await RedisBackplane(engine.url).start(Remembering())

    try:
        run(main)
    finally:
        engine.kill()


def test_misuse(run: Any, engine: Engine) -> None:
    with pytest.raises(BackplaneError, match="URL"):
        RedisBackplane("http://:secret@x")

    async def main() -> None:
        await RedisBackplane(engine.url).close()
        backplane, _ = await started(engine, presence_ttl=None)
        with pytest.raises(BackplaneError, match="once"):
            await backplane.start(Remembering())
        with pytest.raises(BackplaneError, match="not subscribed"):
            await backplane.subscribed("a")
        assert not backplane.supports_count
        with pytest.raises(BackplaneError, match="presence_ttl"):
            await backplane.count("a")
        backplane.subscribe("a", None)
        waiting = asyncio.ensure_future(backplane.subscribed("a"))
        await asyncio.sleep(0)
        backplane.unsubscribe("a")
        backplane.unsubscribe("a")
        with pytest.raises(BackplaneError, match="any more"):
            await waiting
        await backplane.close()
        with pytest.raises(BackplaneError, match="not connected"):
            await backplane.history("a", None, RULE)

    run(main)


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
