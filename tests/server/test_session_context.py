"""picows_server.session_context: sessions of clients with certificates, on aiofastnet's engine.

That they are resumed is shown by test_tls_sessions.py.
"""

from __future__ import annotations

import ctypes
import ssl
import sys
from typing import Any

import pytest

from picows_server.session_context import set_session_context
from tests.support.servers import needs_aiofastnet

CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
needs_it = pytest.mark.skipif(sys.version_info < (3, 12), reason="the context has it already")


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="not before Python 3.12")
def test_where_the_context_has_it() -> None:
    assert not set_session_context(CONTEXT)


@needs_it
@needs_aiofastnet
def test_it_is_set() -> None:
    compat = pytest.importorskip("aiofastnet.openssl_compat")
    is_dynamic = compat.OPENSSL_DYN_LIBS is not None
    for _ in range(2):
        assert set_session_context(CONTEXT) is is_dynamic


@needs_it
@needs_aiofastnet
@pytest.mark.parametrize("change", ["static", "library", "function"])
def test_where_it_cannot_be_set(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server goes on: sessions are resumed where no client certificates are asked for."""

    def refuse(name: str) -> Any:
        raise OSError(name)

    if change == "static":
        monkeypatch.setattr("aiofastnet.openssl_compat.OPENSSL_DYN_LIBS", None)
    else:
        monkeypatch.setattr(ctypes, "CDLL", refuse if change == "library" else lambda name: None)
    assert not set_session_context(CONTEXT)
