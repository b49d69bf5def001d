"""``HostedApplication``: a listener factory that a server starts and stops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, List, Optional

from picows_codec import WSCloseCode, WSOptions, WSUpgradeRequest
from picows_server.logs import Logger
from picows_server.routing import RouteResult

if TYPE_CHECKING:
    from picows_codec.coroutines.connection import WSConnection

__all__ = ["HostedApplication"]


class HostedApplication:
    """What a server starts before it serves, and stops after the last connection.

    It has tasks, for whose end the server waits when it is closed. ``close_code`` is that of the
    CLOSE that clients get then.
    """

    close_code = WSCloseCode.GOING_AWAY

    def __call__(self, request: WSUpgradeRequest) -> RouteResult:
        """Decide about a request, as any listener factory does."""
        raise NotImplementedError

    @property
    def needs_hosting(self) -> bool:
        """Whether there is something to start and to stop."""
        return True

    async def start(self, logger: Logger, options: WSOptions) -> None:
        """Get ready; what this raises, ``WSServer.start_serving`` raises."""

    async def stop(self) -> None:
        """The server is closed, and no task is left."""

    def notify(self, released: Callable[[], None]) -> None:
        """Call ``released`` whenever a task has ended."""

    @property
    def is_idle(self) -> bool:
        """Whether no task is left."""
        return True

    @property
    def open_connections(self) -> List[WSConnection]:
        """None: they are the application's."""
        return []

    def leave(self, code: int, reason: Optional[str]) -> None:
        """The connections are being closed."""

    def leave_one(self, listener: object, code: int, reason: Optional[str]) -> None:
        """The connection of this listener is being closed, which may be one of the application."""

    def cancel(self) -> None:
        """Cancel the tasks that are left."""
