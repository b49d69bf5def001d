"""The codec's endpoint as an asyncio protocol that belongs to a server's connections."""

from __future__ import annotations

import asyncio
from typing import Any, Coroutine, Optional

from picows_codec import ServerHandshake, WSEndpoint, WSOptions
from picows_codec.totals import Totals
from picows_server.logs import Logger

__all__ = ["ProtocolOwner", "ServerProtocol"]


class ProtocolOwner:
    """Is told when a :class:`ServerProtocol` gets its transport, and when it loses it."""

    def connection_made(self, protocol: ServerProtocol) -> None:
        """``protocol`` has a transport, and begins with the opening handshake."""
        raise NotImplementedError

    def connection_lost(self, protocol: ServerProtocol) -> None:
        """``protocol`` has lost its transport."""
        raise NotImplementedError

    def response_begun(self, protocol: ServerProtocol) -> None:
        """A response that is sent in parts has begun, or goes on."""
        raise NotImplementedError

    def connection_recorded(self, protocol: ServerProtocol) -> None:
        """``protocol`` has ended, and its record is complete. Nothing is done by default."""

    def task_started(self, task: asyncio.Task[Any]) -> None:
        """A task has begun to decide about a request."""
        raise NotImplementedError


class ServerProtocol(WSEndpoint, asyncio.BufferedProtocol):
    """A server's end of a connection, which tells its owner when it begins and ends."""

    __slots__ = ("_owner",)

    def __init__(
        self,
        owner: ProtocolOwner,
        options: WSOptions,
        handshake: ServerHandshake,
        loop: asyncio.AbstractEventLoop,
        logger: Logger,
        *,
        shared_reads: bool,
        remote_address: object,
        totals: Optional[Totals] = None,
    ) -> None:
        super().__init__(
            options,
            handshake,
            loop,
            logger,
            shared_reads=shared_reads,
            remote_address=remote_address,
            totals=totals,
        )
        self._owner = owner

    def record_ended(self) -> None:
        """The listener was told of the end."""
        self._owner.connection_recorded(self)

    def create_task(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a coroutine for whose end the server waits when it is closed."""
        task = super().create_task(coroutine)
        self._owner.task_started(task)
        return task

    def send_response(self, data: bytes) -> bool:
        """Send a part of a response; from the first one on the handshake is not pending."""
        has_room = super().send_response(data)
        self._owner.response_begun(self)
        return has_room

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join the server's connections, then start the opening handshake."""
        self._owner.connection_made(self)
        super().connection_made(transport)

    def connection_lost(self, exc: Optional[Exception]) -> None:
        """Leave the server's connections, then tell the listener."""
        self._owner.connection_lost(self)
        super().connection_lost(exc)
