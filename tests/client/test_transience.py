"""picows_client.transience: what is worth another attempt."""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any, Callable, List, Optional

import pytest

from picows_client import (
    WSURL,
    WSCloseInfo,
    WSDisconnectCause,
    WSDisconnectKind,
    WSHandshakeTimeout,
    WSInvalidHeaderError,
    WSInvalidMessageError,
    WSInvalidOptionError,
    WSInvalidStatusError,
    WSInvalidURL,
    WSListener,
    WSProxyError,
    WSStateError,
    WSTransport,
    WSUpgradeResponse,
    ws_keep_connected,
)
from picows_client.transience import is_transient, looks_like_own_fault, retry_after_of
from picows_codec import WSOptions
from tests.client.exchange import serve_echo
from tests.support.rawpeer import raw_peer

Run = Callable[..., Any]


def refusal(status: int, **headers: str) -> WSInvalidStatusError:
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    response = WSUpgradeResponse.create_error_response(status, b"", pairs)
    return WSInvalidStatusError("refused", None, None, response, status)


def proxy_error(cause: Exception) -> WSProxyError:
    error = WSProxyError("x")
    error.__cause__ = cause
    return error


def peer_close(code: int) -> WSDisconnectCause:
    return WSDisconnectCause(WSDisconnectKind.PEER_CLOSE, close=WSCloseInfo(code, ""))


@pytest.mark.parametrize(
    "outcome",
    [
        WSInvalidURL("x", "y"),
        WSInvalidOptionError("x"),
        TypeError("x"),
        ssl.SSLCertVerificationError("x"),
        proxy_error(ssl.SSLCertVerificationError("x")),
        *(refusal(status) for status in (400, 401, 403, 404, 405, 410, 426)),
    ],
    ids=repr,
)
def test_lasting(outcome: Any) -> None:
    assert not is_transient(outcome)


@pytest.mark.parametrize(
    "outcome",
    [
        ConnectionRefusedError(),
        OSError("no route"),
        ssl.SSLError("handshake failure"),
        WSHandshakeTimeout("x"),
        WSInvalidHeaderError("x", "Upgrade"),
        WSInvalidMessageError("x"),
        WSProxyError("x", 407),
        KeyError("a callback's"),
        WSStateError("a link that is away"),
        proxy_error(ssl.SSLError("handshake failure")),
        *(refusal(status) for status in (408, 425, 429, 500, 502, 503, 504)),
        *(WSDisconnectCause(kind) for kind in WSDisconnectKind),
        *(peer_close(code) for code in (1000, 1001, 1002, 1005, 1008, 1011, 1012, 4000)),
    ],
    ids=repr,
)
def test_transient(outcome: Any) -> None:
    assert is_transient(outcome)


def raised_by(function: Callable[..., Any], *arguments: Any) -> Exception:
    with pytest.raises((TypeError, WSInvalidOptionError)) as caught:
        function(*arguments)
    return caught.value


def test_wrong_types() -> None:
    """Those of an argument last; those in a function of the caller's depend on what it met."""

    def token(answer: Any) -> Any:
        return answer["token"]

    assert not is_transient(raised_by(WSURL.parse, 3))
    assert not is_transient(raised_by(lambda: WSOptions(max_frame_size="1")))
    assert is_transient(raised_by(token, None))


class Mistaken(WSListener):
    def __init__(self, mistake: Callable[[], Any]) -> None:
        self.mistake = mistake

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.mistake()


