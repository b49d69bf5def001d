"""picows_server.asgi.lean_transport: what a transport lacks is added."""

from __future__ import annotations

import asyncio
from typing import Any, List

from picows_server.asgi.lean_transport import fit_transport
from tests.support.asgi import MockTransport


class Full(MockTransport):
    """A transport with everything."""

    def __init__(self, *, knows: bool = True) -> None:
        super().__init__()
        self.knows = knows
        self.limits: List[Any] = []

    def abort(self) -> None:
        self.calls.append("abort")

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.calls.append("eof")

    def get_write_buffer_size(self) -> int:
        if not self.knows:
            raise NotImplementedError
        return 5

    def is_reading(self) -> bool:
        if not self.knows:
            raise NotImplementedError
        return True

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        self.limits.append((high, low))


def test_a_full_transport_is_left_alone() -> None:
    transport = Full()
    assert fit_transport(transport) is transport


def test_what_a_transport_does_not_know_is_known() -> None:
    transport = Full(knows=False)
    fitted = fit_transport(transport)
    assert fitted is not transport
    assert fitted.is_reading()
    fitted.pause_reading()
    fitted.pause_reading()
    assert not fitted.is_reading()
    fitted.resume_reading()
    fitted.resume_reading()
    assert transport.calls == ["pause", "resume"]
    assert fitted.get_write_buffer_size() == 0
    fitted.set_write_buffer_limits(high=2, low=1)
    assert transport.limits == [(2, 1)]
    fitted.abort()
    assert transport.calls[-1] == "abort"


def test_a_lean_transport() -> None:
    transport = MockTransport()
    fitted = fit_transport(transport)
    assert fitted.get_write_buffer_size() == 0
    fitted.set_write_buffer_limits(high=2, low=1)
    assert not fitted.can_write_eof()
    fitted.write(b"x")
    assert fitted.get_extra_info("peername") == ("192.0.2.1", 4711)
    fitted.abort()
    assert fitted.is_closing()
    assert transport.take() == b"x"


async def test_transports_of_the_loop_are_full() -> None:
    fits: List[bool] = []

    class Server(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            fits.append(fit_transport(transport) is transport)
            transport.close()

    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    assert await reader.read() == b""
    writer.close()
    server.close()
    await server.wait_closed()
    assert fits == [True]
