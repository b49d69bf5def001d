"""picows_client.cookies: what is sent where, and what responses set."""

from __future__ import annotations

import subprocess
import sys
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, Type

import pytest

from picows_client import (
    WSURL,
    WSInvalidOptionError,
    WSInvalidStatusError,
    WSUpgradeRequest,
    WSUpgradeResponse,
    connect,
    ws_connect,
    ws_keep_connected,
)
from picows_client.cookies import call_cookies
from tests.client.exchange import Recorder
from tests.client.test_link import SOON
from tests.support.certificates import Certificates
from tests.support.leaks import eventually
from tests.support.rawpeer import RawConnection, raw_peer

Run = Callable[..., Any]


class Site:
    """A server: for each path a status, a Location and cookies to set; else it accepts."""

    def __init__(self) -> None:
        self.places: Dict[str, Tuple[str, str, List[str]]] = {}
        self.seen: List[Tuple[str, Optional[str]]] = []

    async def serve(self, peer: RawConnection) -> None:
        request = await peer.read_request()
        self.seen.append((request.target, request.header("Cookie")))
        status, location, cookies = self.places.get(request.target, ("101", "", []))
        headers = [("Set-Cookie", cookie) for cookie in cookies]
        if status == "101":
            peer.accept(request, headers)
            peer.write_frame(8, b"\x03\xe8")
            await peer.read_frame()
            return
        if location:
            headers.append(("Location", location))
        peer.respond(f"{status} No", [*headers, ("Content-Length", "0")])


async def visit(url: str, **options: Any) -> None:
    transport, _ = await ws_connect(url, Recorder, **options)
    await transport.wait_disconnected()


def values_of(jar: CookieJar) -> Dict[str, Optional[str]]:
    return {cookie.name: cookie.value for cookie in jar}


def header_for(url: str, cookies: Any, target: str = "") -> Optional[str]:
    """The Cookie header that a call for ``url`` sends to ``target`` after a redirect."""
    made = call_cookies(cookies, WSURL.parse(url), [])
    headers = dict(made.added_to([], WSURL.parse(target or url)))
    assert headers.keys() <= {"Cookie"}
    return headers.get("Cookie")


def response_with(*set_cookies: str) -> WSUpgradeResponse:
    pairs = [("Set-Cookie", value) for value in set_cookies]
    return WSUpgradeResponse.create_error_response(403, b"", pairs)


def jar_after(url: str, *set_cookies: str, policy: Any = None) -> CookieJar:
    """A jar that has got these from ``url``."""
    jar = CookieJar(policy)
    parsed = WSURL.parse(url)
    call_cookies(jar, parsed, []).take(parsed, response_with(*set_cookies))
    return jar


# A mapping


def test_mapping(run: Run) -> None:
    site = Site()

    async def main() -> None:
        async with raw_peer(site.serve) as peer:
            await visit(peer.url("/deep/feed?a=1"), cookies={"a": "1", "b": "2"})
            await visit(peer.url(), cookies={})

    run(main)
    assert site.seen == [("/deep/feed?a=1", "a=1; b=2"), ("/", None)]


@pytest.mark.parametrize(
    ("target", "goes"),
    [
        ("ws://example.com/other", True),
        ("ws://EXAMPLE.com:80/", True),
        ("ws://example.com:8080/", False),
        ("wss://example.com/", False),
        ("ws://feed.example.com/", False),
        ("ws://example.com.evil.net/", False),
        ("ws://other.net/", False),
    ],
)
def test_mapping_is_for_one_origin(target: str, goes: bool) -> None:
    expected = "a=1; b=2" if goes else None
    assert header_for("ws://example.com/feed", {"a": "1", "b": "2"}, target) == expected


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "[fe80::1%25eth0]", "a.b.c"])
@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_mapping_for_any_host(scheme: str, host: str) -> None:
    url = f"{scheme}://{host}:9001/feed?a=b"
    assert header_for(url, {"a": "1"}) == "a=1"
    assert header_for(url, {"a": "1"}, f"{scheme}://{host}:9002/feed") is None


def test_mapping_is_taken_literally() -> None:
    given = {"session": "a b=1", "empty": "", "quoted": '"x"', "path": "/", "secure": "ü,\udcff"}
    assert header_for("ws://example.com", given) == (
        'session=a b=1; empty=; quoted="x"; path=/; secure=ü,\udcff'
    )


