"""Every interop test runs plain and over TLS, on the backend of choice and on the loop's own."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any, Dict, Iterator

import pytest

from picows_server import create_ssl_context
from tests.support.certificates import Certificates

# What is sent, as text, as bytes of these sizes, and as one message that is large.
TEXTS = ["", "a", "plain ASCII", "żółw, 漢字, 🐢", "x" * 125, "y" * 126, "é" * 40_000]
SIZES = [0, 1, 125, 126, 127, 65_535, 65_536, 1_000_003]
LARGE = 8 * 1024 * 1024 + 1


@dataclass(frozen=True)
class Setting:
    """What carries the connections of a test; what is for TLS is None for plain sockets."""

    backend: str
    server_context: Any = None
    client_context: Any = None
    certificates: Any = None

    @property
    def scheme(self) -> str:
        return "ws" if self.server_context is None else "wss"

    @property
    def our_client(self) -> Dict[str, Any]:
        """Arguments for ws_connect."""
        return {"backend": self.backend, "ssl_context": self.client_context}

    @property
    def our_server(self) -> Dict[str, Any]:
        """Arguments for ws_create_server."""
        return {"backend": self.backend, "ssl_context": self.server_context}


@pytest.fixture(params=["plain-auto", "plain-loop", "tls-auto", "tls-loop"])
def setting(request: pytest.FixtureRequest, certificates: Certificates) -> Setting:
    security, _, backend = request.param.partition("-")
    if security == "plain":
        return Setting(backend)
    server_context: ssl.SSLContext = create_ssl_context(
        certificates.server_chain, certificates.server_key
    )
    return Setting(backend, server_context, certificates.client_context(), certificates)


@pytest.fixture(scope="session", autouse=True)
def node_is_stopped() -> Iterator[None]:
    """Node.js runs from the first test on that needs it; none may be left."""
    from tests.interop.node_ws import stop_node  # noqa: PLC0415  it imports this module

    yield
    stop_node()
