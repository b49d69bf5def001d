"""picows_server.backend: which transports serve where, and what they do with a socket."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import sys
from typing import Any, Dict, List

import pytest

from picows_codec import ServerHandshake, WSEndpoint, WSOptions
from picows_codec.readiness import has_readers
from picows_server import WSInvalidOptionError, backend, create_ssl_context
from picows_server.backend import ServerTls, choose_backend
from tests.support.certificates import Certificates
from tests.support.leaks import eventually, leaked_since, open_descriptors
from tests.support.rawclient import RawClient, upgrade_request
from tests.support.servers import (
    PLAIN_BACKENDS,
    TLS_BACKENDS,
    needs_aiofastnet,
    needs_stream,
    quiet_logger,
)

LOGGER = quiet_logger()


class Endpoint(WSEndpoint, asyncio.BufferedProtocol):
    """Refuses every request with 404."""

    def __init__(self) -> None:
        options = WSOptions()
        super().__init__(
            options,
            ServerHandshake(lambda request: None, options=options),
            asyncio.get_running_loop(),
            logging.getLogger("picows.test"),
        )


class LoopWithoutReaders(asyncio.AbstractEventLoop):
    """What a proactor loop looks like."""


def tls_settings(certificates: Certificates) -> ServerTls:
    context = create_ssl_context(certificates.server_chain, certificates.server_key)
    return ServerTls(context, 1.0)


def accepted_pair() -> Any:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        accepted, _ = listening.accept()
    client.setblocking(False)
    accepted.setblocking(False)
    return accepted, client


@needs_stream
async def test_auto_is_stream_for_plain_sockets() -> None:
    chosen = choose_backend("auto", asyncio.get_running_loop(), None, LOGGER)
    assert chosen.name == "stream"
    chosen.close()
    chosen.close()


async def test_auto_for_tls(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, tls = asyncio.get_running_loop(), tls_settings(certificates)
    for available, name in ((True, "aiofastnet"), (False, "loop")):
        monkeypatch.setattr(backend, "HAS_AIOFASTNET", available)
        chosen = choose_backend("auto", loop, tls, LOGGER)
        assert chosen.name == name
        chosen.close()


def test_auto_without_readers(certificates: Certificates) -> None:
    loop = LoopWithoutReaders()
    assert not has_readers(loop)
    assert choose_backend("auto", loop, None, LOGGER).name == "loop"
    expected = "aiofastnet" if backend.HAS_AIOFASTNET else "loop"
    assert choose_backend("auto", loop, tls_settings(certificates), LOGGER).name == expected


def test_auto_without_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "HAS_STREAM", False)
    assert choose_backend("auto", LoopWithoutReaders(), None, LOGGER).name == "loop"


async def test_what_is_not_available_says_why(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(WSInvalidOptionError, match="not TLS"):
        choose_backend("stream", loop, tls_settings(certificates), LOGGER)
    with pytest.raises(WSInvalidOptionError, match="LoopWithoutReaders cannot watch sockets"):
        choose_backend("stream", LoopWithoutReaders(), None, LOGGER)
    monkeypatch.setattr(backend, "HAS_STREAM", False)
    with pytest.raises(WSInvalidOptionError, match="on this platform"):
        choose_backend("stream", loop, None, LOGGER)
    monkeypatch.setattr(backend, "HAS_AIOFASTNET", False)
    with pytest.raises(WSInvalidOptionError, match="not installed"):
        choose_backend("aiofastnet", loop, None, LOGGER)
    with pytest.raises(WSInvalidOptionError, match="not 'uvloop'"):
        choose_backend("uvloop", loop, None, LOGGER)


@pytest.mark.parametrize("name", PLAIN_BACKENDS)
async def test_plain_socket(name: str) -> None:
    before = open_descriptors()
    chosen = choose_backend(name, asyncio.get_running_loop(), None, LOGGER)
    accepted, client = accepted_pair()
    connecting = chosen.connect(accepted, Endpoint())
    if connecting is not None:
        await connecting
    reader, writer = await asyncio.open_connection(sock=client)
    async with RawClient(reader, writer) as raw:
        assert (await raw.upgrade()).status == 404
        assert await raw.read_to_end() == b""
    await eventually(lambda: accepted.fileno() == -1)
    chosen.close()
    assert not leaked_since(before)


async def shake_hands_and_ask(chosen: backend.Backend, certificates: Certificates) -> None:
    accepted, client = accepted_pair()
    connecting = chosen.connect(accepted, Endpoint())
    assert connecting is not None
    task = asyncio.ensure_future(connecting)
    reader, writer = await asyncio.open_connection(
        sock=client, ssl=certificates.client_context(), server_hostname="localhost"
    )
    async with RawClient(reader, writer) as raw:
        assert (await raw.upgrade()).status == 404
        assert await raw.read_to_end() == b""
    await task


@pytest.mark.parametrize("name", TLS_BACKENDS)
async def test_tls_socket(name: str, certificates: Certificates) -> None:
    before = open_descriptors()
    chosen = choose_backend(name, asyncio.get_running_loop(), tls_settings(certificates), LOGGER)
    await shake_hands_and_ask(chosen, certificates)
    chosen.close()
    await eventually(lambda: not leaked_since(before))


@needs_aiofastnet
async def test_tls_context_that_is_changed_while_it_serves(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    """The loop stands in for aiofastnet, which is said once."""
    tls = tls_settings(certificates)
    logger = logging.getLogger("picows.test_backend")
    chosen = choose_backend("auto", asyncio.get_running_loop(), tls, logger)
    await shake_hands_and_ask(chosen, certificates)
    assert not caplog.records
    names: List[Any] = []
    tls.context.sni_callback = lambda _, name, __: names.append(name)
    for _ in range(2):
        await shake_hands_and_ask(chosen, certificates)
    chosen.close()
    assert names == ["localhost"] * 2
    (record,) = caplog.records
    assert "sni_callback is set" in record.getMessage()
    # A server that starts now says it for itself.
    chosen = choose_backend("auto", asyncio.get_running_loop(), tls, logger)
    assert type(chosen) is backend.LoopBackend
    assert len(caplog.records) == 2


@pytest.mark.parametrize("name", TLS_BACKENDS)
async def test_bytes_that_are_not_tls(name: str, certificates: Certificates) -> None:
    chosen = choose_backend(name, asyncio.get_running_loop(), tls_settings(certificates), LOGGER)
    accepted, client = accepted_pair()
    connecting = chosen.connect(accepted, Endpoint())
    assert connecting is not None
    client.send(upgrade_request())
    with pytest.raises(ssl.SSLError):
        await connecting
    await eventually(lambda: accepted.fileno() == -1)
    client.close()
    chosen.close()


@pytest.mark.parametrize("name", TLS_BACKENDS)
async def test_peer_that_hangs_up_during_the_tls_handshake(
    name: str, certificates: Certificates
) -> None:
    # The loop's exception handler must not hear of it: the runner of these tests checks that.
    chosen = choose_backend(name, asyncio.get_running_loop(), tls_settings(certificates), LOGGER)
    accepted, client = accepted_pair()
    connecting = chosen.connect(accepted, Endpoint())
    assert connecting is not None
    task = asyncio.ensure_future(connecting)
    await asyncio.sleep(0.01)
    client.close()
    with pytest.raises(ConnectionError):
        await task
    await eventually(lambda: accepted.fileno() == -1)
    chosen.close()


@needs_aiofastnet
@pytest.mark.skipif(sys.platform == "win32", reason="a proactor loop is used as it is")
async def test_other_troubles_of_transports_are_reported() -> None:
    reports: List[Dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    chosen: Any = choose_backend("aiofastnet", loop, None, LOGGER)
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: reports.append(context))
    trouble = {"message": "trouble", "exception": LookupError()}
    chosen._loop.call_exception_handler(trouble)
    loop.set_exception_handler(handler)
    assert reports == [trouble]
    chosen.close()
