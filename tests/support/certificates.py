"""Certificates for TLS tests: an authority, a server and a client, as PEM files."""

from __future__ import annotations

import ssl
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Sequence

import pytest

__all__ = ["Certificates", "import_trustme", "issue_certificates"]

SERVER_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Certificates:
    """Paths of PEM files; ``*_chain`` files hold a certificate and, below it, no key."""

    authority: Path
    server_chain: Path
    server_key: Path
    client_chain: Path
    client_key: Path

    def server_context(self) -> ssl.SSLContext:
        """A context of a server, made without the library under test."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server_chain, self.server_key)
        return context

    def client_context(
        self, *, with_certificate: bool = False, alpn: Optional[Sequence[str]] = ("http/1.1",)
    ) -> ssl.SSLContext:
        """A context that trusts the authority; ``with_certificate`` shows the client's own."""
        context = ssl.create_default_context(cafile=str(self.authority))
        if alpn is not None:
            context.set_alpn_protocols(list(alpn))
        if with_certificate:
            context.load_cert_chain(self.client_chain, self.client_key)
        return context


def issue_certificates(directory: Path) -> Certificates:
    """Make an authority and let it sign a server's and a client's certificate."""
    authority = import_trustme().CA()
    server = authority.issue_cert(*SERVER_NAMES)
    client = authority.issue_cert("client@example.org")
    paths = Certificates(
        authority=directory / "authority.pem",
        server_chain=directory / "server.pem",
        server_key=directory / "server.key",
        client_chain=directory / "client.pem",
        client_key=directory / "client.key",
    )
    authority.cert_pem.write_to_path(str(paths.authority))
    _write_chain(server, paths.server_chain)
    server.private_key_pem.write_to_path(str(paths.server_key))
    _write_chain(client, paths.client_chain)
    client.private_key_pem.write_to_path(str(paths.client_key))
    return paths


def import_trustme() -> Any:
    """Return the package; skip the test where it is not installed."""
    with warnings.catch_warnings():
        # cryptography announces the end of Python 3.8 when it is imported there.
        warnings.simplefilter("ignore")
        return pytest.importorskip("trustme")


def _write_chain(leaf: Any, path: Path) -> None:
    path.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
