"""picows_client.race: the first address that answers wins, and the others leave nothing open."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any, Callable, Dict, List

import pytest

from picows_client import race
from picows_client.race import first_connected
from picows_client.resolve import AddressInfo
from tests.support.loops import other_tasks

Run = Callable[..., Any]


def address(host: str) -> AddressInfo:
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 80))


class Network:
    """What each address does: connect after some seconds, or raise."""

    def __init__(self, **hosts: Any) -> None:
        self.hosts = hosts
        self.tried: List[str] = []
        self.sockets: Dict[str, socket.socket] = {}

    async def connect(self, info: AddressInfo) -> socket.socket:
        host = str(info[4][0])
        self.tried.append(host)
        outcome = self.hosts[host]
        if isinstance(outcome, BaseException):
            raise outcome
        await asyncio.sleep(outcome)
        self.sockets[host] = socket.socket()
        return self.sockets[host]

    async def race(self) -> str:
        """Connect to all hosts in order; returns the winner, closed."""
        winner = await first_connected([address(host) for host in self.hosts], self.connect)
        assert not other_tasks()
        winner.close()
        for sock in self.sockets.values():
            assert sock.fileno() == -1
        (name,) = (host for host, sock in self.sockets.items() if sock is winner)
        return name


@pytest.fixture(autouse=True)
def _short_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(race, "_NEXT_ADDRESS_DELAY", 0.02)


def test_only_one(run: Run) -> None:
    async def main() -> None:
        network = Network(a=0)
        assert await network.race() == "a"

    run(main)


def test_first_answers_in_time(run: Run) -> None:
    async def main() -> None:
        network = Network(a=0, b=0)
        assert await network.race() == "a"
        assert network.tried == ["a"]

    run(main)


def test_next_after_a_failure_without_delay(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(race, "_NEXT_ADDRESS_DELAY", 60)

    async def main() -> None:
        network = Network(a=ConnectionRefusedError(), b=OSError(), c=0)
        assert await network.race() == "c"

    run(main)


def test_next_after_a_delay(run: Run) -> None:
    async def main() -> None:
        network = Network(a=60, b=60, c=0)
        assert await network.race() == "c"
        assert network.tried == ["a", "b", "c"]

    run(main)


def test_slow_one_still_wins_if_the_others_fail(run: Run) -> None:
    async def main() -> None:
        network = Network(a=0.1, b=OSError(), c=OSError())
        assert await network.race() == "a"

    run(main)


def test_two_at_once(run: Run) -> None:
    async def main() -> None:
        ready = asyncio.Event()

        class Together(Network):
            async def connect(self, info: AddressInfo) -> socket.socket:
                if len(self.tried) == 1:
                    ready.set()
                sock = await super().connect(info)
                await ready.wait()
                return sock

        network = Together(a=0, b=0)
        assert await network.race() == "a"
        assert network.tried == ["a", "b"]

    run(main)


def test_all_fail_alike(run: Run) -> None:
    async def main() -> None:
        errors = [ConnectionRefusedError(errno.ECONNREFUSED, f"no {name}") for name in "ab"]
        with pytest.raises(ConnectionRefusedError, match="no a; no b") as caught:
            await Network(a=errors[0], b=errors[1]).race()
        assert caught.value.errno == errno.ECONNREFUSED
        assert caught.value.__cause__ is errors[0]

    run(main)


def test_all_fail_differently(run: Run) -> None:
    async def main() -> None:
        refused = ConnectionRefusedError(errno.ECONNREFUSED, "no a")
        with pytest.raises(OSError, match="no a; no b") as caught:
            await Network(a=refused, b=OSError("no b")).race()
        assert type(caught.value) is OSError

    run(main)


def test_other_errors_end_the_race(run: Run) -> None:
    async def main() -> None:
        network = Network(a=60, b=ZeroDivisionError())
        with pytest.raises(ZeroDivisionError):
            await network.race()
        assert not other_tasks()

    run(main)


@pytest.mark.parametrize("seconds", [0, 0.01, 0.03])
def test_cancelled(run: Run, seconds: float) -> None:
    async def main() -> None:
        network = Network(a=60, b=60, c=60)
        task = asyncio.ensure_future(network.race())
        await asyncio.sleep(seconds)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not other_tasks()

    run(main)


def test_cancelled_when_it_was_won(run: Run) -> None:
    """A cancellation while the losers end must not lose the winner's socket."""

    async def main() -> None:
        class Reluctant(Network):
            async def connect(self, info: AddressInfo) -> socket.socket:
                try:
                    return await super().connect(info)
                except asyncio.CancelledError:
                    task.cancel()
                    raise

        network = Reluctant(a=60, b=0)
        task = asyncio.ensure_future(network.race())
        with pytest.raises(asyncio.CancelledError):
            await task
        assert network.sockets["b"].fileno() == -1

    run(main)
