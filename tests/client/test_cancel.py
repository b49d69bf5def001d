"""Cancelling ws_connect after any number of iterations of the loop leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import socket
import ssl
from typing import Any, Awaitable, Callable, Dict, List, Optional

import pytest

from picows_client import WSURL, opening, ws_connect
from picows_client.dial import dial
from picows_client.protocol import ClientProtocol
from tests.client.exchange import Recorder, serve_echo
from tests.client.proxies import HttpProxy, Socks5Proxy
from tests.support.leaks import eventually, open_descriptors
from tests.support.rawpeer import RawConnection, RawPeer, raw_peer

Run = Callable[..., Any]

# A connection that took more iterations than this is only looked at every few iterations.
MANY_ITERATIONS = 40
TOO_MANY_ITERATIONS = 1_000_000  # a thread resolves a name for as long as a busy machine needs


class Scenario:
    """Servers, and the arguments that lead to them."""

    def __init__(self, server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
        self.server_context = server_context
        self.client_context = client_context
        self.stack = contextlib.AsyncExitStack()

    async def serve(
        self, script: Callable[[RawConnection], Any] = serve_echo, **options: Any
    ) -> RawPeer:
        return await self.stack.enter_async_context(raw_peer(script, **options))

    async def plain(self) -> Dict[str, Any]:
        return {"url": (await self.serve()).url()}

    async def loop_backend(self) -> Dict[str, Any]:
        return {"url": (await self.serve()).url(), "backend": "loop"}

    async def aiofastnet_backend(self) -> Dict[str, Any]:
        pytest.importorskip("aiofastnet")
        return {"url": (await self.serve()).url(), "backend": "aiofastnet"}

    async def host_name(self) -> Dict[str, Any]:
        return {"url": (await self.serve()).url(host="localhost")}

    async def tls(self) -> Dict[str, Any]:
        peer = await self.serve(context=self.server_context)
        return {"url": peer.url(), "ssl_context": self.client_context}

    async def loop_tls(self) -> Dict[str, Any]:
        return {**await self.tls(), "backend": "loop"}

    async def http_proxy(self) -> Dict[str, Any]:
        server, proxy = await self.serve(), await self.serve(HttpProxy().serve)
        return {"url": server.url(), "proxy": f"http://127.0.0.1:{proxy.port}"}

    async def socks_proxy(self) -> Dict[str, Any]:
        pytest.importorskip("python_socks", reason="python-socks needs Python 3.9")
        server, proxy = await self.serve(), await self.serve(Socks5Proxy().serve)
        return {"url": server.url(), "proxy": f"socks5://127.0.0.1:{proxy.port}"}

    async def tls_proxy(self) -> Dict[str, Any]:
        server = await self.serve()
        proxy = await self.serve(HttpProxy().serve, context=self.server_context)
        return {
            "url": server.url(),
            "proxy": f"https://127.0.0.1:{proxy.port}",
            "proxy_ssl_context": self.client_context,
        }

    async def tls_in_tls(self) -> Dict[str, Any]:
        pytest.importorskip("aiofastnet")
        server = await self.serve(context=self.server_context)
        return {
            **await self.tls_proxy(),
            "url": server.url(),
            "ssl_context": self.client_context,
        }

    async def redirect(self) -> Dict[str, Any]:
        server = await self.serve()

        async def elsewhere(peer: RawConnection) -> None:
            await peer.redirect(server.url())

        return {"url": (await self.serve(elsewhere)).url()}

    async def unix_socket(self) -> Dict[str, Any]:
        path = f"\0picows-test-{id(self)}"
        await self.serve(unix_path=path)
        return {"url": "ws://localhost", "unix_path": path}

    async def socket_factory(self) -> Dict[str, Any]:
        peer = await self.serve()

        async def factory(_: WSURL) -> socket.socket:
            await asyncio.sleep(0)
            return socket.socket()

        return {"url": peer.url(), "socket_factory": factory}

    async def refusal(self) -> Dict[str, Any]:
        async def refuse(peer: RawConnection) -> None:
            await peer.read_request()
            peer.respond("403 No", [("Content-Length", "2")], b"no")

        return {"url": (await self.serve(refuse)).url()}

    async def failing_tls(self) -> Dict[str, Any]:
        return {"url": (await self.serve(context=self.server_context)).url()}


SCENARIOS = [
    name
    for name, value in vars(Scenario).items()
    if inspect.iscoroutinefunction(value) and name != "serve"
]


class Sockets:
    """The client's sockets, as ``dial`` returned them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._seen: List[socket.socket] = []
        monkeypatch.setattr(opening, "dial", self._dial)

    async def _dial(self, *arguments: Any) -> socket.socket:
        sock = await dial(*arguments)
        self._seen.append(sock)
        return sock

    def check_closed(self) -> None:
        assert [sock for sock in self._seen if sock.fileno() >= 0] == []
        self._seen.clear()


def client_tasks() -> List[asyncio.Task[Any]]:
    return [
        task
        for task in asyncio.all_tasks()
        if "picows_client" in task.get_coro().cr_code.co_filename  # type: ignore[union-attr]
    ]


