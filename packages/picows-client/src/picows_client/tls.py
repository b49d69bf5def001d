"""TLS of an outgoing connection: whom to trust, and by which name to call the server."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Optional

from picows_codec import WSInvalidOptionError

__all__ = ["TlsSettings", "check_ssl_context", "default_ssl_context"]


@dataclass(frozen=True)
class TlsSettings:
    """``server_name`` goes into SNI and is what the certificate must name.

    ``shutdown_timeout``: seconds that the peer has to answer TLS's own goodbye; None leaves it
    to the backend.
    """

    context: ssl.SSLContext
    server_name: str
    shutdown_timeout: Optional[float]


def default_ssl_context() -> ssl.SSLContext:
    """Make a context that trusts the system's authorities: TLS 1.2 or newer, ALPN http/1.1.

    Loading the authorities takes some tens of milliseconds; programs that connect often make
    one context and pass it as ``ssl_context``.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def check_ssl_context(name: str, context: Optional[ssl.SSLContext]) -> None:
    """Raise TypeError or WSInvalidOptionError unless a client can use ``context``."""
    if context is None:
        return
    if not isinstance(context, ssl.SSLContext):
        raise TypeError(f"{name} must be an ssl.SSLContext, not {type(context).__name__}")
    if context.protocol == ssl.PROTOCOL_TLS_SERVER:
        raise WSInvalidOptionError(f"{name} was made for servers (PROTOCOL_TLS_SERVER)")
