from __future__ import annotations

from typing import Any, Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from picows_codec.errors import WSInvalidOptionError
from picows_codec.http.client_handshake import ClientHandshake
from picows_codec.http.upgrade import WSUpgradeResponse, WSUpgradeResponseWithListener
from picows_codec.options import WSOptions
from tests.support.handshakes import LISTENER, make_server, request_head


def pass_to_client(headers: Any) -> bytes:
    return ClientHandshake(
        "/", "a", lambda request, response: None, extra_headers=headers, options=WSOptions()
    ).to_send


def pass_to_response(headers: Any) -> bytes:
    return WSUpgradeResponse.create_ok_response(extra_headers=headers).to_bytes()


def pass_to_accepting_response(headers: Any) -> bytes:
    response = WSUpgradeResponse.create_101_response(headers)
    server = make_server(lambda request: WSUpgradeResponseWithListener(response, LISTENER))
    server.feed_data(request_head())
    assert server.accepted
    return server.to_send


Pass = Callable[[Any], bytes]


@pytest.fixture(params=[pass_to_client, pass_to_response, pass_to_accepting_response])
def pass_headers(request: pytest.FixtureRequest) -> Pass:
    return request.param


@pytest.mark.parametrize(
    "headers",
    [
        {"A": "1", "B": "2"},
        [("A", "1"), ("B", "2")],
        (["A", "1"], ["B", "2"]),
        {"A": "1", "B": "2"}.items(),
        CIMultiDict([("A", "1"), ("B", "2")]),
        CIMultiDictProxy(CIMultiDict([("A", "1"), ("B", "2")])),
    ],
)
def test_extra_headers(pass_headers: Pass, headers: Any) -> None:
    assert b"\r\nA: 1\r\nB: 2\r\n" in pass_headers(headers)


def test_extra_headers_of_an_iterator(pass_headers: Pass) -> None:
    assert b"\r\nA: 1\r\nA: 2\r\n" in pass_headers(iter([("A", "1"), ("A", "2")]))


def test_no_extra_headers(pass_headers: Pass) -> None:
    assert pass_headers(None).count(b":") == pass_headers({}).count(b":")


@pytest.mark.parametrize("name", ["Authorization", "Origin", "User-Agent", "Cookie", "X-Upgrade"])
def test_headers_that_are_free(pass_headers: Pass, name: str) -> None:
    value = "a\tb \u00fc\udcff"
    line = f"\r\n{name}: {value}\r\n".encode("utf-8", "surrogateescape")
    assert line in pass_headers({name: value})


@pytest.mark.parametrize(
    "name",
    [
        "Upgrade",
        "connection",
        "CONTENT-LENGTH",
        "Transfer-Encoding",
        "Sec-WebSocket-Key",
        "sec-websocket-version",
        "Sec-WebSocket-Accept",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions",
        "Sec-WebSocket-Whatever",
    ],
)
def test_headers_of_the_library(pass_headers: Pass, name: str) -> None:
    with pytest.raises(WSInvalidOptionError, match=f"'{name}' is set by the library"):
        pass_headers({name: "a"})


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "a b",
        "a:",
        "a ",
        " a",
        "a\r\nb",
        "a\nb",
        "a\r",
        "a\x00",
        "\u00fc",
        "\udcff",
        "a\u212a",
    ],
)
def test_invalid_header_name(pass_headers: Pass, name: str) -> None:
    with pytest.raises(WSInvalidOptionError, match="not a header name") as caught:
        pass_headers([(name, "1")])
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        "a\r\nb: c",
        "a\nb: c",
        "a\rb: c",
        "\r\n",
        "\n",
        "\r\n\r\n",
        "a\x00",
        "\x7f",
        "\x1b[0m",
        "\x0b",
    ],
)
def test_header_value_cannot_inject(pass_headers: Pass, value: str) -> None:
    with pytest.raises(WSInvalidOptionError, match="value of header 'X-A'") as caught:
        pass_headers([("X-A", value)])
    assert repr(value) not in str(caught.value)


def test_header_value_with_a_lone_surrogate(pass_headers: Pass) -> None:
    with pytest.raises(WSInvalidOptionError, match="'X-A' has a lone surrogate"):
        pass_headers({"X-A": "\ud800"})


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ("A: 1", "mapping or an iterable"),
        (b"A: 1", "mapping or an iterable"),
        (1, "mapping or an iterable"),
        (["A"], "mapping or an iterable"),
        ([("A", "1", "2")], "mapping or an iterable"),
        ([None], "mapping or an iterable"),
        ([("A", None)], "value of header 'A' must be str, not NoneType"),
        ([("A", b"1")], "value of header 'A' must be str, not bytes"),
        ({"A": 1}, "value of header 'A' must be str, not int"),
        ({b"A": "1"}, "header name must be str, not bytes"),
        ({None: "1"}, "header name must be str, not NoneType"),
    ],
)
def test_extra_headers_of_wrong_type(pass_headers: Pass, headers: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        pass_headers(headers)


@given(st.text(max_size=8), st.text(max_size=12))
@example("HOST", "b")
def test_nothing_injects_a_line(name: str, value: str) -> None:
    plain = pass_to_client({"X": ""})
    try:
        data = pass_to_client([(name, value)])
    except WSInvalidOptionError:
        return
    is_host = name.lower() == "host"  # takes the place of our own
    assert data.count(b"\r") == data.count(b"\n") == plain.count(b"\r\n") - is_host
    assert f"{'Host' if is_host else name}: {value}\r\n".encode() in data
    server = make_server()
    assert server.feed_data(data) == len(data)
    assert name.lower() == "host" or server.request.headers[name] == value.strip(" \t")
