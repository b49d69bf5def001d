"""The Set-Cookie headers of a response as objects (RFC 6265, 5.2)."""

from __future__ import annotations

from http.cookies import CookieError, Morsel, SimpleCookie
from typing import Iterable

__all__ = ["parse_set_cookies"]

_FLAGS = frozenset({"secure", "httponly", "partitioned"})  # their value does not matter


def parse_set_cookies(values: Iterable[str]) -> SimpleCookie:
    """Return the cookies by name; of two with the same name the last one.

    ``SimpleCookie.load`` drops a cookie with a flag that it does not know, and takes an attribute
    that it does not know for another cookie. Here such an attribute is ignored, and so is a cookie
    without a name or with one that a :class:`Morsel` cannot have.
    """
    cookies: SimpleCookie = SimpleCookie()
    for value in values:
        pair, *attributes = value.split(";")
        name, equals, text = (part.strip() for part in pair.partition("="))
        if not equals:
            continue
        morsel: Morsel[str] = Morsel()
        try:
            morsel.set(name, *cookies.value_decode(text))
        except CookieError:
            continue
        for attribute in attributes:
            key, _, text = (part.strip() for part in attribute.partition("="))
            key = key.lower()
            if key in morsel:
                morsel[key] = True if key in _FLAGS else text
        cookies[name] = morsel
    return cookies
