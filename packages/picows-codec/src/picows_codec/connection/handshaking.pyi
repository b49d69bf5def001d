from asyncio import Future, Task
from collections.abc import Coroutine
from typing import Any

from typing_extensions import disjoint_base

from picows_codec.connection.closing import Closing
from picows_codec.http.upgrade import WSUpgradeRequest, WSUpgradeResponse
from picows_codec.listener import WSListener
from picows_codec.transport import WSTransport

@disjoint_base
class Handshaking(Closing):
    @property
    def opened(self) -> Future[tuple[WSTransport, WSListener]]: ...
    @property
    def request(self) -> WSUpgradeRequest | None: ...
    @property
    def response(self) -> WSUpgradeResponse | None: ...
    @property
    def subprotocol(self) -> str | None: ...
    def create_task(self, coroutine: Coroutine[Any, Any, object]) -> Task[object]: ...
    def send_response(self, data: bytes) -> bool: ...
