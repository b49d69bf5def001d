"""The cookies of one call of ``ws_connect``: kept and chosen by the standard library's jar.

Nothing here says which cookie goes where: the policy of the jar does. The classes below only show
it requests and responses in the shape that it knows from :mod:`urllib.request`.
"""

from __future__ import annotations

from collections import abc
from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy
from typing import Any, Callable, List, Mapping, Optional, Sequence
from urllib.request import Request

from picows_client.redirects import Headers
from picows_client.url import WSURL
from picows_codec import WSInvalidOptionError, WSUpgradeRequest, WSUpgradeResponse
from picows_codec.http.fields import check_field
from picows_codec.http.grammar import is_token

__all__ = ["CallCookies", "call_cookies"]

_ROOT = "picows-root"  # an attribute of cookies that came as a mapping: where they may go

Factory = Callable[[WSUpgradeRequest, WSUpgradeResponse], Any]


def call_cookies(cookies: Any, url: WSURL, headers: Headers) -> CallCookies:
    """Check the option ``cookies`` of a call for ``url`` with these ``headers``.

    :raises TypeError: it is neither a mapping of str nor a jar. WSInvalidOptionError: it has what
        cannot be sent, or the headers have cookies, too.
    """
    if any(name.lower() == "cookie" for name, _ in headers):
        raise WSInvalidOptionError(
            "cookies are in cookies= and in extra_headers (Cookie); leave one of them out"
        )
    if isinstance(cookies, CookieJar):
        return CallCookies(cookies, url)
    if not isinstance(cookies, abc.Mapping):
        raise TypeError(
            "cookies must be a mapping of str or an http.cookiejar.CookieJar, not"
            f" {type(cookies).__name__}"
        )
    return CallCookies(_jar_of(cookies, url), url)


class CallCookies:
    """What the jar has for the requests of one call, and what their responses set.

    :param url: the one that the caller asks for, before any redirect.
    """

    def __init__(self, jar: CookieJar, url: WSURL) -> None:
        self._jar = jar
        self._origin = url.origin
        self._origin_host = _request_of(url).origin_req_host

    def added_to(self, headers: Headers, url: WSURL) -> Headers:
        """Return ``headers`` and the Cookie header of a request for ``url``, if there is one."""
        request = self._request(url)
        self._jar.add_cookie_header(request)
        value = request.get_header("Cookie")
        return headers if value is None else [*headers, ("Cookie", value)]

    def take(self, url: WSURL, response: WSUpgradeResponse) -> None:
        """Take what the response to a request for ``url`` sets."""
        self._jar.extract_cookies(
            _Received(response.headers.getall("Set-Cookie", [])),  # type: ignore[arg-type]
            self._request(url),
        )

    def taking(self, url: WSURL, listener_factory: Factory) -> Factory:
        """Return a factory that first takes what the accepting response sets."""

        def make_listener(request: WSUpgradeRequest, response: WSUpgradeResponse) -> Any:
            self.take(url, response)
            return listener_factory(request, response)

        return make_listener

    def _request(self, url: WSURL) -> Request:
        # For policies that treat third parties as others: redirects are not the user's choice.
        return _request_of(url, self._origin_host, url.origin != self._origin)


def _request_of(
    url: WSURL, origin_host: Optional[str] = None, is_unverifiable: bool = False
) -> Request:
    address = _http_root(url) + url.target[1:]
    return Request(address, None, {}, origin_host, is_unverifiable)  # noqa: S310  never opened


def _http_root(url: WSURL) -> str:
    """The URL's origin, under the scheme that jars take for secure or not, and a slash."""
    return f"http{'s' if url.is_secure else ''}://{url.host_and_port}/"


class _Received:
    """A response as a jar sees one: Set-Cookie headers."""

    def __init__(self, set_cookies: List[str]) -> None:
        self._set_cookies = set_cookies

    def info(self) -> _Received:
        return self

    def get_all(self, name: str, default: Sequence[str]) -> Sequence[str]:
        return self._set_cookies if name.lower() == "set-cookie" else default


class _OneOriginPolicy(DefaultCookiePolicy):
    """For cookies that came as a mapping: they are for one origin, as secrets in headers are."""

    def return_ok(self, cookie: Cookie, request: Request) -> bool:
        root = cookie.get_nonstandard_attr(_ROOT)
        if root is not None and not request.get_full_url().startswith(root):
            return False
        return super().return_ok(cookie, request)


def _jar_of(cookies: Mapping[str, str], url: WSURL) -> CookieJar:
    """Make a jar for one call; the server's cookies in it do not go to subdomains by themselves."""
    policy = _OneOriginPolicy(strict_ns_domain=DefaultCookiePolicy.DomainStrictNonDomain)
    jar = CookieJar(policy)
    for name, value in cookies.items():
        _check_cookie(name, value)
    # The jar knows how it writes the URL's host.
    received = _Received([f"{name}={value}; Path=/" for name, value in cookies.items()])
    for cookie in jar.make_cookies(received, _request_of(url)):  # type: ignore[arg-type]
        cookie.set_nonstandard_attr(_ROOT, _http_root(url))
        jar.set_cookie(cookie)
    return jar


def _check_cookie(name: Any, value: Any) -> None:
    """Raise unless a Cookie header can have it (RFC 6265, 4.2.1); a value may be a secret."""
    if not isinstance(name, str) or not isinstance(value, str):
        raise TypeError(
            f"cookies must be a mapping of str; one is {name!r}: {type(value).__name__}"
        )
    if not is_token(name.encode("utf-8", "surrogateescape")):
        raise WSInvalidOptionError(f"cookies: {name!r} is no name: a token is wanted")
    check_field("Cookie", value, "cookies")
    if ";" in value or value != value.strip():
        raise WSInvalidOptionError(
            f"cookies: the value of {name!r} has a semicolon, or space around it; encode it"
        )
