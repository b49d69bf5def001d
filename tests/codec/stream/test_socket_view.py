"""A connection's socket as its users see it: to look at and to set options of."""

from __future__ import annotations

import copy
import socket

import pytest

from tests.support.stream_link import Link, Run, stream


def test_what_it_allows(run: Run) -> None:
    async def main() -> None:
        async with Link(tcp=True) as link:
            view = link.transport.get_extra_info("socket")
            assert view.fileno() == link.socket.fileno()
            assert view.getsockname() == link.socket.getsockname()
            assert view.getpeername() == link.socket.getpeername()
            assert view.family == link.socket.family
            view.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            assert view.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            with view.dup() as twin:
                assert twin.fileno() != view.fileno()

    run(main)


@pytest.mark.parametrize(
    "name", ["close", "detach", "recv", "send", "shutdown", "_sock", "nothing"]
)
def test_what_it_refuses(name: str) -> None:
    with socket.socket() as sock:
        view = stream.SocketView(sock)
        with pytest.raises(AttributeError, match=f"'{name}': the socket belongs to the connection"):
            getattr(view, name)
        with pytest.raises(AttributeError):
            setattr(view, name, None)


def test_it_is_its_own_only() -> None:
    with socket.socket() as sock:
        view = stream.SocketView(sock)
        assert repr(view) == f"<SocketView {sock!r}>"
        assert copy.copy(view).fileno() == sock.fileno()