@pytest.mark.parametrize(
    "mistake",
    [lambda: len(3), lambda: WSURL.parse(3), lambda: WSOptions(max_frame_size=-1)],  # type: ignore[arg-type]
    ids=["TypeError", "TypeError of the library", "WSInvalidOptionError"],
)
def test_mistakes_of_functions_and_callbacks(run: Run, mistake: Callable[[], Any]) -> None:
    """They are worth another attempt, wherever they are made."""
    outcomes: List[Any] = []

    async def attempts(url: str) -> None:
        def retry(outcome: Any) -> bool:
            outcomes.append((type(outcome), is_transient(outcome)))
            return False

        def makes_listener() -> WSListener:
            mistake()
            return WSListener()

        async def makes_headers() -> Any:
            mistake()

        for arguments in [
            (lambda: mistake() or url, WSListener, {}),
            (url, lambda: Mistaken(mistake), {}),
            (url, makes_listener, {}),
            (url, WSListener, {"extra_headers": makes_headers}),
            (url, WSListener, {"socket_factory": lambda _: mistake()}),
        ]:
            link: Any = ws_keep_connected(arguments[0], arguments[1], retry=retry, **arguments[2])
            with pytest.raises((TypeError, WSInvalidOptionError)):
                async with link:
                    await link.wait_closed()

    async def main() -> None:
        async with raw_peer(serve_echo) as peer:
            await attempts(peer.url())

    run(main)
    assert len(outcomes) == 5
    assert all(is_to_retry for _, is_to_retry in outcomes), outcomes


@pytest.mark.parametrize(
    "options",
    [
        {"extra_headers": {"A": 1}},
        {"extra_headers": 3},
        {"subprotocols": [3]},
        {"max_frame_size": "1"},
        {"max_frame_size": -1},
        {"proxy": 3},
        {"ssl_context": 3},
        {"local_addr": 3},
    ],
    ids=repr,
)
def test_wrong_options(run: Run, options: Any) -> None:
    outcomes: List[Any] = []

    def retry(outcome: Any) -> bool:
        outcomes.append((outcome, is_transient(outcome)))
        return False

    async def main() -> None:
        async with raw_peer(serve_echo) as peer:
            with pytest.raises((TypeError, WSInvalidOptionError)):
                async with ws_keep_connected(
                    peer.url(), WSListener, retry=retry, **options
                ) as link:
                    await link.wait_closed()

    run(main)
    [(outcome, is_to_retry)] = outcomes
    assert not is_to_retry, outcome


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1008, 1009, 1010, 4000, 4999])
def test_complaints(code: int) -> None:
    assert looks_like_own_fault(peer_close(code))


@pytest.mark.parametrize("code", [1000, 1001, 1005, 1011, 1012, 1013, 3000, 3999])
def test_no_complaints(code: int) -> None:
    assert not looks_like_own_fault(peer_close(code))
    sent = WSCloseInfo(1002, "")  # by this side
    assert not looks_like_own_fault(WSDisconnectCause(WSDisconnectKind.PROTOCOL_ERROR, close=sent))
    assert not looks_like_own_fault(OSError())


@pytest.mark.parametrize(
    ("status", "value", "expected"),
    [
        (429, "7", 7.0),
        (503, " 120 ", 120.0),
        (503, "9" * 400, 1e18),
        (503, "0", 0.0),
        (503, "-5", None),
        (503, "soon", None),
        (503, "", None),
        (503, "٣", None),
        (500, "7", None),
        (404, "7", None),
        (503, "Fri, 31 Dec 1999 23:59:59 GMT", 0.0),
        (503, "Fri, 31 Dec 1999 23:59:59 -0000", 0.0),
        (503, "Fri, 31 Dec 1999 23:59:59 +9999", None),
        (503, "Fri, 31 Dec 1999 23:59:59 +99999999999999999999", None),
        (503, "Fri, 31 Dec 99999999999999 23:59:59 GMT", None),
        (503, "1 1 1 1 1", None),
        (503, " ,", None),
    ],
)
def test_retry_after(status: int, value: str, expected: Optional[float]) -> None:
    error = WSInvalidStatusError("refused", None, None, None, status)
    error.response = Response({"Retry-After": value})  # type: ignore[assignment]
    assert retry_after_of(error) == expected


class Response:
    """Only headers, with values that a response of ours could not have."""

    def __init__(self, headers: Any) -> None:
        self.headers = headers


def test_retry_after_a_moment() -> None:
    moment = datetime.now(timezone.utc) + timedelta(seconds=90)
    seconds = retry_after_of(refusal(503, Retry_After=format_datetime(moment, usegmt=True)))
    assert seconds is not None
    assert 60 < seconds <= 90


def test_nothing_to_retry_after() -> None:
    assert retry_after_of(refusal(503)) is None
    assert retry_after_of(OSError()) is None
    assert retry_after_of(peer_close(1013)) is None
