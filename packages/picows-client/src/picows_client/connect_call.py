"""What ``connect`` returns."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from types import TracebackType
from typing import Any, AsyncIterator, Callable, Coroutine, Dict, Optional, Type, Union

from picows_client.logs import Logger
from picows_codec import WSInvalidOptionError
from picows_codec.calls import OpeningCall
from picows_codec.coroutines.connection import WSConnection

__all__ = ["ConnectCall"]


class ConnectCall(OpeningCall[WSConnection]):
    """A coroutine that opens a connection; ``async with`` closes it, ``async for`` opens more.

    :param attempt: a coroutine function that opens a connection; it is told by ``is_iterated``
        whether there may be more.
    :param rules: the arguments of ``RedialRules`` by name, None for its default.
    :param is_used_up: whether the arguments serve a single attempt only.
    """

    __slots__ = ("_attempt", "_is_used_up", "_logger_name", "_rules")

    def __init__(
        self,
        attempt: Callable[..., Coroutine[Any, Any, WSConnection]],
        rules: Dict[str, Any],
        logger_name: Union[str, Logger, None],
        *,
        is_used_up: bool,
    ) -> None:
        super().__init__(attempt())
        self._attempt = attempt
        self._rules = rules
        self._logger_name = logger_name
        self._is_used_up = is_used_up

    async def __aexit__(  # type: ignore[override]
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        connection = self._opened
        del self._opened  # it may refer to this object
        await connection.__aexit__(exc_type, exc, traceback)

    def __aiter__(self) -> AsyncIterator[WSConnection]:
        self._take()
        self.close()  # the coroutine for a single connection
        if self._is_used_up:
            raise WSInvalidOptionError("sock is used up by one connection: write socket_factory=")
        # Not imported by those who connect once.
        module = import_module("picows_client.connections")
        iterator: AsyncIterator[WSConnection] = module.connections(
            partial(self._attempt, is_iterated=True), self._rules, self._logger_name
        )
        return iterator
