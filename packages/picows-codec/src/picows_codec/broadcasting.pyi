from collections.abc import Iterable
from typing import Protocol

from typing_extensions import Buffer

from picows_codec.prepared import WSPreparedMessage
from picows_codec.transport import WSTransport

class _HasTransport(Protocol):
    @property
    def transport(self) -> WSTransport | None: ...

def broadcast(
    transports: Iterable[WSTransport | _HasTransport | None],
    message: WSPreparedMessage | Buffer | str,
) -> int: ...
