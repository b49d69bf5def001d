"""A real cluster of Valkey or Redis servers on free ports, whose slots can be moved."""

from __future__ import annotations

import contextlib
import time
from binascii import crc_hqx
from itertools import count
from pathlib import Path
from typing import Any, Callable, List, Optional, Sequence

from tests.support.engines import Engine, free_port

__all__ = ["Cluster", "slot_of_topic"]

SLOTS = 16384
PATIENCE = 60.0


def slot_of_topic(topic: str) -> int:
    """Return the slot of a topic whose name has no brace and no percent sign."""
    return crc_hqx(topic.encode(), 0) % SLOTS


class Cluster:
    """Servers, of which the first are primaries with slots and the others replicas of the first.

    :param arguments: of each server, for instance of persistence.
    :param ends: of the slots of each primary; equal parts by default.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        *arguments: str,
        ends: Sequence[int] = (5461, 10922, SLOTS),
        replicas: int = 0,
    ) -> None:
        self.servers: List[Engine] = []
        self._ports: List[int] = []
        self._ends = ends
        for number in range(len(ends) + replicas):
            own = folder / f"server{number}"
            own.mkdir()
            self._ports.append(free_port())
            options = (
                *("--cluster-enabled", "yes", "--cluster-port", str(self._ports[-1])),
                # Nobody but a test decides that a server is down.
                *("--cluster-node-timeout", "60000", "--cluster-require-full-coverage", "no"),
                # A primary stays one that has given its last slot away.
                *("--cluster-allow-replica-migration", "no", "--repl-diskless-sync-delay", "0"),
            )
            self.servers.append(Engine(name, own, *options, *arguments))
        self.primaries = self.servers[: len(ends)]
        self.replicas = self.servers[len(ends) :]

    @property
    def url(self) -> str:
        return self.servers[0].url

    def start(self) -> Cluster:
        """Start all, and wait until each knows of all."""
        for epoch, server in enumerate(self.servers, 1):
            server.start()
            server.command("CLUSTER", "SET-CONFIG-EPOCH", epoch)
        for server, first, end in zip(self.primaries, (0, *self._ends), self._ends):
            server.command("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
        for server in self.servers:
            for other, port in zip(self.servers, self._ports):
                if other is not server:
                    server.command("CLUSTER", "MEET", "127.0.0.1", other.port, port)
        # The names of servers that have not said who they are yet would be other ones.
        names = [self.id_of(server) for server in self.servers]
        self._wait(lambda: all(self._knows(server, names) for server in self.servers))
        for replica in self.replicas:
            replica.command("CLUSTER", "REPLICATE", self.id_of(self.servers[0]))
            self._wait(lambda replica=replica: replica.command("ROLE")[3] == b"connected")
        ok = (b"cluster_state:ok\r", b"cluster_slots_ok:%d\r" % SLOTS)
        self._wait(lambda: all(each in self._info(x) for each in ok for x in self.servers))
        return self

    def restart(self, server: Engine) -> None:
        """Start a server that has ended, and wait until it takes writes."""
        server.start()
        self._wait(lambda: b"cluster_state:ok" in self._info(server))

    def stop(self) -> None:
        for server in self.servers:
            server.kill()

    def owner(self, topic: str) -> Engine:
        """Return the server that has a topic, as the first server that runs sees it."""
        server = next(each for each in self.servers if each.process is not None)
        name = self._id_of_owner(server, slot_of_topic(topic))
        return next(each for each in self.primaries if self.id_of(each).encode() == name)

    def topics(self, server: Engine, number: int, slot: Optional[int] = None) -> List[str]:
        """Return names of topics that a primary has at the start, or that are in one slot."""
        index = self.primaries.index(server)
        first, end = (0, *self._ends)[index], self._ends[index]
        slots = range(first, end) if slot is None else range(slot, slot + 1)
        names = (f"t{each}" for each in count())
        found = (name for name in names if slot_of_topic(name) in slots)
        return [next(found) for _ in range(number)]

    # Moving a slot, step by step

    def begin_move(self, slot: int, source: Engine, target: Engine) -> None:
        target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", self.id_of(source))
        source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", self.id_of(target))

    def move_keys(self, slot: int, source: Engine, target: Engine, limit: int = 100) -> None:
        keys = source.command("CLUSTER", "GETKEYSINSLOT", slot, limit)
        if keys:
            where = ("127.0.0.1", target.port, "", 0, 5000)
            source.command("MIGRATE", *where, "KEYS", *sorted(keys))

    def end_move(self, slot: int, source: Engine, target: Engine) -> None:
        """As redis-cli does it: the new owner is told first."""
        others = [each for each in self.primaries if each not in {source, target}]
        for server in (target, source, *others):
            if server.process is not None:
                server.command("CLUSTER", "SETSLOT", slot, "NODE", self.id_of(target))

    def move(self, slot: int, source: Engine, target: Engine) -> None:
        """All at once: Valkey 9 does it in one command."""
        if int(source.command("INFO", "server").get("valkey_version", "0").split(".")[0]) >= 9:
            where = ("SLOTSRANGE", slot, slot, "NODE", self.id_of(target))
            source.command("CLUSTER", "MIGRATESLOTS", *where)
            name = self.id_of(target).encode()
            self._wait(lambda: self._id_of_owner(source, slot) == name)
            return
        self.begin_move(slot, source, target)
        while source.command("CLUSTER", "COUNTKEYSINSLOT", slot):
            self.move_keys(slot, source, target)
        self.end_move(slot, source, target)

    def relieve(self, primary: Engine, replica: Engine) -> None:
        """Make a replica the primary, without a loss."""
        import redis  # noqa: PLC0415 - not every interpreter has it

        again = 0.0

        def is_relieved() -> bool:
            nonlocal again
            if time.monotonic() > again:
                # It is refused while the link to the primary is broken, and given up after 5 s.
                with contextlib.suppress(redis.ResponseError):
                    replica.command("CLUSTER", "FAILOVER")
                    again = time.monotonic() + 6.0
            return bool(primary.command("ROLE")[0] == b"slave")

        self._wait(is_relieved)

    # Questions

    @staticmethod
    def id_of(server: Engine) -> str:
        identity: bytes = server.command("CLUSTER", "MYID")
        return identity.decode()

    @staticmethod
    def _id_of_owner(server: Engine, slot: int) -> bytes:
        for first, last, (_, _, name, *_), *_ in server.command("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return bytes(name)
        raise AssertionError(f"nobody has slot {slot}")

    @staticmethod
    def _knows(server: Engine, names: Sequence[str]) -> bool:
        nodes: bytes = server.command("CLUSTER", "NODES")
        return all(name.encode("ascii") in nodes for name in names)

    @staticmethod
    def _info(server: Engine) -> bytes:
        info: Any = server.command("CLUSTER", "INFO")
        return bytes(info)

    @staticmethod
    def _wait(condition: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, "the cluster does not come up"
            time.sleep(0.02)
