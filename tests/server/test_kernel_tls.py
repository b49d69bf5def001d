"""picows_server.kernel_tls: TLS of the kernel, where there is one."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import sys
from typing import Any, List

import pytest

from picows_server import WSKernelTls, create_ssl_context, kernel_tls_of
from picows_server import kernel_tls as room
from tests.support.certificates import Certificates
from tests.support.rawclient import RawClient
from tests.support.servers import Echo, echo, serving, sockname, tls_backends

OPTION = getattr(ssl, "OP_ENABLE_KTLS", None)
HAS_MODULE = os.path.exists("/sys/module/tls")


def context_of(certificates: Certificates, **options: Any) -> ssl.SSLContext:
    return create_ssl_context(certificates.server_chain, certificates.server_key, **options)


def test_not_asked_for(certificates: Certificates) -> None:
    context = context_of(certificates)
    assert OPTION is None or not context.options & OPTION


@pytest.mark.parametrize("ktls", [None, 1, "yes"])
def test_it_is_a_flag(certificates: Certificates, ktls: Any) -> None:
    with pytest.raises(TypeError, match="ktls must be a bool"):
        context_of(certificates, ktls=ktls)


def test_option_and_module(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    flag = OPTION or 8  # SSL_OP_ENABLE_KTLS of OpenSSL 3
    monkeypatch.setattr(ssl, "OP_ENABLE_KTLS", flag, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(room, "_MODULE", os.curdir)
    assert context_of(certificates, ktls=True).options & flag
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("option", "it needs Python 3.12 and OpenSSL 3"),
        ("platform", "it needs Linux"),
        ("module", r"the kernel's module tls is not loaded (modprobe tls)"),
    ],
)
def test_what_is_missing(
    change: str,
    reason: str,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One warning says why, and the context is as without."""
    monkeypatch.setattr(ssl, "OP_ENABLE_KTLS", OPTION or 8, raising=False)
    if change == "option":
        monkeypatch.delattr(ssl, "OP_ENABLE_KTLS")
    else:
        monkeypatch.setattr(sys, "platform", "linux" if change == "module" else "darwin")
    monkeypatch.setattr(room, "_MODULE", "/nothing/tls")
    context = context_of(certificates, ktls=True)
    assert not context.options & (OPTION or 8)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == f"ktls=True has no effect: {reason}"


@tls_backends
async def test_a_connection(backend: str, certificates: Certificates) -> None:
    """Whatever this machine has, the answer is that of the socket."""
    seen: List[Any] = []

    class Listener(Echo):
        def on_ws_connected(self, transport: Any) -> None:
            seen.append((transport, kernel_tls_of(transport)))

    context = context_of(certificates, ktls=True)
    async with serving(
        Listener, "wss://127.0.0.1:0", ssl_context=context, backend=backend
    ) as server:
        client_context = certificates.client_context()
        async with await RawClient.open(sockname(server), context=client_context) as client:
            await echo(client)
            ((transport, found),) = seen
            assert isinstance(found, WSKernelTls)
            below = transport.underlying_transport
            sends = bool(below.get_extra_info("ktls_send_enabled"))
            assert found == (sends, bool(below.get_extra_info("ktls_recv_enabled")))
            if backend == "loop" or not HAS_MODULE:
                assert found == (False, False)
        await asyncio.wait_for(transport.wait_disconnected(), 10)
        assert kernel_tls_of(transport) == (False, False)


async def test_a_plain_connection() -> None:
    seen: List[Any] = []

    class Listener(Echo):
        def on_ws_connected(self, transport: Any) -> None:
            seen.append(kernel_tls_of(transport))

    async with serving(Listener) as server, await RawClient.open(sockname(server)) as client:
        await echo(client)
    assert seen == [(False, False)]


def test_what_a_transport_says() -> None:
    class Below:
        def get_extra_info(self, name: str, default: Any = None) -> Any:
            return {"ktls_send_enabled": True, "ktls_recv_enabled": False}.get(name, default)

    class Transport:
        underlying_transport = Below()

    transport: Any = Transport()
    assert kernel_tls_of(transport) == WSKernelTls(sends=True, receives=False)
