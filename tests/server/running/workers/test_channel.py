"""picows_server.running.workers.channel: messages over a pair of sockets."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any, List

import pytest

from picows_server import WSServerStats
from picows_server.running.workers.channel import Channel, receive_blocking, send_blocking
from picows_server.running.workers.messages import Drain, Failed, Heartbeat
from tests.support.leaks import eventually

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers need POSIX")


class End:
    """One end, and what it has heard."""

    def __init__(self, sock: socket.socket) -> None:
        self.messages: List[Any] = []
        self.ends = 0
        loop = asyncio.get_running_loop()
        self.channel = Channel(loop, sock, self.messages.append, self._ended)

    def _ended(self) -> None:
        self.ends += 1


async def test_messages_arrive_in_order_and_then_the_end() -> None:
    left, right = (End(sock) for sock in socket.socketpair())
    sent = [Drain(0.5), Heartbeat(1, 2, WSServerStats(opened=3)), Failed("why\n"), Drain()]
    for message in sent:
        left.channel.send(message)
    await eventually(lambda: len(right.messages) == 4)
    assert right.messages == sent
    left.channel.send("last")
    left.channel.close()
    left.channel.send("too late")
    await eventually(lambda: right.ends == 1)
    assert right.messages[4:] == ["last"]
    right.channel.close()
    assert (left.ends, right.ends) == (0, 1)


async def test_large_messages_wait_for_the_reader() -> None:
    left, right = (End(sock) for sock in socket.socketpair())
    large = bytes(5_000_000)
    left.channel.send(large)
    assert not left.channel.offer("heartbeat")  # it would only be late
    left.channel.send("small")
    await eventually(lambda: len(right.messages) == 2)
    assert right.messages == [large, "small"]
    assert left.channel.offer("heartbeat")
    await eventually(lambda: len(right.messages) == 3)
    left.channel.close()
    right.channel.close()


async def test_finish_sends_the_rest() -> None:
    sock, other = socket.socketpair()
    left = End(sock)
    left.channel.send(bytes(1_000_000))
    loop = asyncio.get_running_loop()
    reading = loop.run_in_executor(None, receive_blocking, other)
    left.channel.finish(30.0)
    assert await reading == bytes(1_000_000)
    other.close()


async def test_finish_gives_up_on_an_end_that_does_not_read() -> None:
    sock, other = socket.socketpair()
    left = End(sock)
    left.channel.send(bytes(5_000_000))
    left.channel.finish(0.01)
    other.close()


async def test_a_process_that_died_with_messages_unread() -> None:
    sock, other = socket.socketpair()
    left = End(sock)
    left.channel.send(bytes(5_000_000))
    other.close()
    await eventually(lambda: left.ends == 1)
    left.channel.send("nobody is there")


async def test_a_message_may_close_the_channel() -> None:
    sock, other = socket.socketpair()
    heard: List[Any] = []

    def received(message: Any) -> None:
        heard.append(message)
        channel.close()

    channel = Channel(asyncio.get_running_loop(), sock, received, lambda: heard.append("end"))
    for number in range(3):
        send_blocking(other, number)
    await eventually(lambda: heard == [0])
    other.close()


def test_the_other_end_is_closed_before_the_first_message() -> None:
    sock, other = socket.socketpair()
    with sock:
        other.close()
        with pytest.raises(EOFError):
            receive_blocking(sock)