def test_server_cookies_last_for_the_redirects_of_a_call(run: Run) -> None:
    """A gateway that sets a cookie and redirects to the same place; a mapping stays as it is."""
    site, other = Site(), Site()
    given = {"token": "t"}

    async def main() -> None:
        async with raw_peer(site.serve) as peer, raw_peer(other.serve) as elsewhere:
            login = elsewhere.url("/login", host="localhost")
            site.places["/"] = ("307", login, ["route=1; Path=/", "deep=2; Path=/deep"])
            other.places["/login"] = ("302", peer.url("/feed"), ["other=3"])
            for _ in range(2):
                await visit(peer.url(), cookies=given)

    run(main)
    assert site.seen == [("/", "token=t"), ("/feed", "token=t; route=1")] * 2
    assert other.seen == [("/login", None)] * 2
    assert given == {"token": "t"}


def test_host_cookies_of_servers_stay_with_the_host() -> None:
    url = WSURL.parse("wss://example.com/")
    cookies = call_cookies({}, url, [])
    cookies.take(url, response_with("host=1", "domain=2; Domain=example.com"))
    (pair,) = cookies.added_to([], WSURL.parse("wss://feed.example.com"))
    assert pair == ("Cookie", "domain=2")


@pytest.mark.parametrize(
    ("cookies", "error", "text"),
    [
        ("a=1", TypeError, r"cookies must be a mapping of str or an http\.cookiejar.*not str"),
        ([("a", "1")], TypeError, r"not list"),
        ({"a": 1}, TypeError, r"one is 'a': int"),
        ({b"a": "1"}, TypeError, r"one is b'a': str"),
        ({"a b": "1"}, WSInvalidOptionError, r"'a b' is no name"),
        ({"": "1"}, WSInvalidOptionError, r"'' is no name"),
        ({"a": "secret; b=2"}, WSInvalidOptionError, r"the value of 'a' has a semicolon"),
        ({"a": " secret"}, WSInvalidOptionError, r"space around it"),
        ({"a": "secret\r\nX: 1"}, WSInvalidOptionError, r"control character"),
    ],
)
def test_wrong_cookies(run: Run, cookies: Any, error: Type[Exception], text: str) -> None:
    async def main() -> None:
        with pytest.raises(error, match=text) as caught:
            await ws_connect("ws://127.0.0.1:1", Recorder, cookies=cookies)
        assert "secret" not in str(caught.value)

    run(main)


@pytest.mark.parametrize("cookies", [{}, {"a": "1"}, CookieJar()], ids=["empty", "mapping", "jar"])
def test_header_beside_cookies(run: Run, cookies: Any) -> None:
    async def main() -> None:
        with pytest.raises(WSInvalidOptionError, match=r"in cookies= and in extra_headers"):
            await ws_connect(
                "ws://127.0.0.1:1", Recorder, cookies=cookies, extra_headers={"cookie": "b=2"}
            )

    run(main)


# A jar


@pytest.mark.parametrize(
    ("cookie", "goes_to", "stays_from"),
    [
        ("a=1", "wss://shop.example.com/feed/x", "wss://example.com/feed/x"),
        ("a=1; Path=/", "wss://shop.example.com/any", "wss://other.net/any"),
        ("a=1; Path=/feed", "wss://shop.example.com/feed/x", "wss://shop.example.com/feeds"),
        ("a=1; Path=/; Domain=example.com", "wss://new.example.com/", "wss://badexample.com/"),
        ("a=1; Path=/; Secure", "wss://shop.example.com:99/", "ws://shop.example.com/"),
        ("a=1; Path=/; Max-Age=1000", "wss://shop.example.com/", "wss://net/"),
    ],
)
def test_jar_chooses(cookie: str, goes_to: str, stays_from: str) -> None:
    jar = jar_after("wss://shop.example.com/feed/a", cookie)
    assert header_for(goes_to, jar) == "a=1"
    assert header_for(stays_from, jar) is None


@pytest.mark.parametrize(
    "cookie", ["a=1; Domain=other.net", "a=1; Domain=com", "a=1; Max-Age=0", "a=1; Port=1"]
)
def test_jar_refuses(cookie: str) -> None:
    assert not list(jar_after("wss://shop.example.com/", cookie))


def test_jar_of_http_requests() -> None:
    """Cookies that a login over https:// has got; the same policy for both."""
    jar = jar_after("wss://example.com/", "a=1; Secure; Path=/")
    (cookie,) = jar
    assert (cookie.domain, cookie.secure) == ("example.com", True)
    jar.set_policy(DefaultCookiePolicy(secure_protocols=("https",)))
    assert header_for("wss://example.com/", jar) == "a=1"
    jar.set_policy(DefaultCookiePolicy(blocked_domains=["example.com"]))
    assert header_for("wss://example.com/", jar) is None


