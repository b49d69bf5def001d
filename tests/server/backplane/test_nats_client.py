"""Nothing is left of a connection to NATS, however it ends."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any

import pytest

from picows_server.backplane import BackplaneError, NatsBackplane, Publication
from picows_server.backplane.nats_client import confirm
from tests.support.engines import Engine, free_port
from tests.support.loops import other_tasks
from tests.support.receivers import Remembering, backplane_of, publish, until
from tests.support.slow_nats import SlowNats

pytest.importorskip("nats", reason="nats-py is not installed")


@pytest.mark.parametrize("iterations", [0, 1, 3])
def test_killed_while_it_subscribes_and_publishes(
    run: Any, tmp_path: Path, iterations: int
) -> None:
    """The client library fails in its own closing; its tasks would be reported to the loop."""

    async def main() -> None:
        backplane = backplane_of(engine)
        await backplane.start(Remembering())
        topics = [f"topic{number}" for number in range(50)]
        for topic in topics:
            backplane.subscribe(topic, None)
        for _ in range(3):
            await until(lambda: backplane.is_connected)
            for _ in range(iterations):
                await asyncio.sleep(0)
            for topic in topics:
                publish(backplane, topic, b"x" * 1000)
            engine.kill()
            await until(lambda: not backplane.is_connected)
            gc.collect()
            engine.start()
        await until(lambda: backplane.is_connected)
        await backplane.close()
        assert not other_tasks()
        gc.collect()

    engine = Engine("nats", tmp_path).start()
    try:
        run(main)
    finally:
        engine.kill()


async def started_and_stuck(server: SlowNats, receiver: Remembering) -> NatsBackplane:
    """Return a backplane that has more to send than its connection takes."""
    backplane = NatsBackplane(await server.start(), close_timeout=0.1, probe_interval=600.0)
    await backplane.start(receiver)
    await asyncio.sleep(0.1)
    server.stops = True
    publish(backplane, "first", b"x")
    await until(lambda: backplane.stats().acknowledged == 1)
    for number in range(100):
        publish(backplane, f"topic{number}", b"x" * 500_000)
    await asyncio.sleep(0.1)
    return backplane


def test_server_that_reads_no_more(run: Any) -> None:
    """A socket that takes no more is closed all the same."""

    async def main() -> None:
        server = SlowNats()
        backplane = await started_and_stuck(server, Remembering())
        await backplane.close()
        await server.stop()  # which waits for the end of the connection

    run(main)


@pytest.mark.parametrize("times", [1, 3])
def test_cancelled_while_it_closes_a_connection(run: Any, times: int) -> None:
    async def main() -> None:
        server = SlowNats()
        backplane = await started_and_stuck(server, Remembering())
        backplane.subscribe("a", None)
        subscribed = asyncio.ensure_future(backplane.subscribed("a"))
        closing = asyncio.ensure_future(backplane.close())
        await asyncio.sleep(0.3)
        assert not closing.done()
        for _ in range(times):
            closing.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert not backplane.is_connected
        assert backplane.stats().pending == 0
        with pytest.raises(BackplaneError, match="not subscribed to any more"):
            await asyncio.wait_for(subscribed, 20.0)
        await server.stop()

    run(main)


def test_server_that_complains_and_breaks_the_connection(run: Any) -> None:
    """The client library closes in a task of its own, which fails."""

    async def main() -> None:
        server, receiver = SlowNats(), Remembering()
        backplane = await started_and_stuck(server, receiver)
        await server.refuse()
        await until(lambda: len(receiver.states) > 2, 20.0)  # it is connected again
        await backplane.close()
        gc.collect()
        await server.stop()

    run(main)


class Cancelled(Remembering):
    """Ends the client library's task that reads."""

    def received(self, publication: Publication) -> None:
        super().received(publication)
        if publication.payload == b"bad":
            raise asyncio.CancelledError


def test_client_library_that_reads_no_more(run: Any, tmp_path: Path) -> None:
    """It does not tell."""

    async def main() -> None:
        receiver, backplane = Cancelled(), backplane_of(engine, probe_interval=600.0)
        await backplane.start(receiver)
        backplane.subscribe("a", None)
        await backplane.subscribed("a")
        publish(backplane, "a", b"bad")
        await until(lambda: bool(receiver.gaps), 20.0)
        publish(backplane, "a", b"good")
        await until(lambda: b"good" in receiver.payloads())
        await backplane.close()

    engine = Engine("nats", tmp_path).start()
    try:
        run(main)
    finally:
        engine.kill()


def test_nothing_is_confirmed_without_the_server(run: Any) -> None:
    async def main() -> None:
        server = SlowNats()
        backplane: Any = NatsBackplane(await server.start())
        await backplane.start(Remembering())
        await asyncio.sleep(0.1)
        client = backplane._session.client
        client._reading_task.cancel()
        await asyncio.wait([client._reading_task])
        with pytest.raises((ConnectionError, asyncio.TimeoutError)):
            await confirm(client, 1.0)
        await backplane.close()
        await server.stop()

    run(main)


@pytest.mark.filterwarnings("ignore:parameter 'timeout':DeprecationWarning")  # nats-py's
def test_web_socket_that_fails_while_it_closes(run: Any, tmp_path: Path) -> None:
    aiohttp = pytest.importorskip("aiohttp")
    port = free_port()
    configuration = tmp_path / "nats.conf"
    configuration.write_text(f'websocket {{ listen: "127.0.0.1:{port}", no_tls: true }}\n')

    async def main() -> None:
        async def fail() -> None:
            raise OSError("as asked for")

        backplane: Any = NatsBackplane(f"ws://127.0.0.1:{port}", close_timeout=0.1)
        await backplane.start(Remembering())
        client = backplane._session.client
        session = client._transport._client
        assert isinstance(session, aiohttp.ClientSession)
        client._transport.drain = fail
        # It is sent when the client closes.
        client._pending.append(b"PING\r\n")
        client._pending_data_size += 6
        await backplane.close()
        assert session.closed

    engine = Engine("nats", tmp_path, "-c", str(configuration)).start()
    try:
        run(main)
    finally:
        engine.kill()


def test_last_bytes_leave_while_it_closes(run: Any) -> None:
    """Then asyncio's transport cannot be aborted any more."""

    async def main() -> None:
        server = SlowNats()
        backplane: Any = await started_and_stuck(server, Remembering())
        backplane._session.client._transport.close()
        server.resume()
        await until(lambda: backplane.stats().reconnects == 1, 20.0)
        await backplane.close()
        await server.stop()

    run(main)
