"""picows_client.environment: ``proxy=True`` takes the proxy from the environment's variables."""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, Optional, Type

import pytest

from picows_client import WSURL, WSInvalidOptionError, WSInvalidURL, ws_connect
from picows_client.environment import proxy_of_environment
from tests.client.exchange import Recorder, check_echo, serve_echo
from tests.client.proxies import HttpProxy, needs_python_socks
from tests.support.rawpeer import RawConnection, raw_peer

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name == "REQUEST_METHOD":
            monkeypatch.delenv(name)


def chosen(url: str) -> Optional[str]:
    proxy = proxy_of_environment(WSURL.parse(url))
    return None if proxy is None else f"{proxy.scheme}://{proxy.host_and_port}"


@pytest.mark.parametrize(
    ("variables", "secure", "plain"),
    [
        ({}, None, None),
        ({"https_proxy": "http://p:1"}, "http://p:1", None),
        ({"HTTPS_PROXY": "http://p:1"}, "http://p:1", None),
        ({"http_proxy": "http://p:1"}, None, "http://p:1"),
        ({"all_proxy": "http://p:1"}, "http://p:1", "http://p:1"),
        ({"ALL_PROXY": "p:1"}, "http://p:1", "http://p:1"),
        ({"wss_proxy": "p:1", "https_proxy": "q:1"}, "http://p:1", None),
        ({"WS_PROXY": "p:1", "http_proxy": "q:1"}, None, "http://p:1"),
        ({"https_proxy": "p:1", "all_proxy": "q:1"}, "http://p:1", "http://q:1"),
        ({"https_proxy": "low:1", "HTTPS_PROXY": "UP:1"}, "http://low:1", None),
        ({"https_proxy": "", "all_proxy": "q:1"}, "http://q:1", "http://q:1"),
        ({"https_proxy": "https://p/"}, "https://p:443", None),
        ({"https_proxy": "user:pass@p:8080"}, "http://p:8080", None),
        # A server that runs CGI scripts takes a request's header for this variable.
        ({"HTTP_PROXY": "evil:1", "REQUEST_METHOD": "GET"}, None, None),
    ],
)
def test_variables(
    variables: Dict[str, str],
    secure: Optional[str],
    plain: Optional[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert chosen("wss://example.com/feed") == secure
    assert chosen("ws://example.com/feed") == plain


@needs_python_socks
def test_socks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "socks5h://p")
    assert chosen("wss://example.com") == "socks5h://p:1080"


@pytest.mark.parametrize(
    ("no_proxy", "url", "is_direct"),
    [
        ("example.com", "wss://example.com", True),
        ("example.com", "wss://feed.example.com", True),
        (".example.com", "wss://feed.EXAMPLE.com", True),
        ("example.com", "wss://badexample.com", False),
        ("a, example.com ,b", "wss://example.com", True),
        ("example.com:8443", "wss://example.com:8443", True),
        ("example.com:8443", "wss://example.com", False),
        ("*", "wss://example.com", True),
        ("10.0.0.1", "wss://10.0.0.1", True),
        ("2001:db8::1", "wss://[2001:db8::1]", True),
        ("[2001:db8::1]", "wss://[2001:db8::1]:8443", True),
        ("[2001:db8::1]:8443", "wss://[2001:db8::1]:8443", True),
        ("[2001:db8::1]:8443", "wss://[2001:db8::1]", False),
        ("2001:db8::2", "wss://[2001:db8::1]", False),
        ("Example.COM.", "wss://example.com", False),
        ("example.com", "wss://example.com.", True),
        ("com", "wss://example.com", True),
        ("*.example.com", "wss://feed.example.com", False),
        ("", "wss://example.com", False),
    ],
)
def test_no_proxy(
    no_proxy: str, url: str, is_direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("all_proxy", "p:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, no_proxy)
        assert (chosen(url) is None) == is_direct
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost.",
        "LOCALHOST",
        "a.localhost",
        "127.0.0.1",
        "127.9.9.9",
        "[::1]",
        "[::ffff:127.0.0.1]",
    ],
)
def test_loopback_is_direct(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "p:1")
    assert chosen(f"ws://{host}:9001") is None
    assert chosen("ws://notlocalhost") is not None


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("ftp://p:1", WSInvalidURL),
        ("http://p:port", WSInvalidURL),
        ("http://p:1/path", WSInvalidOptionError),
    ],
)
def test_wrong_values(value: str, error: Type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", value)
    with pytest.raises(error, match=r"environment variable https_proxy: "):
        chosen("wss://example.com")


def test_connection(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only with ``proxy=True``; the proxy gets its headers."""

    async def main() -> None:
        script = HttpProxy(hosts={"example.test": "127.0.0.1"})
        async with raw_peer(serve_echo) as server, raw_peer(script.serve) as proxy:
            monkeypatch.setenv("http_proxy", f"http://user:pass@127.0.0.1:{proxy.port}")
            url = server.url(host="example.test")
            headers = {"X-Gateway": "7", "Proxy-Authorization": "Bearer 9", "User-Agent": "gate"}
            await check_echo(*await ws_connect(url, Recorder, proxy=True, proxy_headers=headers))
            with pytest.raises(OSError, match=r"example\.test"):
                await ws_connect(url, Recorder)
        (request,) = script.requests
        assert request.header("X-Gateway") == "7"
        assert request.header("Proxy-Authorization") == "Bearer 9"
        assert request.header("User-Agent") == "gate"

    run(main)


def test_each_redirect_anew(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a host behind the proxy to one that is reached directly."""

    async def main() -> None:
        script = HttpProxy(hosts={"far.test": "127.0.0.1"})
        async with raw_peer(serve_echo) as near:

            async def redirect(peer: RawConnection) -> None:
                await peer.redirect(near.url("/near"))

            async with raw_peer(redirect) as far, raw_peer(script.serve) as proxy:
                monkeypatch.setenv("ws_proxy", f"127.0.0.1:{proxy.port}")
                await check_echo(*await ws_connect(far.url(host="far.test"), Recorder, proxy=True))
                assert script.asked == [("far.test", far.port)]

    run(main)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"proxy_headers": {"A": "b"}}, WSInvalidOptionError, r"proxy_headers is for an http://"),
        ({"proxy": True, "proxy_headers": {"A": "b\n"}}, WSInvalidOptionError, r"control"),
        (
            {"proxy": True, "proxy_headers": {"Host": "b"}},
            WSInvalidOptionError,
            r"'Host' is set by",
        ),
        ({"proxy": True, "proxy_headers": "A: b"}, TypeError, r"proxy_headers must be a mapping"),
        ({"proxy": False}, TypeError, r"proxy must be a str, not bool; None connects directly"),
        ({"proxy_ssl_context": None, "proxy": 1}, TypeError, r"proxy must be a str"),
    ],
)
def test_wrong_options(
    run: Run, options: Dict[str, Any], error: Type[Exception], text: str
) -> None:
    async def main() -> None:
        with pytest.raises(error, match=text):
            await ws_connect("ws://127.0.0.1:1", Recorder, **options)

    run(main)
