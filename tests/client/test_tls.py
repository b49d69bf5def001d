"""picows_client.tls: the context that is used when none is given."""

from __future__ import annotations

import ssl

import pytest

from picows_client import WSInvalidOptionError
from picows_client.tls import build_default_context, check_ssl_context, encoded_server_name


def test_default_context() -> None:
    context = build_default_context()
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context is not build_default_context()


def test_default_context_offers_http() -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = build_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    assert b"\x08http/1.1" in outgoing.read()


def test_check() -> None:
    check_ssl_context("ssl_context", None)
    check_ssl_context("ssl_context", ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    with pytest.raises(TypeError, match=r"must be an ssl\.SSLContext, not bool"):
        check_ssl_context("ssl_context", True)  # type: ignore[arg-type]
    with pytest.raises(WSInvalidOptionError, match="made for servers"):
        check_ssl_context("ssl_context", ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))


@pytest.mark.parametrize(
    ("name", "encoded"),
    [("example.org", "example.org"), ("żółw.example", "xn--w-uga1v8h.example")],
)
def test_server_name(name: str, encoded: str) -> None:
    assert encoded_server_name(name) == encoded


@pytest.mark.parametrize("name", ["ż..example", "ż" * 64])
def test_server_name_that_is_none(name: str) -> None:
    with pytest.raises(WSInvalidOptionError, match="is no host name"):
        encoded_server_name(name)
