"""A response that somebody makes later, at once or in parts, without a task that waits for it."""

from __future__ import annotations

from typing import Any, Callable, Iterator

__all__ = ["DeferredResponse", "SentResponse"]


class SentResponse:
    """A response that whoever decides has written to the transport below.

    The connection is closed, and nothing else is sent.
    """

    __slots__ = ("reason", "status")

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        self.reason = reason


class DeferredResponse:
    """What a route returns to respond later, when :meth:`decide` is called.

    An awaitable would do, too, but it costs a task, and the response leaves some iterations of the
    loop after the decision. With this one it leaves within :meth:`decide`.

    Override :meth:`begin`, :meth:`lost`, and :meth:`resume_writing` if the response is sent in
    parts. All methods belong to the thread of the connection.
    """

    __slots__ = ("_callback", "_is_lost", "_result")

    #: Whether a request that is no upgrade, or a broken one, is refused before :meth:`begin`.
    is_for_upgrades = True

    def __init__(self) -> None:
        self._callback: Callable[[DeferredResponse], object] | None = None
        self._result: Any = None
        self._is_lost = False

    def begin(self, endpoint: Any) -> None:
        """A :class:`WSEndpoint` waits for the decision.

        Whoever sends the response itself passes it to ``endpoint.send_response(data)``, part
        by part, and decides on a :class:`SentResponse` at the end.
        """

    def resume_writing(self) -> None:
        """The write queue, of which ``send_response`` has said that it is full, has room again."""

    def lost(self) -> None:
        """Nobody waits any more: the peer has left, or ``websocket_handshake_timeout`` is over."""

    def decide(self, result: Any) -> None:
        """Respond with what a route returns: a listener or a response.

        A :class:`SentResponse` sends nothing and closes the connection. Has no effect after
        :meth:`lost` and after an earlier decision. Call it after :meth:`begin` has returned.
        """
        callback = self._callback
        self._callback = None
        if callback is not None:
            self._result = result
            callback(self)
            self._result = None

    # What an endpoint does with the task of an awaitable

    def __await__(self) -> Iterator[Any]:
        raise TypeError("a deferred response cannot be awaited: return it from a listener factory")

    def add_done_callback(self, callback: Callable[[DeferredResponse], object]) -> None:
        """Call ``callback`` with this object within :meth:`decide`."""
        self._callback = callback

    def result(self) -> Any:
        """The decision; only within the callback."""
        return self._result

    def exception(self) -> None:
        """A decision is no exception."""
        return

    def cancelled(self) -> bool:
        """Whether nobody waits any more."""
        return self._is_lost

    def cancel(self) -> None:
        """Nobody waits any more."""
        if not self._is_lost:
            self._is_lost = True
            self._callback = None
            self.lost()
