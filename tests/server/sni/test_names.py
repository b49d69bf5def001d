"""picows_server.sni.names: which names a mapping may have, and what is found in it."""

from __future__ import annotations

import ssl
from typing import Any, Optional

import pytest

from picows_server import WSInvalidOptionError
from picows_server.sni.names import checked_contexts, find_by_name

CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("example.com", "example.com"),
        ("EXAMPLE.Com.", "example.com"),
        ("localhost", "localhost"),
        ("*", "*"),
        ("*.Example.com.", "*.example.com"),
        ("пример.рф", "xn--e1afmkfd.xn--p1ai"),
        ("*.bücher.example", "*.xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("_a.b-c", "_a.b-c"),
    ],
)
def test_names(key: str, name: str) -> None:
    assert checked_contexts({key: CONTEXT}) == {name: CONTEXT}


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("", "no host name"),
        (".", "no host name"),
        ("*.", "no host name"),
        ("a..b", "no host name"),
        ("a b", "no host name"),
        ("example.com:443", "no host name"),
        ("https://example.com", "no host name"),
        ("a.*.b", "'\\*' stands for one label"),
        ("*a.example", "'\\*' stands for one label"),
        ("*.*.example", "'\\*' stands for one label"),
        ("a" * 64, "no host name"),
        (".".join(["a" * 60] * 5), "no host name"),
        ("127.0.0.1", "address"),
        ("[::1]", "address"),
        ("::1", "address"),
        ("*.1", "address"),
        ("1.2.3", "address"),
    ],
)
def test_what_is_no_name(key: str, text: str) -> None:
    with pytest.raises(WSInvalidOptionError, match=text):
        checked_contexts({key: CONTEXT})


def test_an_empty_mapping() -> None:
    with pytest.raises(WSInvalidOptionError, match="is empty"):
        checked_contexts({})


@pytest.mark.parametrize("key", [None, b"example.com", 5, ("a",)])
def test_keys_of_other_types(key: Any) -> None:
    with pytest.raises(TypeError, match="a server name must be a str"):
        checked_contexts({key: CONTEXT})


@pytest.mark.parametrize("context", [None, True, "server.pem", ("a.pem", "a.key"), ssl.SSLContext])
def test_values_of_other_types(context: Any) -> None:
    with pytest.raises(TypeError, match=r"ssl_context\['a'\] must be an ssl.SSLContext, not"):
        checked_contexts({"a": context})


def test_a_context_of_a_client() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with pytest.raises(WSInvalidOptionError, match=r"ssl_context\['\*'\] was made for clients"):
        checked_contexts({"a": CONTEXT, "*": context})


@pytest.mark.parametrize("other", ["A.example", "a.example."])
def test_one_name_twice(other: str) -> None:
    with pytest.raises(WSInvalidOptionError, match=r"'a\.example' twice"):
        checked_contexts({"a.example": CONTEXT, other: CONTEXT})


TABLE = {"a.example": 1, "*.example": 2, "*.b.example": 3, "*": 4}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.example", 1),
        ("b.example", 2),
        ("x.b.example", 3),
        ("y.x.b.example", None),
        ("example", None),
        (".example", 2),
        ("other", None),
        ("", None),
        ("*", None),
        (None, None),
    ],
)
def test_what_is_found(name: Optional[str], found: Optional[int]) -> None:
    assert find_by_name(TABLE, name) == (found or 4)
    without = {key: value for key, value in TABLE.items() if key != "*"}
    assert find_by_name(without, name) == found
