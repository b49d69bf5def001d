from typing import Callable, Iterable, Mapping, final

from typing_extensions import TypeAlias

from picows_codec.http.handshake import OpeningHandshake
from picows_codec.http.upgrade import WSUpgradeRequest, WSUpgradeResponse
from picows_codec.options import WSOptions

__all__ = ["ClientHandshake"]

_Headers: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]] | None

@final
class ClientHandshake(OpeningHandshake):
    @property
    def request(self) -> WSUpgradeRequest: ...
    def __init__(
        self,
        target: str,
        host_header: str,
        listener_factory: Callable[[WSUpgradeRequest, WSUpgradeResponse], object],
        options: WSOptions,
        extra_headers: _Headers = None,
        subprotocols: Iterable[str] = (),
    ) -> None: ...
