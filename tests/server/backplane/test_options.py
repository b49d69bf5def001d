from __future__ import annotations

import math
from typing import Any

import pytest

from picows_server import WSInvalidOptionError
from picows_server.backplane import NatsBackplane, RedisBackplane

BOTH = [(RedisBackplane, "redis://127.0.0.1"), (NatsBackplane, "nats://127.0.0.1")]


@pytest.mark.parametrize(("kind", "url"), BOTH)
@pytest.mark.parametrize(
    "option",
    [
        *({name: value} for name in ("connect_timeout", "probe_interval") for value in (0, -1.0)),
        {"close_timeout": math.nan},
        {"max_pending_messages": 0},
        {"max_pending_bytes": -1},
    ],
)
def test_out_of_range(kind: Any, url: str, option: Any) -> None:
    ((name, value),) = option.items()
    with pytest.raises(WSInvalidOptionError, match=f"{name}={value} is out of range"):
        kind(url, **option)


@pytest.mark.parametrize(("kind", "url"), BOTH)
@pytest.mark.parametrize("option", [{"prefix": 3}, {"probe_interval": "5"}])
def test_of_another_type(kind: Any, url: str, option: Any) -> None:
    with pytest.raises(TypeError, match=f"{next(iter(option))} must be"):
        kind(url, **option)


@pytest.mark.parametrize("name", ["topic_ttl", "producer_ttl", "presence_ttl", "max_payload"])
def test_those_of_redis(name: str) -> None:
    with pytest.raises(WSInvalidOptionError, match=f"{name}=0 is out of range"):
        RedisBackplane("redis://127.0.0.1", **{name: 0})  # type: ignore[arg-type]
    RedisBackplane("redis://127.0.0.1", presence_ttl=None)


@pytest.mark.parametrize("prefix", ["", "a b", "a.*", ">", "a..b", ".a", "a.", "a\n"])
def test_prefix_that_is_no_subject(prefix: str) -> None:
    with pytest.raises(WSInvalidOptionError, match="is no subject"):
        NatsBackplane("nats://127.0.0.1", prefix=prefix)
    NatsBackplane("nats://127.0.0.1", prefix="my.gateways")


@pytest.mark.parametrize("kind", [RedisBackplane, NatsBackplane])
@pytest.mark.parametrize(
    "url",
    ["http://:secret@x", "", "redis://:sec/ret@x", "nats://u:sec/ret@x", "nats://secret@[::1"],
)
def test_url_that_is_none(kind: Any, url: str) -> None:
    """No part of it is shown, because it may be one of a password."""
    with pytest.raises(WSInvalidOptionError, match="the URL of the engine") as caught:
        kind(url)
    assert "sec" not in str(caught.value)


@pytest.mark.parametrize("kind", [RedisBackplane, NatsBackplane])
@pytest.mark.parametrize("url", [None, 5, b"redis://x"])
def test_url_of_another_type(kind: Any, url: Any) -> None:
    with pytest.raises(TypeError, match="url must be a str"):
        kind(url)


def test_urls_of_nats() -> None:
    NatsBackplane(["127.0.0.1:4222", "tls://a", "user:password@b"])
    with pytest.raises(WSInvalidOptionError, match="at least one URL"):
        NatsBackplane([])
    with pytest.raises(TypeError, match="url must be a str, such as nats://host, not int"):
        NatsBackplane(["nats://a", 5])  # type: ignore[list-item]


@pytest.mark.parametrize("name", ["sentinels", "startup_nodes"])
@pytest.mark.parametrize("value", [["10.0.0.5:26379"], "10.0.0.5", ("a", 1), [("a", "1")], None])
def test_addresses_of_another_type(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"{name} must be pairs of host and port, such as"):
        RedisBackplane("redis://main", **{name: value})


@pytest.mark.parametrize(("kind", "url"), BOTH)
def test_options_that_the_client_library_does_not_know(kind: Any, url: str) -> None:
    with pytest.raises(TypeError, match=r"options.*'flavour'"):
        kind(url, options={"flavour": 1})
    with pytest.raises(TypeError, match="options must be a mapping, not int"):
        kind(url, options=5)
    with pytest.raises(TypeError, match=r"what follows \? in the URL.*'flavour'"):
        RedisBackplane("redis://127.0.0.1?flavour=1")
