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
