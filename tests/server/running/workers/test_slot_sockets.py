"""picows_server.running.workers.slot_sockets: a socket per slot, or one for all."""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, List

import pytest

from picows_server import WSInvalidOptionError
from picows_server.listen import bind_tcp
from picows_server.running.workers import slot_sockets
from picows_server.running.workers.slot_sockets import SlotSockets, open_slot_sockets
from picows_server.url import parse_server_url
from tests.support.leaks import leaked_since, open_descriptors
from tests.support.servers import quiet_logger

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="SO_REUSEPORT balances on Linux")


async def opened(url: str = "ws://127.0.0.1:0", **options: Any) -> SlotSockets:
    loop = asyncio.get_running_loop()
    return await open_slot_sockets(loop, parse_server_url(url), quiet_logger(), **options)


def slots_of_clients(sockets: List[Any], count: int = 60) -> List[int]:
    """Which of the lists of sockets get connections."""
    found = set()
    with ExitStack() as stack:
        for _ in range(count):
            client = stack.enter_context(socket.socket(sockets[0][0].family))
            client.connect(sockets[0][0].getsockname())
        for index, (sock, *_) in enumerate(sockets):
            try:
                while sock.fileno() >= 0:
                    stack.enter_context(sock.accept()[0])
                    found.add(index)
            except BlockingIOError:
                pass
    return sorted(found)


async def test_slots_have_sockets_of_their_own_at_one_port() -> None:
    slots = await opened()
    try:
        sockets = [slots.open(number) for number in range(3)]
        assert not slots.shared_because
        assert len({sock.fileno() for (sock,) in sockets}) == 3
        assert len({sock.getsockname() for (sock,) in sockets}) == 1
        assert slots.places == (f"ws://127.0.0.1:{sockets[0][0].getsockname()[1]}",)
        assert slots_of_clients(sockets) == [0, 1, 2]
    finally:
        slots.close()


async def test_a_name_with_two_families() -> None:
    slots = await opened("ws://localhost:0")
    try:
        first, second = slots.open(0), slots.open(1)
        assert [sock.getsockname() for sock in first] == [sock.getsockname() for sock in second]
        assert len(slots.places) == 1
        slots.serve_from([1])
        assert slots_of_clients([first[:1], second[:1]]) == [1]
        assert slots_of_clients([first[-1:], second[-1:]]) == [1]
    finally:
        slots.close()


async def test_connections_go_where_workers_are() -> None:
    slots = await opened()
    try:
        sockets = [slots.open(number) for number in range(4)]
        slots.serve_from([1, 3])
        assert slots_of_clients(sockets) == [1, 3]
        slots.serve_from([])  # they wait
        assert slots_of_clients(sockets) == [0, 1, 2, 3]
        slots.serve_from([0])
        slots.serve_from([0])
        assert slots_of_clients(sockets) == [0]
        slots.serve_from([0, 1, 2, 3])
        assert slots_of_clients(sockets) == [0, 1, 2, 3]
    finally:
        slots.close()


async def test_places_change_when_a_slot_is_removed() -> None:
    slots = await opened()
    try:
        sockets = [slots.open(number) for number in range(4)]
        slots.serve_from([0, 2, 3])
        slots.release(1)
        slots.forget(1)
        slots.serve_from([0, 3])
        assert slots_of_clients(sockets) == [0, 3]
        sockets[1] = slots.open(1)
        slots.serve_from([1, 2])
        assert slots_of_clients(sockets) == [1, 2]
        slots.serve_from([0, 1, 2, 3])
        assert slots_of_clients(sockets) == [0, 1, 2, 3]
        slots.release(0)
        slots.release(0)
        slots.forget(0)
        slots.serve_from([3, 2, 1])
        assert slots_of_clients(sockets[1:]) == [0, 1, 2]
    finally:
        slots.close()


