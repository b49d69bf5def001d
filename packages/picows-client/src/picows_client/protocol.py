"""The codec's endpoint as an asyncio protocol."""

from __future__ import annotations

import asyncio
import sys
from typing import Optional

from picows_codec import WSEndpoint

__all__ = ["ClientProtocol"]


class ClientProtocol(WSEndpoint, asyncio.BufferedProtocol):
    """A client's end of a connection."""

    __slots__ = ()

    @property
    def is_connected(self) -> bool:
        """True from ``connection_made`` to ``connection_lost``."""
        return self.transport is not None and self.transport.underlying_transport is not None

    if sys.version_info < (3, 11):  # pragma: no cover - depends on the version

        def connection_lost(self, exc: Optional[Exception]) -> None:
            below = self.transport.underlying_transport if self.transport is not None else None
            super().connection_lost(exc)
            if below is not None:
                # asyncio's TLS transports warn unless they are told to close.
                below.close()
