"""What ``connect`` returns."""

from __future__ import annotations

from types import TracebackType
from typing import Optional, Type

from picows_codec.calls import OpeningCall
from picows_codec.coroutines.connection import WSConnection

__all__ = ["ConnectCall"]


class ConnectCall(OpeningCall[WSConnection]):
    """A coroutine that opens a connection; ``async with`` closes it."""

    __slots__ = ()

    async def __aexit__(  # type: ignore[override]
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        connection = self._opened
        del self._opened  # it may refer to this object
        await connection.__aexit__(exc_type, exc, traceback)