@pytest.mark.parametrize(
    "error", [OSError(92, "Protocol not available"), ImportError("No module named '_ctypes'")]
)
async def test_a_kernel_that_cannot_choose(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(slot_sockets, "steer", fails)
    slots = await opened()
    try:
        sockets = [slots.open(number) for number in range(2)]
        slots.serve_from([1])
        slots.serve_from([0])
        assert slots_of_clients(sockets) == [0, 1]
    finally:
        slots.close()


async def test_a_kernel_that_keeps_its_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Linux 5.3 a program cannot be taken away, so the next one names all sockets."""

    def fails(_: object) -> None:
        raise OSError(92, "Protocol not available")

    monkeypatch.setattr(slot_sockets, "stop_steering", fails)
    slots = await opened()
    try:
        sockets = [slots.open(number) for number in range(2)]
        slots.serve_from([1])
        assert slots_of_clients(sockets) == [1]
        slots.serve_from([0, 1])
        assert slots_of_clients(sockets) == [0, 1]
        slots.serve_from([0])
        assert slots_of_clients(sockets) == [0]
    finally:
        slots.close()


async def test_a_port_that_others_may_share() -> None:
    slots = await opened(reuse_port=True)
    others = await opened(slots.places[0], reuse_port=True)
    try:
        sockets = [slots.open(0), slots.open(1)]
        slots.serve_from([1])  # who knows which place that is
        assert slots_of_clients(sockets) == [0, 1]
    finally:
        slots.close()
        others.close()


async def test_a_port_that_is_taken() -> None:
    slots = await opened()
    try:
        slots.open(0)
        with pytest.raises(OSError, match=r"cannot listen on 127\.0\.0\.1"):
            await opened(slots.places[0])
    finally:
        slots.close()


async def test_two_services_that_start_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def bind(*arguments: Any, **options: Any) -> Any:
        """Both bind before one of them listens, as Linux lets them."""
        first = await bind_tcp(*arguments, **options)
        url = f"ws://127.0.0.1:{first.sockets[0].getsockname()[1]}"
        monkeypatch.undo()
        others.append(await opened(url))
        return first

    others: List[SlotSockets] = []
    monkeypatch.setattr(slot_sockets, "bind_tcp", bind)
    before = open_descriptors()
    with pytest.raises(OSError, match=r"cannot listen on 127\.0\.0\.1"):
        await opened()
    others[0].close()
    assert not leaked_since(before)


async def test_no_socket_is_left_when_a_slot_cannot_be_added() -> None:
    slots: Any = await opened()
    try:
        slots.open(0)
        before = open_descriptors()
        slots._names += [(*slots._names[0][:2], ("192.0.2.1", 1))]  # not an address of this host
        with pytest.raises(OSError):  # noqa: PT011 - the kernel's text
            slots.open(1)
        assert not leaked_since(before)
    finally:
        slots.close()


async def test_closed_before_it_was_used() -> None:
    slots = await opened()
    slots.close()
    again = await opened(slots.places[0])
    again.close()


async def test_a_unix_socket_is_shared(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    slots = await opened("ws://localhost", unix_path=path)
    assert slots.shared_because == "it is a Unix socket"
    assert slots.places == (f"unix:{path}",)
    assert slots.open(0) is slots.open(1)
    slots.serve_from([0])
    slots.release(0)
    slots.forget(0)
    slots.open(2)
    (sock,) = slots.open(1)
    worker = sock.dup()
    for number in (1, 2):
        slots.release(number)
    assert sock.fileno() < 0
    # The workers still accept.
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    worker.close()
    slots.forget(1)
    assert path.exists()
    slots.forget(2)
    assert not path.exists()
    slots.close()


@pytest.mark.parametrize("option", [{"reuse_port": True}, {"reuse_address": True}])
async def test_options_that_exclude_each_other(tmp_path: Path, option: Any) -> None:
    with pytest.raises(WSInvalidOptionError, match="are for host and port"):
        await opened(unix_path=tmp_path / "socket", **option)
    with pytest.raises(WSInvalidOptionError, match="are for host and port"):
        await opened(given=[], **option)
    with pytest.raises(WSInvalidOptionError, match="unix_path and sock"):
        await opened(given=[], unix_path=tmp_path / "socket")


async def test_given_sockets_are_shared() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        slots = await opened(given=[sock])
        assert slots.shared_because
        assert slots.open(0) == slots.open(1) == (sock,)
        assert slots.places == (f"ws://127.0.0.1:{sock.getsockname()[1]}",)
        slots.close()
        assert sock.fileno() < 0


async def test_a_platform_that_does_not_balance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot_sockets, "_REUSE_PORT", None)
    slots = await opened()
    try:
        assert "does not balance" in slots.shared_because
        assert slots.open(0) is slots.open(1)
    finally:
        slots.close()


async def test_no_socket_is_given() -> None:
    with pytest.raises(WSInvalidOptionError):
        await opened(given=[])
