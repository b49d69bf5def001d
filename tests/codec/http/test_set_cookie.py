"""picows_codec.http.set_cookie: what Set-Cookie says, as objects."""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import Dict, List

import pytest

from picows_codec.http.set_cookie import parse_set_cookies
from picows_codec.http.upgrade import WSUpgradeResponse


def test_attributes() -> None:
    date = "Wed, 21 Oct 2026 07:28:00 GMT"
    cookies = parse_set_cookies(
        [
            f"session=abc=; Path=/feed; DOMAIN=example.com; Expires={date}; Max-Age=60",
            "flags=; Secure; HttpOnly=1; SameSite = Lax; Path",
        ]
    )
    assert isinstance(cookies, SimpleCookie)
    assert list(cookies) == ["session", "flags"]
    session, flags = cookies["session"], cookies["flags"]
    assert session.value == "abc="
    assert (session["path"], session["domain"]) == ("/feed", "example.com")
    assert (session["expires"], session["max-age"]) == (date, "60")
    assert not session["secure"]
    assert flags.value == ""
    assert flags["secure"] is True
    assert flags["httponly"] is True
    assert (flags["samesite"], flags["path"]) == ("Lax", "")


def test_quoted_value() -> None:
    (cookie,) = parse_set_cookies([r'a="b \"c\""; Path=/']).values()
    assert cookie.value == 'b "c"'
    assert cookie.coded_value == r'"b \"c\""'


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], {}),
        (["a=1", "b=2", "a=3"], {"a": "3", "b": "2"}),
        # SimpleCookie.load would drop the first, and find two cookies in the second.
        (["a=1; Secure; Unheard-Of; Path=/"], {"a": "1"}),
        (["a=1; Priority=High"], {"a": "1"}),
        (["", ";", "=1", "a", "a b=1", "ü=1", "path=/", "b=2"], {"b": "2"}),
        (["a=\udcff"], {"a": "\udcff"}),
        (["a=1,b=2"], {"a": "1,b=2"}),
    ],
)
def test_values(values: List[str], expected: Dict[str, str]) -> None:
    cookies = parse_set_cookies(values)
    assert {name: cookie.value for name, cookie in cookies.items()} == expected


def test_response() -> None:
    pairs = [("Set-Cookie", "a=1; Path=/"), ("set-cookie", "b=2"), ("Cookie", "c=3")]
    response = WSUpgradeResponse.create_error_response(403, b"", pairs)
    assert {name: cookie.value for name, cookie in response.cookies.items()} == {"a": "1", "b": "2"}
    assert not WSUpgradeResponse.create_ok_response().cookies
