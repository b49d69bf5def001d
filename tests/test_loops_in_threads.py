"""A loop in each thread, with a server and its clients, while another thread looks at them."""

from __future__ import annotations

import asyncio
import functools
import os
import queue
import subprocess
import sys
import sysconfig
import threading
from typing import Any, List, Optional

import pytest

from picows_client import ws_connect
from picows_codec import WSFrame, WSListener, WSPermessageDeflate, WSTransport
from picows_server import ws_create_server
from tests.support.frames import BINARY
from tests.support.loops import run
from tests.support.servers import PLAIN_BACKENDS, sockname
from tests.support.threads import Threads, look_at

# Shared by the loops, as are the modules that only they need.
DEFLATE = [
    WSPermessageDeflate(
        min_size=0,
        client_compresses=True,
        server_no_context_takeover=is_alone,
        client_no_context_takeover=is_alone,
    )
    for is_alone in (False, True)
]


class CrowdServer(WSListener):
    """Sends binary frames back, and ends where it is told to."""

    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.crowd.transports.append(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.get_payload_as_bytes() == b"end":
            transport.disconnect(code=4001)
        elif frame.opcode == BINARY:
            transport.send(frame.opcode, frame)


class CrowdClient(WSListener):
    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd
        self.replies: asyncio.Queue[bytes] = asyncio.Queue()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.opcode == BINARY:
            self.crowd.frames.put(frame)
            self.replies.put_nowait(frame.get_payload_as_bytes())


class Crowd:
    """What one loop does: a server and its clients, which talk and end in every way."""

    CLIENTS = 6
    ROUNDS = 30

    def __init__(self, backend: str, compression: Optional[WSPermessageDeflate]) -> None:
        self.options: Any = {"backend": backend, "compression": compression}
        # Read by other threads.
        self.transports: List[WSTransport] = []
        self.frames: queue.Queue[Optional[WSFrame]] = queue.Queue()

    async def live(self) -> None:
        server = await ws_create_server(
            "ws://127.0.0.1:0", lambda: CrowdServer(self), **self.options
        )
        try:
            url = "ws://{}:{}".format(*sockname(server)[:2])
            await asyncio.gather(*(self._talk(url, number) for number in range(self.CLIENTS)))
        finally:
            server.close()
            await server.wait_closed()

    async def _talk(self, url: str, number: int) -> None:
        transport, listener = await ws_connect(url, lambda: CrowdClient(self), **self.options)
        self.transports.append(transport)
        for size in range(self.ROUNDS):
            payload = bytes([97 + number]) * (size * 300)
            transport.send(BINARY, payload)
            assert await listener.replies.get() == payload
        if number % 3 == 0:
            transport.send(BINARY, b"end")
        else:
            transport.disconnect(graceful=number % 3 == 1)
        await transport.wait_disconnected()

    def look(self) -> None:
        """Until a None is in ``frames``, on a thread of its own."""
        for frame in iter(self.frames.get, None):
            payload = frame.get_payload_as_bytes()
            assert bytes(frame) == payload == payload[:1] * len(payload)
            for transport in list(self.transports):
                look_at(transport)


@pytest.mark.skipif(
    not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="needs a free-threaded interpreter"
)
def test_the_gil_stays_off(loop_kind: str) -> None:
    """What is imported for the backends included: aiofastnet, and the loop."""
    if loop_kind == "uvloop":
        pytest.importorskip("uvloop")
    program = f"import sys, {loop_kind}, picows_client.backend, picows_server.backend\n"
    program += "sys.exit(sys._is_gil_enabled())"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHON_GIL"}
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, env=environment)


@pytest.mark.parametrize("backend", PLAIN_BACKENDS)
@pytest.mark.parametrize("compression", [None, *DEFLATE])
def test_a_loop_in_each_thread(
    loop_kind: str, backend: str, compression: Optional[WSPermessageDeflate]
) -> None:
    threads = Threads()
    crowds = [Crowd(backend, compression) for _ in range(2)]
    # A thread that starts after another has ended may get its number, and would be taken for it.
    all_are_there = threading.Barrier(2 * len(crowds))

    def live(crowd: Crowd) -> None:
        try:
            all_are_there.wait(30)
            run(crowd.live, kind=loop_kind)
        finally:
            crowd.frames.put(None)

    def look(crowd: Crowd) -> None:
        all_are_there.wait(30)
        crowd.look()

    for crowd in crowds:
        threads.start(functools.partial(live, crowd))
        threads.start(functools.partial(look, crowd))
    threads.join()
    for crowd in crowds:
        assert len(crowd.transports) == 2 * crowd.CLIENTS
        assert all(transport.is_disconnected for transport in crowd.transports)
        # A server's transport keeps the factory, which keeps the crowd.
        crowd.transports.clear()
