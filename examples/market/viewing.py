"""One connection: what a page may ask for, and what it gets.

    {"id": 1, "watch": "BTC-USD", "since": {"offset": 17, "epoch": "5f3a"}}     since may be null
    {"reply": 1, "recovered": true, "offset": 61, "epoch": "5f3a"}

    {"id": 2, "unwatch": "BTC-USD"}
    {"reply": 2}

    {"id": 3, "ask": "status"}
    {"reply": 3, "time": 1700000000000.0, "gateway": "host:8080", "viewers": 12, "replaced": 0}

Anything else is the end of the connection, with code 1008; 1013 says that the engine of several
gateways is away. Beside the replies come the messages of
the topics (``publishing.py``), each of which names its topic.
"""

from __future__ import annotations

import json
import socket
from typing import Any, Container, Dict, Optional

from picows_server import WSCloseCode, WSConnection
from picows_server.backplane import BackplaneError
from picows_server.topics import Position, Topics

from .publishing import BACKFILL, encoded, now

__all__ = ["Viewer"]

# Bytes that the kernel keeps for a connection before it has sent them. Without a limit it takes
# megabytes, all of them old news for a client that reads again; what waits here is conflated.
UNSENT = 16 * 1024
# What a text raises that is not one of the requests above: another type, depth or size.
_NO_REQUEST = (ValueError, TypeError, KeyError, OverflowError, RecursionError)


class Viewer:
    """A page that watches one symbol or several."""

    def __init__(
        self, ws: WSConnection, topics: Topics, symbols: Container[str], name: str
    ) -> None:
        self._ws = ws
        self._topics = topics
        self._symbols = symbols
        self._name = name

    async def run(self) -> None:
        """Reply to requests until the connection ends."""
        self._limit_unsent_bytes()
        self._topics.subscribe(self._ws, "ticker")
        async for text in self._ws:
            try:
                request = json.loads(text)
                reply = {"reply": int(request["id"]), **await self._reply(request)}
            except _NO_REQUEST:
                await self._ws.close(WSCloseCode.POLICY_VIOLATION, "unknown request")
                return
            except BackplaneError:
                # The page comes back, perhaps to a gateway that has its engine.
                await self._ws.close(WSCloseCode.TRY_AGAIN_LATER, "the history cannot be read")
                return
            await self._ws.send(encoded(reply).decode())

    def _limit_unsent_bytes(self) -> None:
        option = getattr(socket, "TCP_NOTSENT_LOWAT", None)  # Linux, macOS
        sock = self._ws.transport.underlying_transport.get_extra_info("socket")
        if option is not None and sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, option, UNSENT)

    async def _reply(self, request: Dict[str, Any]) -> Dict[str, Any]:
        if "watch" in request:
            return await self._watch(self._symbol(request["watch"]), _position(request["since"]))
        if "unwatch" in request:
            return self._unwatch(self._symbol(request["unwatch"]))
        if request["ask"] == "status":
            return self._status()
        raise ValueError(request)

    def _symbol(self, symbol: Any) -> str:
        if not isinstance(symbol, str) or symbol not in self._symbols:
            raise ValueError(symbol)
        return symbol

    async def _watch(self, symbol: str, since: Optional[Position]) -> Dict[str, Any]:
        self._unwatch(symbol)
        self._topics.subscribe(self._ws, f"book.{symbol}")
        # First what was missed, then what is new; nothing twice, and nothing between them.
        found = await self._topics.subscribe_from(
            self._ws, f"trades.{symbol}", since, last=BACKFILL
        )
        return {"recovered": found.recovered, **found.position._asdict()}

    def _unwatch(self, symbol: str) -> Dict[str, Any]:
        for kind in ("book", "trades"):
            self._topics.unsubscribe(self._ws, f"{kind}.{symbol}")
        return {}

    def _status(self) -> Dict[str, Any]:
        return {
            "time": now(),
            "gateway": self._name,
            "viewers": self._ws.request.server.connections,
            "replaced": self._topics.stats_of(self._ws).replaced,
        }


def _position(since: Any) -> Optional[Position]:
    # Topics.subscribe_from refuses what is no position with a WSTopicError, a ValueError.
    return None if since is None else Position(since["offset"], since["epoch"])
