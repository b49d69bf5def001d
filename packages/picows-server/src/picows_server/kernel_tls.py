"""TLS of the kernel (kTLS): whether it can be used, and whether a connection uses it."""

from __future__ import annotations

import os
import ssl
import sys
from typing import Any, NamedTuple, Optional

from picows_codec import WSTransport

__all__ = ["WSKernelTls", "enable_kernel_tls", "kernel_tls_of"]

# Where Linux shows a module that is loaded.
_MODULE = "/sys/module/tls"


class WSKernelTls(NamedTuple):
    """Which directions of a connection the kernel encrypts: ``sends``, ``receives``."""

    sends: bool
    receives: bool


def kernel_tls_of(transport: WSTransport) -> WSKernelTls:
    """Whether the kernel encrypts what a connection sends, and decrypts what it receives.

    Both are False without TLS, with the event loop's TLS, and when the connection has ended. The
    kernel's TLS needs ``create_ssl_context(..., ktls=True)`` and a cipher that the kernel has; how
    it is with a connection is known when it is open. Call it in the thread of the event loop.
    """
    below: Any = transport.underlying_transport
    if below is None:
        return WSKernelTls(sends=False, receives=False)
    # Only aiofastnet's transports know these names.
    return WSKernelTls(
        sends=bool(below.get_extra_info("ktls_send_enabled")),
        receives=bool(below.get_extra_info("ktls_recv_enabled")),
    )


def enable_kernel_tls(context: ssl.SSLContext) -> Optional[str]:
    """Switch it on for a context's connections, or say why it cannot be."""
    option = getattr(ssl, "OP_ENABLE_KTLS", None)
    if option is None:
        return "it needs Python 3.12 and OpenSSL 3"
    if sys.platform != "linux":
        return "it needs Linux"
    if not os.path.exists(_MODULE):
        return "the kernel's module tls is not loaded (modprobe tls)"
    context.options |= option
    return None
