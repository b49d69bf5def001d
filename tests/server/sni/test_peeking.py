"""picows_server.sni.peeking: a ClientHello is looked at in the socket, however it arrives."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any, Iterator, List, Tuple

import pytest

from picows_server.sni import peeking
from picows_server.sni.client_hello import ClientHelloError
from picows_server.sni.peeking import peek_client_hello
from tests.support.client_hellos import hello_by_hand, hello_of_openssl, name_extension, records
from tests.support.leaks import eventually

Pair = Tuple[socket.socket, socket.socket]
HELLO = hello_of_openssl("example.com")
LARGE = records(hello_by_hand([(21, bytes(50000)), name_extension(b"example.com")]), 9000)


def tcp_pair() -> Pair:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        return listening.accept()[0], client


@pytest.fixture(params=["tcp", "unix"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """The server's end and the client's; the first does not block."""
    ours, theirs = tcp_pair() if request.param == "tcp" else socket.socketpair()
    ours.setblocking(False)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 18)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> List[int]:
    """How many bytes there were at each look."""
    found: List[int] = []
    look = peeking._look

    def noted(sock: Any, hello: Any, seen: int) -> int:
        found.append(look(sock, hello, seen))
        return found[-1]

    monkeypatch.setattr(peeking, "_look", noted)
    return found


def peek(sock: socket.socket) -> asyncio.Task[Any]:
    loop = asyncio.get_running_loop()
    return loop.create_task(peek_client_hello(loop, sock))


def received(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += sock.recv(size - len(data))
    return data


@pytest.mark.parametrize("hello", [HELLO, LARGE], ids=["usual", "large"])
async def test_everything_is_there(pair: Pair, hello: bytes) -> None:
    ours, theirs = pair
    theirs.sendall(hello)
    assert (await peek(ours)).server_name == "example.com"
    assert received(ours, len(hello)) == hello


async def test_nothing_is_there_yet(pair: Pair, looks: List[int]) -> None:
    ours, theirs = pair
    task = peek(ours)
    await eventually(lambda: looks)
    theirs.sendall(HELLO)
    assert (await task).server_name == "example.com"
    assert received(ours, len(HELLO)) == HELLO


@pytest.mark.parametrize("step", [1, 100, 500])
async def test_pieces(pair: Pair, step: int) -> None:
    ours, theirs = pair
    step = max(step, len(HELLO) // 500)  # a Unix socket has no room for many more pieces
    task = peek(ours)
    for start in range(0, len(HELLO), step):
        theirs.sendall(HELLO[start : start + step])
        await asyncio.sleep(0)
    assert (await task).server_name == "example.com"
    assert received(ours, len(HELLO)) == HELLO
    # The TLS engine hears of a single byte.
    assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 1


async def test_tcp_wakes_when_there_is_enough(looks: List[int]) -> None:
    """However slowly a client sends, it is looked at once for each length that it tells."""
    ours, theirs = tcp_pair()
    with ours, theirs:
        ours.setblocking(False)
        task = peek(ours)
        for number in range(len(HELLO)):
            theirs.sendall(HELLO[number : number + 1])
            for _ in range(3):
                await asyncio.sleep(0)
        assert (await task).server_name == "example.com"
    assert len(looks) <= 4


async def test_records_of_a_byte(pair: Pair, looks: List[int], monkeypatch: Any) -> None:
    monkeypatch.setattr(peeking, "_SHORTEST_PAUSE", 0.001)
    monkeypatch.setattr(peeking, "_LONGEST_PAUSE", 0.001)
    data = records(hello_by_hand([name_extension(b"example.com")]), 1)
    ours, theirs = pair
    task = peek(ours)
    for start in range(0, len(data), 6):
        theirs.sendall(data[start : start + 6])
        await asyncio.sleep(0)
    assert (await task).server_name == "example.com"
    assert received(ours, len(data)) == data


@pytest.mark.parametrize("sent", [b"", HELLO[:1], HELLO[:100]], ids=["nothing", "a byte", "a part"])
@pytest.mark.parametrize("is_early", [True, False])
async def test_a_client_that_hangs_up(pair: Pair, sent: bytes, is_early: bool) -> None:
    ours, theirs = pair
    task = peek(ours)
    if not is_early:
        await asyncio.sleep(0)
    theirs.sendall(sent)
    if not is_early:
        await asyncio.sleep(0)
    theirs.close()
    with pytest.raises(ConnectionResetError):
        await task


async def test_a_client_that_sends_all_and_hangs_up(pair: Pair) -> None:
    ours, theirs = pair
    theirs.sendall(HELLO)
    theirs.close()
    assert (await peek(ours)).server_name == "example.com"


async def test_what_is_no_client_hello(pair: Pair) -> None:
    ours, theirs = pair
    theirs.sendall(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(ClientHelloError):
        await peek(ours)


@pytest.mark.parametrize("sent", [b"", HELLO[:100]], ids=["nothing", "a part"])
async def test_cancelled(pair: Pair, sent: bytes, looks: List[int]) -> None:
    ours, theirs = pair
    theirs.sendall(sent)
    task = peek(ours)
    await eventually(lambda: looks)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 1
    # The socket is not watched any more.
    assert not asyncio.get_running_loop().remove_reader(ours.fileno())


async def test_a_loop_that_reports_no_readiness(pair: Pair, monkeypatch: Any) -> None:
    monkeypatch.setattr(peeking, "has_readers", lambda loop: False)
    ours, theirs = pair
    task = peek(ours)
    await asyncio.sleep(0)
    theirs.sendall(HELLO[:200])
    await asyncio.sleep(0)
    theirs.sendall(HELLO[200:])
    assert (await task).server_name == "example.com"
