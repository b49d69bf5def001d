from collections.abc import Callable, Sequence
from typing import Any, final

from picows_codec.http.handshake import OpeningHandshake
from picows_codec.http.upgrade import WSUpgradeRequest
from picows_codec.options import WSOptions

__all__ = ["ServerHandshake"]

@final
class ServerHandshake(OpeningHandshake):
    def __init__(
        self,
        route: Callable[[WSUpgradeRequest], object],
        options: WSOptions,
        subprotocols: Sequence[str] = (),
        server: Callable[[], Any] | None = None,
        date: Callable[[], bytes | None] | None = None,
    ) -> None: ...
