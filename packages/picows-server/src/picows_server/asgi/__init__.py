"""ASGI applications on this codec: behind uvicorn, or served by ``ws_create_server`` itself.

::

    uvicorn --ws picows_server.asgi:UvicornProtocol app:app

:class:`UvicornProtocol` is a WebSocket protocol for uvicorn. :func:`asgi_listener` serves the
WebSocket side of an application without uvicorn. uvicorn is not needed, nor imported, by either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from picows_codec.lazy_names import lazy_names

if TYPE_CHECKING:
    from picows_server.asgi.application import asgi_listener
    from picows_server.asgi.connection import ClientDisconnected
    from picows_server.asgi.lifespan import LifespanError
    from picows_server.asgi.uvicorn_protocol import UvicornProtocol
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "ClientDisconnected": "picows_server.asgi.connection",
            "LifespanError": "picows_server.asgi.lifespan",
            "UvicornProtocol": "picows_server.asgi.uvicorn_protocol",
            "asgi_listener": "picows_server.asgi.application",
        },
    )

__all__ = ["ClientDisconnected", "LifespanError", "UvicornProtocol", "asgi_listener"]
