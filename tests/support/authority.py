"""An authority that issues certificates when a test wants one: names, kinds of keys, dates."""

from __future__ import annotations

import contextlib
import datetime as dt
import ssl
from inspect import signature
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

import pytest

from tests.support.certificates import import_trustme

__all__ = ["Authority"]


class Authority:
    """Writes pairs of PEM files into ``directory``: a certificate with its chain, and its key."""

    def __init__(self, directory: Path) -> None:
        self._trustme = import_trustme()
        self._ca = self._trustme.CA()
        self._directory = directory
        self._count = 0

    def pair(
        self,
        *names: str,
        kind: str = "ECDSA",
        begin: Optional[dt.datetime] = None,
        end: Optional[dt.datetime] = None,
    ) -> Tuple[Path, Path]:
        """Issue a certificate for ``names``; ``begin`` and ``end`` limit it."""
        dates: Dict[str, Any] = {}
        if begin is not None and "not_before" not in signature(self._ca.issue_cert).parameters:
            pytest.skip("this trustme cannot choose the first day")
        if begin is not None:
            dates["not_before"] = begin
        if end is not None:
            dates["not_after"] = end
        kinds = self._trustme.KeyType
        leaf = self._ca.issue_cert(*names, key_type=getattr(kinds, kind), **dates)
        self._count += 1
        chain = self._directory / f"{self._count}.pem"
        key = self._directory / f"{self._count}.key"
        chain.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        key.write_bytes(leaf.private_key_pem.bytes())
        return chain, key

    def server_context(self, *names: str) -> ssl.SSLContext:
        """A context for servers with a new certificate, made without the library under test."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.pair(*names))
        return context

    def name_shown(self, context: ssl.SSLContext, ciphers: Optional[str] = None) -> str:
        """The name in the certificate that clients of a context get, by a handshake in memory.

        ``ciphers`` of TLS 1.2 choose the kind of certificate.
        """
        client = self.client_context(checks_name=False)
        if ciphers is not None:
            client.maximum_version = ssl.TLSVersion.TLSv1_2
            client.set_ciphers(ciphers)
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        ends = (
            client.wrap_bio(to_client, to_server),
            context.wrap_bio(to_server, to_client, server_side=True),
        )
        for end in 3 * ends:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
        certificate: Any = ends[0].getpeercert()
        return str(certificate["subjectAltName"][0][1])

    def client_context(self, *, checks_name: bool = True) -> ssl.SSLContext:
        """A context that trusts this authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._ca.configure_trust(context)
        context.check_hostname = checks_name
        return context
