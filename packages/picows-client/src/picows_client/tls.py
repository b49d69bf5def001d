"""TLS of an outgoing connection: whom to trust, and by which name to call the server."""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Iterator, Optional

from picows_codec import WSInvalidOptionError
from picows_codec.tls import name_tls_failure

__all__ = [
    "ClientTls",
    "build_default_context",
    "check_ssl_context",
    "encoded_server_name",
    "naming_failures",
]


@dataclass(frozen=True)
class ClientTls:
    """TLS to one peer; ``server_name`` goes into SNI, and the certificate must name it.

    ``shutdown_timeout``: seconds for the peer's close_notify after ours; None leaves it to the
    backend. ``peer``: host and port, as errors name them.
    """

    context: ssl.SSLContext
    server_name: str
    shutdown_timeout: Optional[float]
    peer: str


@contextmanager
def naming_failures(tls: Optional[ClientTls]) -> Iterator[None]:
    """Let errors of a TLS handshake name host, port and the expected name."""
    try:
        yield
    except OSError as error:
        if tls is not None:
            name_tls_failure(error, tls.peer, tls.server_name)
        raise


def encoded_server_name(name: str) -> str:
    """Write a name as SNI and certificates do (RFC 5890), because not every backend does so.

    Raises :class:`WSInvalidOptionError`.
    """
    try:
        return name if name.isascii() else name.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise WSInvalidOptionError(f"server_hostname {name!r} is no host name: {error}") from error


def build_default_context() -> ssl.SSLContext:
    """Make a context that trusts the system's authorities: TLS 1.2 or newer, ALPN http/1.1.

    Loading the authorities takes some tens of ms, so :mod:`picows_client.trust` keeps the context.
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
