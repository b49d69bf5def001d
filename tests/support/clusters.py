"""A real cluster of Valkey or Redis servers on free ports, whose slots can be moved."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, List

from tests.support.engines import Engine, free_port

SLOTS = 16384
PATIENCE = 30.0


class Cluster:
    """Primaries that share the slots in equal parts, and replicas of the first of them.

    :param arguments: of each server, for instance of persistence.
    """

    def __init__(
        self, name: str, folder: Path, *arguments: str, primaries: int = 3, replicas: int = 0
    ) -> None:
        self.servers: List[Engine] = []
        for number in range(primaries + replicas):
            own = folder / f"server{number}"
            own.mkdir()
            options = (
                *("--cluster-enabled", "yes", "--cluster-port", str(free_port())),
                *("--cluster-node-timeout", "1000", "--cluster-require-full-coverage", "no"),
                *("--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"),
                *arguments,
            )
            self.servers.append(Engine(name, own, *options))
        self.primaries = self.servers[:primaries]
        self.replicas = self.servers[primaries:]

    @property
    def url(self) -> str:
        return self.servers[0].url

    def start(self) -> Cluster:
        """Start all, and wait until each knows of all."""
        for epoch, server in enumerate(self.servers, 1):
            server.start()
            server.command("CLUSTER", "SET-CONFIG-EPOCH", epoch)
        for number, server in enumerate(self.primaries):
            first, end = (SLOTS * each // len(self.primaries) for each in (number, number + 1))
            server.command("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
        for server in self.servers[1:]:
            bus = server.command("CONFIG", "GET", "cluster-port")
            self.servers[0].command("CLUSTER", "MEET", "127.0.0.1", server.port, self._bus(bus))
        self.wait(lambda: all(self._knows_all(server) for server in self.servers))
        primary = self.id_of(self.servers[0])
        for replica in self.replicas:
            replica.command("CLUSTER", "REPLICATE", primary)
            self.wait(lambda replica=replica: b"master_link_status:up" in self._info(replica))
        self.wait(lambda: all(self._is_ok(server) for server in self.servers))
        return self

    @staticmethod
    def _bus(reply: Any) -> str:
        found = dict(reply) if isinstance(reply, dict) else {reply[0]: reply[1]}
        return str(next(iter(found.values())))
