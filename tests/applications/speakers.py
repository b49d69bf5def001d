"""The clients that speak to the applications: websockets', and ours."""

from __future__ import annotations

import asyncio
from typing import Any, Awaitable, Callable, Tuple

import pytest

from picows_client import WSConnectionClosed, WSInvalidStatusError, connect

__all__ = ["SPEAKERS", "Speaker", "run", "speakers"]


class Speaker:
    """A client. The connections of both have the same ``send``, ``recv`` and ``close``."""

    def __init__(self, name: str) -> None:
        self.closed: Any = WSConnectionClosed
        self._refused: Any = WSInvalidStatusError
        self._connect: Any = connect
        if name == "websockets":
            errors = pytest.importorskip("websockets.exceptions")
            self.closed = errors.ConnectionClosed
            self._refused = errors.InvalidStatus
            self._connect = pytest.importorskip("websockets.asyncio.client").connect

    def connect(self, url: str, **options: Any) -> Any:
        """A connection, to be awaited or used in ``async with``."""
        return self._connect(url, **options)

    async def refusal(self, url: str) -> Tuple[int, bytes]:
        """Status and body of the response of a server that refuses."""
        with pytest.raises(self._refused) as caught:
            await self.connect(url)
        response = caught.value.response
        return getattr(response, "status_code", None) or response.status, response.body

    async def end(self, ws: Any) -> Tuple[int, str]:
        """Code and reason with which the server ends a connection; nothing comes before that."""
        with pytest.raises(self.closed) as caught:
            await ws.recv()
        await ws.wait_closed()
        error = caught.value
        if isinstance(error, WSConnectionClosed):
            return error.code, error.reason
        return (1006, "") if error.rcvd is None else (error.rcvd.code, error.rcvd.reason)


SPEAKERS = ["websockets", "ours"]
speakers = pytest.mark.parametrize("speaker", SPEAKERS, indirect=True)


def run(test: Callable[..., Awaitable[None]], *arguments: Any) -> None:
    """Run what a test does."""

    async def within_time() -> None:
        await asyncio.wait_for(test(*arguments), 50)

    asyncio.run(within_time())