@pytest.mark.parametrize("target", ["ws://third.net/", "ws://127.0.0.1/", "ws://[::1]/"])
def test_third_parties(target: str) -> None:
    """A policy may treat a redirect to another site as no choice of the user."""
    jar = CookieJar(DefaultCookiePolicy(strict_ns_unverifiable=True))
    url, third = WSURL.parse("ws://example.com/"), WSURL.parse(target)
    cookies = call_cookies(jar, url, [])
    cookies.take(url, response_with("first=1"))
    cookies.take(third, response_with("third=1"))
    assert values_of(jar) == {"first": "1"}
    call_cookies(jar, third, []).take(third, response_with("third=1"))
    assert values_of(jar) == {"first": "1", "third": "1"}


def test_jar_gets_what_every_response_sets(run: Run) -> None:
    """Those of redirects, of the 101 before the listener factory is called, and of a refusal."""
    site = Site()
    jar = CookieJar()
    seen: List[Mapping[str, Any]] = []

    def make(request: WSUpgradeRequest, response: WSUpgradeResponse) -> Recorder:
        seen.append(values_of(jar))
        assert response.cookies["feed"].value == "2"
        return Recorder()

    async def main() -> None:
        site.places["/"] = ("307", "/feed", ["old=1", "gate=1; Path=/"])
        site.places["/feed"] = ("101", "", ["feed=2", "old=; Max-Age=0; Path=/"])
        site.places["/closed"] = ("403", "", ["why=3"])
        async with raw_peer(site.serve) as peer:
            transport, _ = await ws_connect(peer.url(), make, cookies=jar)
            await transport.wait_disconnected()
            assert transport.response.cookies["feed"].value == "2"
            with pytest.raises(WSInvalidStatusError) as caught:
                await visit(peer.url("/closed"), cookies=jar)
            assert caught.value.response is not None
            assert caught.value.response.cookies["why"].value == "3"
            async with connect(peer.url("/end"), cookies=jar):
                pass

    run(main)
    assert seen == [{"gate": "1", "feed": "2"}]
    everything = "gate=1; feed=2"
    assert site.seen == [
        ("/", None),
        ("/feed", "old=1; gate=1"),
        ("/closed", everything),
        ("/end", f"{everything}; why=3"),
    ]


@pytest.mark.parametrize(
    ("make_cookies", "headers"),
    [
        (CookieJar, [None, "session=1", "session=1"]),
        (lambda: {"given": "0"}, ["given=0"] * 3),
    ],
    ids=["jar", "mapping"],
)
def test_reconnects(
    run: Run, make_cookies: Callable[[], Any], headers: List[Optional[str]]
) -> None:
    """A jar carries cookies from one connection to the next, a mapping does not."""
    site = Site()
    site.places["/"] = ("101", "", ["session=1"])

    async def main() -> None:
        async with raw_peer(site.serve) as peer, ws_keep_connected(
            peer.url(), Recorder, backoff=SOON, cookies=make_cookies()
        ):
            await eventually(lambda: len(site.seen) >= 3)

    run(main)
    assert [header for _, header in site.seen[:3]] == headers


def test_secure(run: Run, certificates: Certificates) -> None:
    """Over real TLS, and not over a plain connection to the same host."""
    site = Site()
    site.places["/"] = ("101", "", ["secret=1; Secure"])
    jar = CookieJar()

    async def main() -> None:
        context = certificates.client_context()
        async with raw_peer(site.serve, context=certificates.server_context()) as peer:
            url = peer.url(host="localhost")
            for _ in range(2):
                await visit(url, cookies=jar, ssl_context=context)
        async with raw_peer(site.serve) as peer:
            await visit(peer.url(host="localhost"), cookies=jar)

    run(main)
    assert [header for _, header in site.seen] == [None, "secret=1", None]


def test_jar_with_what_cannot_be_sent(run: Run) -> None:
    jar = jar_after("ws://127.0.0.1/", "a=1")
    (cookie,) = jar
    cookie.value = "1\r\nX: 2"

    async def main() -> None:
        with pytest.raises(WSInvalidOptionError, match=r"header 'Cookie' has a line break"):
            await ws_connect("ws://127.0.0.1:1/", Recorder, cookies=jar)

    run(main)


def test_not_imported_by_others() -> None:
    program = (
        "import sys, picows_client, picows_client.coroutine, picows_client.keep_connected;"
        "sys.exit('http.cookiejar' in sys.modules or 'picows_client.cookies' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
