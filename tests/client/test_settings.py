"""The checked arguments of ws_connect, and which of them are remembered."""

from __future__ import annotations

import gc
import ssl
import weakref
from typing import Any, Dict

import pytest

from picows_client.settings import Settings, settings_of
from picows_client.url import WSURL
from picows_codec import WSInvalidOptionError

URL = WSURL.parse("ws://127.0.0.1:9001/")


def settings_with(url: WSURL = URL, **arguments: Any) -> Settings:
    common: Dict[str, Any] = {
        "server_hostname": None,
        "subprotocols": (),
        "user_agent": "tests",
        "max_redirects": 5,
        "family": 0,
        "backend": "auto",
        "options": {},
    }
    return settings_of(url, **{**common, **arguments})


def test_equal_arguments_share_their_settings() -> None:
    options = {"close_timeout": 1.5, "max_frame_size": 1000}
    first = settings_with(options=options)
    assert settings_with(options=dict(options)) is first
    assert first.options.max_frame_size == 1000
    assert first.extra_headers == [("User-Agent", "tests")]
    other = settings_with(subprotocols=("a", "b"), options=options)
    assert other is not first
    assert other.subprotocols == ("a", "b")


@pytest.mark.parametrize(
    "arguments",
    [
        {"extra_headers": (("Authorization", "secret"),)},
        {"proxy": "http://user:secret@127.0.0.1:9"},
        {"proxy": "http://127.0.0.1:9", "proxy_headers": (("X-Token", "secret"),)},
        {"local_addr": ("127.0.0.1", 0)},
        {"unix_path": "/tmp/server"},
        {"socket_factory": lambda url: None},
        {"subprotocols": ["a"]},
        {"subprotocols": ("v1", "token.secret")},
    ],
)
def test_what_is_secret_or_may_change_is_not_remembered(arguments: Dict[str, Any]) -> None:
    assert settings_with(**arguments) is not settings_with(**arguments)


def test_no_context_is_kept_alive() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    seen = weakref.ref(context)
    settings_with(proxy="https://127.0.0.1:9", proxy_ssl_context=context)
    del context
    gc.collect()
    assert seen() is None


@pytest.mark.parametrize(
    ("name", "good", "wrong"),
    [
        ("max_redirects", 1, True),
        ("max_redirects", 1, 1.0),
        ("family", 2, 2.0),
        ("user_agent", "tests", b"tests"),
        ("server_hostname", None, 0),
        ("subprotocols", (), b""),
        ("backend", "loop", 3),
        ("options", {"max_frame_size": 1000}, {"max_frame_size": 1000.0}),
        ("options", {"close_timeout": 1}, {"close_timeout": []}),
    ],
)
def test_an_earlier_call_does_not_hide_a_wrong_type(name: str, good: Any, wrong: Any) -> None:
    settings_with(**{name: good})
    for _ in range(2):
        with pytest.raises(TypeError, match=name if name != "options" else "must be"):
            settings_with(**{name: wrong})


def test_a_refused_value_is_refused_again() -> None:
    for _ in range(2):
        with pytest.raises(WSInvalidOptionError, match="max_redirects"):
            settings_with(max_redirects=-1)


def test_credentials_are_in_one_place_only() -> None:
    url = WSURL.parse("ws://me:secret@127.0.0.1:9001/")
    with pytest.raises(WSInvalidOptionError, match="leave one of them out"):
        settings_with(url, extra_headers={"authorization": "Basic x"})
    assert settings_with(url).extra_headers == [("User-Agent", "tests")]
