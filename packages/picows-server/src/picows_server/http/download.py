"""``FileDownload``: a file, or another large body, as a response that is sent in pieces."""

from __future__ import annotations

import asyncio
import inspect
from io import BytesIO
from typing import Any, Awaitable, BinaryIO, Optional, Union

from picows_codec import (
    WSListener,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)
from picows_codec.deferred_response import DeferredResponse, SentResponse
from picows_codec.http.upgrade import encode_response_head
from picows_server.logs import Logger, resolve_logger
from picows_server.response_date import response_date
from picows_server.routing import Decision, Route, RouteResult

__all__ = ["PIECE", "FileDownload", "FileResponse", "logger_of", "with_large_in_pieces"]

# Bytes that are read in one iteration of the loop, which waits for the disk meanwhile.
PIECE = 65536

FileResponse = Union[WSUpgradeResponse, DeferredResponse, None]


def logger_of(request: WSUpgradeRequest) -> Logger:
    """The logger of the server that got the request."""
    server = request.server
    logger: Logger = resolve_logger(None) if server is None else server.logger
    return logger


class FileDownload(DeferredResponse):
    """Sends the first ``size`` bytes of ``file``, and closes it; for HEAD, only the head.

    It reads on only while the write queue is below its high watermark. A client that does not take
    what is queued within ``stall_timeout`` is disconnected; and so is one whose file has become
    shorter, because there is no other way to tell it. ``logger`` gets a line for that.
    """

    __slots__ = ("_end_of", "_endpoint", "_file", "_handle", "_head", "_left", "_logger", "_loop")

    is_for_upgrades = False

    def __init__(
        self,
        response: WSUpgradeResponse,
        file: BinaryIO,
        size: int,
        *,
        is_head: bool,
        logger: Logger,
    ) -> None:
        super().__init__()
        self._head = encode_response_head(response, size, response_date())
        self._end_of = SentResponse(response.status, response.reason)
        self._file = file
        self._left = 0 if is_head else size
        self._logger = logger
        self._endpoint: Any = None
        self._handle: Optional[asyncio.Handle] = None

    def begin(self, endpoint: Any) -> None:
        """Send the head now, so that a client which ends its side at once gets the rest, too."""
        self._endpoint = endpoint
        self._loop = asyncio.get_running_loop()
        try:
            self._send(self._head)
        except BaseException:
            self._end()
            raise

    def resume_writing(self) -> None:
        """There is room again."""
        self._soon()

    def lost(self) -> None:
        """The client has left, or was too slow."""
        self._end()

    def _soon(self) -> None:
        if self._handle is None:
            self._handle = self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._handle = None
        if not self._left:
            self._end()
            self.decide(self._end_of)
            return
        try:
            data = self._read()
        except OSError as error:
            fields = self._endpoint.log_fields()
            # The disk's fault, not the code's: no traceback
            self._logger.error(  # noqa: TRY400
                "%s: %r could not be sent: %s", fields["peer"], self._file.name, error, extra=fields
            )
            self._endpoint.disconnect(False, b"")
            return
        self._send(data)

    def _send(self, data: bytes) -> None:
        if self._endpoint.send_response(data):
            self._soon()

    def _read(self) -> bytes:
        data = self._file.read(min(self._left, PIECE))
        if not data:
            raise OSError("it has become shorter meanwhile")
        self._left -= len(data)
        return data

    def _end(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._endpoint = None
        self._file.close()


def with_large_in_pieces(route: Route) -> Route:
    """Make a route that sends the large responses of another one in pieces.

    Queued at once, they would be cut off ``close_timeout`` seconds later, although their clients
    read on.
    """

    def respond(request: WSUpgradeRequest) -> RouteResult:
        result = route(request)
        if isinstance(result, (WSListener, DeferredResponse)):
            return result
        if inspect.isawaitable(result):
            return _later_in_pieces(request, result)
        return _in_pieces(request, result)

    return respond


def _in_pieces(request: WSUpgradeRequest, result: Decision) -> Decision:
    response = result
    if isinstance(result, WSUpgradeResponseWithListener) and result.listener is None:
        response = result.response
    if not isinstance(response, WSUpgradeResponse):
        return result
    body = response.body
    if body is None or len(body) <= PIECE or request.method == "HEAD":
        return result
    return FileDownload(
        response, BytesIO(body), len(body), is_head=False, logger=logger_of(request)
    )


async def _later_in_pieces(request: WSUpgradeRequest, awaitable: Awaitable[Decision]) -> Decision:
    return _in_pieces(request, await awaitable)
