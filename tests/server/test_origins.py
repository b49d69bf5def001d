"""picows_server.origins: which Origin headers are served, and what is no origin."""

from __future__ import annotations

import re
from typing import Any, List

import pytest

from picows_server import WSInvalidOptionError
from picows_server.origins import OriginSet, is_upgrade
from tests.support.handshakes import make_server, request_head

COM = "https://example.com"


def request_with(*changes: Any) -> Any:
    server = make_server()
    server.feed_data(request_head(*changes))
    return server.request


def allows(origins: List[Any], *values: str) -> bool:
    request = request_with(*(("Origin", value) for value in values))
    refusal = OriginSet(origins).refusal(request)
    assert refusal is None or refusal.status == 403
    return refusal is None


@pytest.mark.parametrize(
    ("origins", "value"),
    [
        ([COM], COM),
        ([COM], "HTTPS://Example.COM"),
        (["HTTPS://Example.COM"], COM),
        ([f"{COM}:443"], COM),
        ([COM], f"{COM}:443"),
        (["http://a", COM, None], COM),
        (["http://localhost:8080"], "http://localhost:8080"),
        (["http://[::1]:8080"], "http://[::1]:8080"),
        (["null"], "null"),
        (["chrome-extension://abcdef"], "chrome-extension://abcdef"),
        ([re.compile(r"https://[a-z]+\.example\.com")], "https://app.example.com"),
        ([re.compile(r"https://[a-z]+\.example\.com")], "https://APP.example.com:443"),
    ],
)
def test_served(origins: List[Any], value: str) -> None:
    assert allows(origins, value)


@pytest.mark.parametrize(
    ("origins", "value"),
    [
        ([COM], "http://example.com"),
        ([COM], "https://example.com.evil.org"),
        ([COM], "https://evil.org/https://example.com"),
        ([COM], "https://example.com:8443"),
        ([COM], "null"),
        ([COM], ""),
        ([None], COM),
        ([], COM),
        ([re.compile(r"https://[a-z]+\.example\.com")], "https://app.example.com.evil.org"),
        ([re.compile(r"https://[a-z]+\.example\.com")], "xhttps://app.example.com"),
    ],
)
def test_refused(origins: List[Any], value: str) -> None:
    assert not allows(origins, value)


def test_no_origin() -> None:
    assert allows([None, COM])
    assert not allows([COM])


@pytest.mark.parametrize(
    ("headers", "text"),
    [([], b"without an Origin header"), ([("Origin", "http://a")], b"from this origin")],
)
def test_text_of_a_refusal(headers: List[Any], text: bytes) -> None:
    refusal = OriginSet([COM]).refusal(request_with(*headers))
    assert refusal is not None
    assert refusal.body == b"Requests %b are not allowed.\n" % text


def test_several_origins_in_one_request() -> None:
    assert not allows([COM, "http://a"], COM, COM)


def test_other_requests_need_no_origin() -> None:
    assert OriginSet([COM]).refusal(request_with(("Upgrade", None))) is None


@pytest.mark.parametrize(
    ("value", "is_one"), [("websocket", True), ("h2c, WebSocket", True), ("h2c", False)]
)
def test_what_is_an_upgrade(value: str, is_one: bool) -> None:
    assert is_upgrade(request_with(("Upgrade", value))) == is_one


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "example.com",
        "*",
        f"{COM}/",
        f"{COM}/a",
        f"{COM}?a",
        "https://",
        "https://é.example",
        "//a",
        "https://*.example.com",
        "https://a:",
        "https://a:port",
        "https://a:999999",
        "https://a:b:80",
        "https://::1",
    ],
)
def test_what_is_no_origin(origin: str) -> None:
    with pytest.raises(WSInvalidOptionError, match="no origin"):
        OriginSet([origin])


@pytest.mark.parametrize(
    "origins", [COM, b"https://a", re.compile("a"), 7, [7], [re.compile(b"a")]]
)
def test_wrong_types(origins: Any) -> None:
    with pytest.raises(TypeError, match="origins"):
        OriginSet(origins)
