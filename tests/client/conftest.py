"""What the client's tests share."""

from __future__ import annotations

import importlib.util
import ssl
import sys
from typing import Iterator

import pytest

from tests.support.certificates import Certificates
from tests.support.leaks import open_descriptors
from tests.support.loops import new_loop


@pytest.fixture(scope="session")
def server_context(certificates: Certificates) -> ssl.SSLContext:
    """TLS of a server with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server_chain, certificates.server_key)
    context.set_alpn_protocols(["http/1.1"])
    return context


@pytest.fixture(scope="session")
def client_context(certificates: Certificates) -> ssl.SSLContext:
    """TLS of a client that trusts the authority."""
    return certificates.client_context()


@pytest.fixture(scope="session")
def _libuv_started() -> None:
    """libuv keeps two pipes from its first loop to the end of the process."""
    if importlib.util.find_spec("uvloop"):
        new_loop("uvloop").close()


@pytest.fixture(autouse=True)
def _nothing_left_open(_libuv_started: None) -> Iterator[None]:
    """No test may leave a descriptor behind."""
    if sys.platform != "linux":
        yield
        return
    before = open_descriptors()
    yield
    assert open_descriptors() == before