async def interrupted(options: Dict[str, Any], iterations: List[int]) -> Optional[BaseException]:
    """Cancel a call after each number of iterations; returns None if it was over before."""
    listeners: List[Recorder] = []

    def factory() -> Recorder:
        listeners.append(Recorder())
        return listeners[-1]

    task = asyncio.ensure_future(ws_connect(listener_factory=factory, **options))
    was_done = False
    for count in iterations:
        for _ in range(count):
            await asyncio.sleep(0)
        was_done = was_done or task.done()
        task.cancel()
    outcome: Optional[BaseException] = None
    try:
        transport, _ = await task
    except BaseException as error:  # noqa: BLE001
        outcome = error.with_traceback(None)
    else:
        assert was_done
        transport.disconnect(graceful=False)
        await transport.wait_disconnected()
    assert client_tasks() == []
    for listener in listeners:
        assert listener.events in ([], ["connected", "disconnected"])
    return None if was_done else outcome


Attempt = Callable[[List[int]], Awaitable[Optional[BaseException]]]
Check = Callable[[str, Callable[[Attempt], Awaitable[None]]], None]


@pytest.fixture
def check_scenario(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> Check:
    """``check_scenario(name, cancel)``: no call that ``cancel`` interrupts leaves anything open."""

    def check(name: str, cancel: Callable[[Attempt], Awaitable[None]]) -> None:
        sockets = Sockets(monkeypatch)

        async def main() -> None:
            scenario = Scenario(server_context, client_context)
            async with scenario.stack:
                options = await getattr(scenario, name)()
                before = open_descriptors()

                async def attempt(iterations: List[int]) -> Optional[BaseException]:
                    outcome = await interrupted(options, iterations)
                    sockets.check_closed()
                    # The servers saw the end too.
                    await eventually(lambda: open_descriptors() == before)
                    return outcome

                await cancel(attempt)

        run(main)

    return check


@pytest.mark.parametrize("name", SCENARIOS)
def test_cancelled_after_any_turn(check_scenario: Check, name: str) -> None:
    async def cancel(attempt: Attempt) -> None:
        iterations = 0
        while True:
            outcome = await attempt([iterations])
            if outcome is None:
                break
            assert isinstance(outcome, asyncio.CancelledError), outcome
            iterations += 1 if iterations < MANY_ITERATIONS else iterations // 10
            assert iterations < TOO_MANY_ITERATIONS
        assert iterations > 1

    check_scenario(name, cancel)


@pytest.mark.parametrize(
    "name", ["plain", "loop_tls", "tls", "http_proxy", "socks_proxy", "redirect"]
)
def test_cancelled_twice(check_scenario: Check, name: str) -> None:
    """The second one comes while the first one is being dealt with."""

    async def cancel(attempt: Attempt) -> None:
        for iterations in range(0, 30, 3):
            for more in range(4):
                await attempt([iterations, more])

    check_scenario(name, cancel)


def test_given_socket(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(serve_echo) as peer:
            for iterations in range(1, 20):  # at 0 the call has not even begun
                sock = socket.create_connection(("127.0.0.1", peer.port))
                await interrupted({"url": peer.url(), "sock": sock}, [iterations])
                assert sock.fileno() == -1

    run(main)


@pytest.mark.parametrize("timeout", [0.0001, 0.0005, 0.001, 0.002, 0.005])
@pytest.mark.parametrize("name", ["plain", "tls", "loop_tls", "http_proxy", "socks_proxy"])
def test_deadline_at_any_time(
    run: Run,
    name: str,
    timeout: float,
    monkeypatch: pytest.MonkeyPatch,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> None:
    sockets = Sockets(monkeypatch)

    async def main() -> None:
        scenario = Scenario(server_context, client_context)
        async with scenario.stack:
            options = await getattr(scenario, name)()
            for _ in range(5):
                try:
                    transport, _ = await ws_connect(
                        listener_factory=Recorder, websocket_handshake_timeout=timeout, **options
                    )
                except TimeoutError:
                    pass
                else:
                    transport.disconnect(graceful=False)
                    await transport.wait_disconnected()
                sockets.check_closed()
                assert client_tasks() == []

    run(main)


@pytest.mark.parametrize("outer_first", [False, True])
def test_the_loop_ends_in_the_middle(
    run: Run, outer_first: bool, client_context: ssl.SSLContext
) -> None:
    """asyncio.run() cancels every task at once, in no order that is known."""

    async def main() -> None:
        async with raw_peer(RawConnection.read_to_end) as peer:
            # A TLS handshake with a peer that is silent: it has a task of its own.
            url = peer.url().replace("ws://", "wss://")
            connecting = asyncio.ensure_future(
                ws_connect(url, Recorder, ssl_context=client_context)
            )
            await asyncio.sleep(0.02)
            tasks = client_tasks()
            assert len(tasks) == 2
            tasks.sort(key=lambda task: (task is connecting) != outer_first)
            for task in tasks:
                task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting

    run(main)


def test_failed_calls_leave_no_cycles(run: Run) -> None:
    """Nothing of a failed connection waits for the garbage collector."""

    async def refuse(peer: RawConnection) -> None:
        await peer.read_request()
        peer.respond("403 No", [("Content-Length", "0")])

    async def main() -> None:
        async with raw_peer(refuse) as peer:
            for _ in range(3):
                with contextlib.suppress(Exception):
                    await ws_connect(peer.url(), Recorder)
            await peer.finished()
            found = [thing for thing in gc.get_objects() if type(thing) is ClientProtocol]
            assert found == []

    gc.collect()
    gc.disable()
    try:
        run(main)
    finally:
        gc.enable()
