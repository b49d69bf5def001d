"""picows_codec.tls: which contexts aiofastnet carries, and what a failed handshake says."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, Callable, Dict, List, Optional, Tuple

import pytest

from picows_codec import WSInvalidOptionError
from picows_codec.tls import ContextCheck, FastnetLoop, describe_tls_failure, name_tls_failure


def test_a_plain_context() -> None:
    assert ContextCheck(ssl.SSLContext).why_not(ssl.create_default_context()) is None


class Replaced(ssl.SSLObject):
    pass


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda context: setattr(context, "sni_callback", lambda *_: None), "sni_callback is set"),
        (lambda context: setattr(context, "post_handshake_auth", True), "post_handshake_auth is"),
        (lambda context: setattr(context, "sslobject_class", Replaced), "was replaced"),
        (lambda context: setattr(context, "wrap_bio", context.wrap_bio), "was replaced"),
    ],
)
def test_what_aiofastnet_cannot_carry(
    change: Callable[[ssl.SSLContext], None], reason: str
) -> None:
    check = ContextCheck(ssl.SSLContext)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    check.check(context)
    change(context)
    assert reason in str(check.why_not(context))
    with pytest.raises(WSInvalidOptionError, match=f"cannot use the ssl_context: .*{reason}"):
        check.check(context)


def test_a_subclass_in_the_place_of_the_original() -> None:
    # As truststore does: its own SSL_CTX is inside, and the one that aiofastnet sees verifies
    # nothing.
    class Injected(ssl.SSLContext):
        pass

    check = ContextCheck(Injected)
    assert check.why_not(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)) is None
    assert "subclass" in str(check.why_not(Injected(ssl.PROTOCOL_TLS_CLIENT)))


@pytest.mark.skipif(
    not hasattr(ssl.SSLContext, "set_psk_client_callback"), reason="Python 3.13 and newer"
)
def test_psk_callbacks() -> None:
    check = ContextCheck(ssl.SSLContext)
    client: Any = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    server: Any = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client.set_psk_client_callback(lambda _: None)
    server.set_psk_server_callback(lambda _: None)
    for context in (client, server):
        assert check.why_not(context) == "a PSK callback is set"
    client.set_psk_client_callback(None)
    assert check.why_not(client) is None


def error_of(kind: Any, **attributes: Any) -> Any:
    error = kind()
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectionResetError(), "the peer closed the connection"),
        (ConnectionResetError(104, "Connection reset by peer"), "the peer closed the connection"),
        (BrokenPipeError(32, "Broken pipe"), "the peer closed the connection"),
        (ssl.SSLEOFError(8, "EOF"), "the peer closed the connection"),
        (error_of(ssl.SSLError, reason="UNEXPECTED_EOF_WHILE_READING"), "the peer closed"),
        (ConnectionAbortedError("it takes too long"), "it takes too long"),
        (TimeoutError(), "TimeoutError"),
        (
            error_of(ssl.SSLError, reason="HTTP_REQUEST"),
            "http request: the peer does not speak TLS",
        ),
        (
            error_of(ssl.SSLError, reason="SSL/TLS_ALERT_HANDSHAKE_FAILURE"),
            "sslv3 alert handshake failure",
        ),
        (
            error_of(
                ssl.SSLCertVerificationError,
                reason="CERTIFICATE_VERIFY_FAILED",
                verify_code=10,
                verify_message="certificate has expired",
            ),
            "certificate verify failed: certificate has expired",
        ),
    ],
)
def test_words(error: BaseException, text: str) -> None:
    assert describe_tls_failure(error).startswith(text)


def test_names() -> None:
    error = ConnectionResetError()
    name_tls_failure(error, "localhost:443", "localhost")
    assert str(error) == (
        "the TLS handshake with localhost:443 (expected name 'localhost') failed: "
        "the peer closed the connection"
    )
    numbered = ConnectionResetError(104, "Connection reset by peer")
    name_tls_failure(numbered, "localhost:443", "localhost")
    assert numbered.errno == 104
    assert str(numbered) == f"[Errno 104] {error}"


def test_loop_adapter() -> None:
    reports: List[Dict[str, Any]] = []
    watched: List[Tuple[int, Callable[[], object]]] = []

    class Loop:
        def call_exception_handler(self, context: Dict[str, Any]) -> None:
            reports.append(context)

        def time(self) -> float:
            return 1.0

        def add_reader(self, fd: int, callback: Callable[[], object]) -> None:
            watched.append((fd, callback))

        add_writer = remove_reader = remove_writer = add_reader

    adapted = FastnetLoop(Loop())
    assert adapted.time() == adapted.time() == 1.0
    adapted.call_exception_handler({"exception": ConnectionResetError})
    trouble = {"exception": ConnectionResetError()}
    adapted.call_exception_handler(trouble)
    assert reports == [trouble]

    calls: List[str] = []
    reasons: List[Optional[str]] = [None, "for a reason"]

    def callback() -> None:
        calls.append("read")

    def shake_hands() -> None:
        with adapted.guarding(3, lambda: reasons.pop(0), lambda: calls.append("stop")):
            adapted.add_reader(4, callback)
            assert watched.pop() == (4, callback)
            adapted.add_reader(3, callback)
            for _ in range(3):
                watched[0][1]()
            raise asyncio.CancelledError

    with pytest.raises(ConnectionAbortedError, match=r"for a reason$"):
        shake_hands()
    assert calls == ["read", "stop"]
    watched.pop()[1]()  # the first event after it
    assert calls == ["read", "stop", "read"]
    assert watched == [(3, callback)]
    adapted.add_writer(3, callback)
    assert watched.pop() == (3, callback)
