"""Both sides' records of each connection, and what is wrong between them."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, NamedTuple

from bench.soak.messages import Tally
from picows_codec import WSDisconnectKind

__all__ = ["Journal", "Record"]

IN_ORDER = {WSDisconnectKind.PEER_CLOSE.name, WSDisconnectKind.LOCAL_CLOSE.name}
ABORTED = WSDisconnectKind.LOCAL_ABORT.name
LOST = WSDisconnectKind.CONNECTION_LOST.name


class Record(NamedTuple):
    """What one side saw of a connection."""

    received: int
    sent: int
    gaps: int
    kind: str
    unanswered: int = 0  # what a client has sent without a response


class Journal:
    """Compares the records of connections that have ended on both sides."""

    def __init__(self, file: Path, tally: Tally) -> None:
        self._file = file
        self._tally = tally
        self._position = 0
        self._clients: Dict[int, Record] = {}
        self._servers: Dict[int, Record] = {}

    def note(self, number: int, record: Record) -> None:
        """A client's record."""
        self._clients[number] = record

    def compare(self) -> None:
        """Read what the workers have written meanwhile; compare what both sides have told."""
        if self._file.exists():
            with self._file.open("rb") as file:
                file.seek(self._position)
                for line in file:
                    self._position += len(line)
                    *numbers, kind = line.decode().split()
                    key, received, sent, gaps = map(int, numbers)
                    self._servers[key] = Record(received, sent, gaps, kind)
        for number in [number for number in self._clients if number in self._servers]:
            self._compare(number, self._clients.pop(number), self._servers.pop(number))

    def _compare(self, number: int, client: Record, server: Record) -> None:
        check = self._tally.check
        counts = self._tally.counts
        check(not server.gaps, f"connection {number}: the server saw gaps:", server.gaps)
        if client.kind == ABORTED:
            counts["aborted by the client"] += 1
            check(server.received <= client.sent, f"connection {number}: more than sent")
            check(client.received <= server.sent, f"connection {number}: more than sent")
            check(server.kind in IN_ORDER | {LOST}, f"connection {number}: {server.kind}")
            return
        counts["ended by a closing handshake"] += 1
        counts["of these by the service"] += client.kind == WSDisconnectKind.PEER_CLOSE.name
        check(
            {client.kind, server.kind} <= IN_ORDER,
            f"connection {number}: ended as {client.kind} and {server.kind}",
        )
        under_way = 0
        if server.kind == WSDisconnectKind.LOCAL_CLOSE.name:
            # The service has sent CLOSE: it does not look at what comes after that.
            under_way = client.unanswered
            counts["sent to the service after its CLOSE"] += under_way
        for to, lost in (
            ("service", client.sent - under_way - server.received),
            ("client", server.sent - client.received),
        ):
            counts["messages lost"] += lost
            check(not lost, f"connection {number}: {lost} lost to the {to}:", client, server)

    def finish(self) -> None:
        """Complain of what only one side knows."""
        self.compare()
        missing = list(self._clients)
        self._tally.check(not missing, "connections without a record of the service:", missing[:9])
        for number, record in self._servers.items():
            # The client gave up in the opening handshake.
            is_empty = not record.received and not record.sent
            self._tally.check(is_empty, f"connection {number}: unknown to the clients:", record)
