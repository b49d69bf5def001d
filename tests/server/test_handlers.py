"""picows_server.handlers: the life of a handler's task, and what its end does."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import sys
import weakref
from typing import Any, List, Optional

import pytest

from picows_codec.coroutines.connection import WSConnection
from picows_codec.socket_address import format_address
from picows_server import (
    WSConnectionClosed,
    WSState,
    WSUpgradeRequest,
    WSUpgradeResponse,
    broadcast,
    serve,
)
from tests.support.loops import other_tasks
from tests.support.rawclient import RawClient, upgrade_request
from tests.support.servers import ANY_PORT, plain_backends, quiet_logger, sockname


class Handler:
    """Runs until it is told to end, and remembers how it ended."""

    def __init__(self, ending: Optional[BaseException] = None) -> None:
        self.ending = ending
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.ended = asyncio.Event()
        self.connections: List[WSConnection] = []
        self.was_cancelled = False

    async def __call__(self, connection: WSConnection) -> None:
        self.connections.append(connection)
        self.begun.set()
        try:
            await self.may_end.wait()
            if self.ending is not None:
                raise self.ending
        except asyncio.CancelledError:
            self.was_cancelled = True
            await asyncio.sleep(0)
            raise
        finally:
            self.ended.set()


async def receive_all(connection: WSConnection) -> None:
    async for _ in connection:
        pass


async def wait_for_messages(connection: WSConnection) -> None:
    while True:
        await connection.recv()


async def close_code_for(handler: Any, **options: Any) -> int:
    async with serve(handler, ANY_PORT, **options) as server, await RawClient.open(
        sockname(server)
    ) as client:
        code = await client.read_close()
        client.write_close(code)
        return code


@plain_backends
async def test_return_closes_with_1000(backend: str) -> None:
    async def handler(connection: WSConnection) -> None:
        await connection.send("last")

    async with serve(handler, ANY_PORT, backend=backend) as server, await RawClient.open(
        sockname(server)
    ) as client:
        assert (await client.read_frame()).payload == b"last"
        assert await client.read_close() == 1000
        assert not other_tasks()
        client.write_close(1000)
        await client.read_to_end()


async def test_exception_is_logged_with_the_peer_and_closes_with_1011(
    caplog: pytest.LogCaptureFixture,
) -> None:
    names: List[str] = []

    async def handler(connection: WSConnection) -> None:
        names.append(format_address(connection.remote_address))
        raise ValueError("boom")

    assert await close_code_for(handler) == 1011
    (record,) = (record for record in caplog.records if record.levelno >= logging.ERROR)
    assert record.getMessage() == f"{names[0]}: the handler failed"
    assert record.exc_info is not None
    assert record.exc_info[0] is ValueError


async def test_exception_before_the_first_await(caplog: pytest.LogCaptureFixture) -> None:
    def fails(connection: WSConnection) -> Any:
        raise ValueError("boom")

    def returns_no_awaitable(connection: WSConnection) -> Any:
        return 7

    assert await close_code_for(fails) == 1011
    assert await close_code_for(returns_no_awaitable) == 1011
    assert "boom" in caplog.text
    assert "must be a coroutine function (async def); it returned 7" in caplog.text


async def test_future_instead_of_a_coroutine() -> None:
    def handler(connection: WSConnection) -> Any:
        return asyncio.ensure_future(asyncio.sleep(0))

    assert await close_code_for(handler) == 1000


@pytest.mark.parametrize("code", [1000, 1001, 1008, 4000])
async def test_closed_by_the_peer_is_no_error(code: int, caplog: pytest.LogCaptureFixture) -> None:
    async with serve(wait_for_messages, ANY_PORT) as server, await RawClient.open(
        sockname(server)
    ) as client:
        client.write_close(code)
        assert await client.read_close() == code
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_reset_by_the_peer_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    handler = Handler()

    async def receives(connection: WSConnection) -> None:
        try:
            await wait_for_messages(connection)
        finally:
            handler.ended.set()

    async with serve(receives, ANY_PORT) as server:
        client = await RawClient.open(sockname(server))
        client.reset()
        await handler.ended.wait()
        await client.close()
    assert "the handler failed" not in caplog.text


async def test_closed_error_that_is_raised_again_later(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(connection: WSConnection) -> None:
        connection.leave(4001)
        with pytest.raises(WSConnectionClosed) as caught:
            await connection.send("too late")
        await connection.wait_closed()
        raise caught.value

    assert await close_code_for(handler) == 4001
    assert "the handler failed" not in caplog.text


@pytest.mark.parametrize("is_open", [True, False])
async def test_closed_error_of_another_connection(
    is_open: bool, caplog: pytest.LogCaptureFixture
) -> None:
    first = Handler()

    async def handler(connection: WSConnection) -> None:
        if not first.connections:
            await first(connection)
        elif is_open:
            first.connections[0].leave(4002)
            await first.connections[0].recv()
        else:
            await first.connections[0].close(4002)
            await first.connections[0].recv()

    async with serve(handler, ANY_PORT) as server:
        one = await RawClient.open(sockname(server))
        await first.begun.wait()
        async with await RawClient.open(sockname(server)) as client:
            assert await one.read_close() == 4002
            one.write_close(4002)
            assert await client.read_close() == 1011
        await one.close()
        first.may_end.set()
    assert caplog.text.count("the handler failed") == 1


@pytest.mark.skipif(sys.version_info < (3, 11), reason="no TaskGroup")
@pytest.mark.parametrize("is_failed", [True, False])
async def test_exception_group(is_failed: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(connection: WSConnection) -> None:
        async def reads() -> None:
            try:
                await connection.recv()
            finally:
                if is_failed:
                    raise ValueError("boom")

        async def sends() -> None:
            await connection.wait_closed()
            await connection.send("too late")

        async with asyncio.TaskGroup() as group:
            group.create_task(reads())
            group.create_task(sends())

    async with serve(handler, ANY_PORT) as server, await RawClient.open(sockname(server)) as client:
        client.write_close(4000)
        await client.read_close()
    assert ("the handler failed" in caplog.text) is is_failed


async def test_cancelled_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(connection: WSConnection) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await connection.recv()

    assert await close_code_for(handler) == 1011


async def test_messages_that_nobody_receives() -> None:
    """A handler that is done, and a peer that goes on sending more than the queue holds."""

    async def handler(connection: WSConnection) -> None:
        await connection.send("last")

    async with serve(
        handler, ANY_PORT, max_queue=1, max_queue_bytes=100
    ) as server, await RawClient.open(sockname(server)) as client:
        for _ in range(100):
            client.write_frame(2, bytes(1000))
        assert (await client.read_frame()).payload == b"last"
        assert await client.read_close() == 1000
        client.write_close(1000)
        await client.read_to_end()


@plain_backends
async def test_end_while_reading_is_paused(backend: str) -> None:
    handler = Handler()
    starting = serve(handler, ANY_PORT, backend=backend, max_queue=1, close_timeout=30)
    async with starting as server, await RawClient.open(sockname(server)) as client:
        await handler.begun.wait()
        for _ in range(3):
            client.write_frame(2, bytes(1000))
        below = handler.connections[0].transport.underlying_transport
        while below.is_reading():
            await asyncio.sleep(0)
        client.write_close(1000)
        handler.may_end.set()
        assert await client.read_close() == 1000
        await client.read_to_end()


@plain_backends
async def test_handlers_see_the_close_of_the_server(backend: str) -> None:
    ended: List[object] = []
    begun = asyncio.Event()

    async def handler(connection: WSConnection) -> None:
        begun.set()
        async for _ in connection:
            pass
        ended.append(connection.transport.close_handshake)
        await asyncio.sleep(0)
        ended.append("cleaned up")

    async with serve(handler, ANY_PORT, backend=backend) as server:
        client = await RawClient.open(sockname(server))
        await begun.wait()
        server.close()
        # Before the peer has replied.
        while not ended:
            await asyncio.sleep(0)
        assert await client.read_close() == 1001
        await client.close()
    assert ended[1:] == ["cleaned up"]
    assert not other_tasks()


@plain_backends
async def test_handler_that_waits_in_send_sees_the_close(backend: str) -> None:
    """Its peer does not read, so that the closing handshake cannot end in time."""
    connections: List[WSConnection] = []
    errors: List[WSConnectionClosed] = []

    async def handler(connection: WSConnection) -> None:
        connections.append(connection)
        try:
            while True:
                await connection.send(bytes(1 << 16))
        except WSConnectionClosed as error:
            errors.append(error)
            raise

    options: Any = {"backend": backend, "close_timeout": 30}
    async with serve(handler, ANY_PORT, **options) as server:
        client = await RawClient.connect(sockname(server))
        client.writer.transport.pause_reading()
        client.writer.write(upgrade_request())
        while not connections or not connections[0].transport.write_queue_size:
            await asyncio.sleep(0)
        server.close()
        while not errors:
            await asyncio.sleep(0)
        client.reset()
    assert errors[0].code == 1001
    await client.close()


async def test_close_waits_for_a_handler_after_its_connection() -> None:
    handler = Handler()
    server = await serve(handler, ANY_PORT)
    client = await RawClient.open(sockname(server))
    await handler.begun.wait()
    server.close()
    waiter = asyncio.ensure_future(server.wait_closed())
    assert await client.read_close() == 1001
    client.write_close(1001)
    await client.read_to_end()
    await client.close()
    await handler.connections[0].wait_closed()
    await asyncio.sleep(0.01)
    assert not waiter.done()
    handler.may_end.set()
    await waiter
    assert not handler.was_cancelled


@plain_backends
async def test_late_handlers_are_cancelled(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    handler = Handler()
    async with serve(handler, ANY_PORT, backend=backend, close_timeout=0.05) as server:
        client = await RawClient.open(sockname(server))
        await handler.begun.wait()
    assert handler.was_cancelled
    assert not other_tasks()
    assert "cancelling the handlers that have not ended: 1" in caplog.text
    await client.close()


async def test_late_handler_is_cancelled_after_its_connection_has_ended() -> None:
    handler = Handler()
    async with serve(handler, ANY_PORT, close_timeout=0.05) as server, await RawClient.open(
        sockname(server)
    ) as client:
        await handler.begun.wait()
        client.write_close(1000)
        await client.read_close()
        await client.read_to_end()
    assert handler.was_cancelled


async def test_second_cancellation_cancels_handlers() -> None:
    handler = Handler()

    async def main() -> None:
        async with serve(handler, ANY_PORT, close_timeout=None) as server:
            clients.append(await RawClient.open(sockname(server)))
            await handler.begun.wait()
            is_serving.set()
            await server.serve_forever()

    clients: List[RawClient] = []
    is_serving = asyncio.Event()
    task = asyncio.ensure_future(main())
    await is_serving.wait()
    task.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not handler.ended.is_set()
    task.cancel()
    await handler.ended.wait()
    assert handler.was_cancelled
    with pytest.raises(asyncio.CancelledError):
        await task
    await clients[0].close()


async def test_close_without_closing_clients() -> None:
    handler = Handler()
    server = await serve(handler, ANY_PORT, close_timeout=0.01)
    client = await RawClient.open(sockname(server))
    await handler.begun.wait()
    server.close(close_clients=False)
    await asyncio.sleep(0.05)
    assert not handler.ended.is_set()
    handler.may_end.set()
    assert await client.read_close() == 1000
    client.write_close(1000)
    await server.wait_closed()
    await client.close()


async def test_close_clients_of_a_server_that_goes_on() -> None:
    async with serve(receive_all, ANY_PORT) as server:
        async with await RawClient.open(sockname(server)) as client:
            server.close_clients(4004, "enough")
            assert await client.read_close() == 4004
            client.write_close(4004)
        async with await RawClient.open(sockname(server)) as client:
            client.write_close(1000)
            assert await client.read_close() == 1000


async def test_broadcast_reaches_connections() -> None:
    async with serve(receive_all, ANY_PORT) as server:
        clients = [await RawClient.open(sockname(server)) for _ in range(3)]
        while len(server.open_connections) < 3:
            await asyncio.sleep(0)
        assert broadcast(server.open_connections, "news") == 3
        for client in clients:
            assert (await client.read_frame()).payload == b"news"
        server.open_connections[0].leave(1000)
        assert [each.state for each in server.open_connections] == [WSState.OPEN] * 2
        assert broadcast(server.open_connections, "news") == 2
        for client in clients:
            await client.close()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no eager tasks")
async def test_eager_tasks(caplog: pytest.LogCaptureFixture) -> None:
    steps: List[str] = []
    if not isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop):
        pytest.skip("uvloop passes arguments that the factory does not know")

    async def handler(connection: WSConnection) -> None:
        steps.append("begun")
        await connection.send("last")
        if connection.request.path == "/error":
            raise ValueError("boom")

    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)
    try:
        async with serve(handler, ANY_PORT) as server:
            for path, code in (("/", 1000), ("/error", 1011)):
                async with await RawClient.open(sockname(server), path) as client:
                    assert (await client.read_frame()).payload == b"last"
                    assert await client.read_close() == code
    finally:
        loop.set_task_factory(None)
    assert steps == ["begun"] * 2
    assert caplog.text.count("the handler failed") == 1


def test_error_that_ends_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    """As Ctrl-C does in the middle of a handler."""

    async def handler(connection: WSConnection) -> None:
        raise SystemExit(3)

    async def main() -> None:
        async with serve(handler, ANY_PORT) as server, await RawClient.open(sockname(server)):
            await server.serve_forever()

    with pytest.raises(SystemExit):
        asyncio.run(main())
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


_VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")


@plain_backends
async def test_context_is_that_of_the_call(backend: str) -> None:
    async def handler(connection: WSConnection) -> None:
        await connection.send(_VARIABLE.get())
        _VARIABLE.set("its own")

    _VARIABLE.set("first")
    async with serve(handler, ANY_PORT, backend=backend) as first:
        _VARIABLE.set("second")
        async with serve(handler, ANY_PORT, backend=backend) as second:
            _VARIABLE.set("third")
            for server, value in ((second, b"second"), (first, b"first"), (first, b"first")):
                async with await RawClient.open(sockname(server)) as client:
                    assert (await client.read_frame()).payload == value


@plain_backends
@pytest.mark.parametrize("is_coroutine", [True, False])
async def test_handler_sees_what_process_request_has_found(
    is_coroutine: bool, backend: str
) -> None:
    def check(request: WSUpgradeRequest) -> Any:
        if request.path == "/user":
            _VARIABLE.set("ada")
        if request.path == "/headers":
            _VARIABLE.set("headers")
            return WSUpgradeResponse.create_101_response({})
        return None

    async def check_later(request: WSUpgradeRequest) -> Any:
        assert _VARIABLE.get() == "of the call"
        await asyncio.sleep(0)
        return check(request)

    async def handler(connection: WSConnection) -> None:
        await connection.send(_VARIABLE.get())

    _VARIABLE.set("of the call")
    process_request = check_later if is_coroutine else check
    options: Any = {"backend": backend, "process_request": process_request}
    async with serve(handler, ANY_PORT, **options) as server:
        _VARIABLE.set("later")
        for path, value in (("/user", b"ada"), ("/", b"of the call"), ("/headers", b"headers")):
            async with await RawClient.open(sockname(server), path) as client:
                assert (await client.read_frame()).payload == value


async def test_nothing_keeps_a_connection_that_has_ended() -> None:
    kept: List[Any] = []

    async def handler(connection: WSConnection) -> None:
        kept.append(weakref.ref(connection))
        if len(kept) == 2:
            raise ValueError("boom")
        await connection.recv()

    gc.collect()
    gc.disable()
    try:
        async with serve(handler, ANY_PORT, quiet_logger()) as server:
            for _ in range(2):
                async with await RawClient.open(sockname(server)) as client:
                    client.write_close(1000)
                    await client.read_close()
            while len(server.open_connections) or server.connections:
                await asyncio.sleep(0)
        assert [each() for each in kept] == [None, None]
    finally:
        gc.enable()
