from asyncio import AbstractEventLoop, BaseTransport, Future
from collections.abc import Callable
from logging import Logger, LoggerAdapter
from typing import Any, SupportsIndex

from typing_extensions import Buffer, disjoint_base

from picows_codec.handshake import OpeningHandshake
from picows_codec.liveness import Liveness
from picows_codec.options import WSOptions
from picows_codec.transport import WSListener, WSTransport

@disjoint_base
class WSEndpoint(Liveness):
    def __init__(
        self,
        options: WSOptions,
        handshake: OpeningHandshake,
        loop: AbstractEventLoop,
        logger: Logger | LoggerAdapter[Any],
        *,
        clock: Callable[[], float] | None = None,
        shared_reads: bool = True,
        handshake_deadline: float | None = None,
        remote_address: object = None,
    ) -> None: ...
    @property
    def transport(self) -> WSTransport | None: ...
    @property
    def listener(self) -> WSListener | None: ...
    @property
    def opened(self) -> Future[tuple[WSTransport, WSListener]]: ...
    def connection_made(self, transport: BaseTransport) -> None: ...
    def get_buffer(self, sizehint: SupportsIndex) -> memoryview: ...
    def buffer_updated(self, nbytes: SupportsIndex) -> None: ...
    def data_received(self, data: Buffer) -> None: ...
    def eof_received(self) -> bool: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...
