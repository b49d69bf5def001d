"""picows_server.running.workers.steering: which sockets of a group get connections."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import ExitStack
from typing import Iterator, List

import pytest

from picows_server.running.workers.steering import HAS_STEERING, steer, stop_steering

pytestmark = pytest.mark.skipif(not HAS_STEERING, reason="Linux only")


@pytest.fixture(name="group", params=["127.0.0.1", "::1"])
def group_fixture(request: pytest.FixtureRequest) -> Iterator[List[socket.socket]]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with ExitStack() as stack:
        sockets: List[socket.socket] = []
        port = 0
        for _ in range(4):
            sock = stack.enter_context(socket.socket(family))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            try:
                sock.bind((request.param, port))
            except OSError:
                pytest.skip(f"no {request.param}")
            port = sock.getsockname()[1]
            sock.setblocking(False)
            sock.listen(200)
            sockets.append(sock)
        yield sockets


def accepted(group: List[socket.socket], connections: int = 100) -> List[int]:
    """How many of so many connections each socket gets."""
    counts: List[int] = []
    with ExitStack() as stack:
        for _ in range(connections):
            client = stack.enter_context(socket.socket(group[0].family))
            client.connect(group[0].getsockname())
        for sock in group:
            counts.append(0)
            try:
                while True:
                    stack.enter_context(sock.accept()[0])
                    counts[-1] += 1
            except BlockingIOError:
                pass
    return counts


@pytest.mark.parametrize("indexes", [[0], [3], [1, 2], [0, 2, 3]])
def test_only_those_that_are_chosen(group: List[socket.socket], indexes: List[int]) -> None:
    steer(group[0], indexes)
    counts = accepted(group)
    assert [index for index, count in enumerate(counts) if count] == indexes
    assert sum(counts) == 100


def test_all_again(group: List[socket.socket]) -> None:
    steer(group[1], [1])
    stop_steering(group[2])
    assert all(accepted(group))


def test_a_place_that_does_not_exist(group: List[socket.socket]) -> None:
    steer(group[0], [9])
    assert all(accepted(group))


def test_stopping_without_a_program(group: List[socket.socket]) -> None:
    with pytest.raises(OSError):  # noqa: PT011 - the kernel's number
        stop_steering(group[0])


def test_ctypes_is_imported_only_where_it_is_used() -> None:
    code = "import sys, picows_server.running.workers.steering; sys.exit('ctypes' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
