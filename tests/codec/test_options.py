from __future__ import annotations

import re
import sys
from typing import Any

import pytest

from picows_codec.constants import WSAutoPingStrategy
from picows_codec.errors import WSInvalidOptionError
from picows_codec.options import WSOptions

DEFAULTS = {
    "disconnect_on_exception": True,
    "websocket_handshake_timeout": 5.0,
    "close_timeout": 5.0,
    "stall_timeout": 60.0,
    "data_timeout": None,
    "enable_auto_ping": False,
    "auto_ping_idle_timeout": 10.0,
    "auto_ping_reply_timeout": 10.0,
    "auto_ping_strategy": WSAutoPingStrategy.PING_WHEN_IDLE,
    "enable_auto_pong": True,
    "max_frame_size": 16 * 1024 * 1024,
    "max_message_size": 16 * 1024 * 1024,
    "max_fragments_per_message": 131072,
    "max_handshake_line_size": 8192,
    "max_handshake_headers": 128,
    "max_handshake_size": 65536,
    "write_high_watermark": 65536,
    "write_low_watermark": 16384,
    "max_write_queue_size": 16 * 1024 * 1024,
    "read_buffer_init_size": 131072,
    "coalesce_writes": True,
    "compression": None,
    "tap": None,
    "collect_stats": False,
    "busy_poll": False,
}
FLAGS = [
    "disconnect_on_exception",
    "enable_auto_ping",
    "enable_auto_pong",
    "coalesce_writes",
    "collect_stats",
    "busy_poll",
]
OPTIONAL_SECONDS = ["websocket_handshake_timeout", "close_timeout", "stall_timeout", "data_timeout"]
SECONDS = [*OPTIONAL_SECONDS, "auto_ping_idle_timeout", "auto_ping_reply_timeout"]
HUGE = sys.maxsize
NUMBERS = {
    "max_frame_size": (125, HUGE),
    "max_message_size": (1, HUGE),
    "max_fragments_per_message": (1, 2**31 - 1),
    "max_handshake_line_size": (64, 2**30),
    "max_handshake_headers": (5, 2**31 - 1),
    "max_handshake_size": (256, 2**30),
    "write_high_watermark": (0, 16 * 1024 * 1024),
    "write_low_watermark": (0, 65536),
    "max_write_queue_size": (65536, HUGE),
    "read_buffer_init_size": (256, 2**30),
}


def make(name: str, value: Any) -> WSOptions:
    return WSOptions(**{name: value})


def test_defaults() -> None:
    options = WSOptions()
    assert {name: getattr(options, name) for name in WSOptions.names()} == DEFAULTS


def test_docstring_has_every_option() -> None:
    found = re.findall(r"^    ``(\w+)`` \(", str(WSOptions.__doc__), re.MULTILINE)
    assert tuple(found) == WSOptions.names()


def test_names_are_all_arguments_in_order() -> None:
    assert WSOptions.names() == tuple(DEFAULTS)


def test_every_default_can_be_passed() -> None:
    assert repr(WSOptions(**DEFAULTS)) == repr(WSOptions())


def test_every_option_has_a_group_here() -> None:
    assert {*FLAGS, *SECONDS, *NUMBERS, "auto_ping_strategy", "compression", "tap"} == set(DEFAULTS)


def test_options_are_read_only() -> None:
    options = WSOptions()
    for name in WSOptions.names():
        with pytest.raises(AttributeError):
            setattr(options, name, DEFAULTS[name])


def test_options_are_keywords_only() -> None:
    with pytest.raises(TypeError):
        WSOptions(True)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("max_frame_sise", "'max_frame_sise': did you mean 'max_frame_size'?"),
        ("max_size", "'max_size': write max_message_size= and max_frame_size= (bytes)"),
        ("proxy", "'proxy'"),
    ],
)
def test_unknown_option(name: str, text: str) -> None:
    with pytest.raises(TypeError) as caught:
        make(name, 1024)
    assert str(caught.value) == f"WSOptions() has no option {text}"


def test_repr_names_every_option() -> None:
    text = repr(WSOptions(max_frame_size=4711))
    assert "max_frame_size=4711" in text
    assert all(f"{name}=" in text for name in WSOptions.names())


@pytest.mark.parametrize("name", FLAGS)
def test_flag(name: str) -> None:
    for value in (True, False):
        assert getattr(make(name, value), name) is value


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("value", [None, 0, 1, "yes", 1.0, []])
def test_flag_of_wrong_type(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=name):
        make(name, value)


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", [1, 0.001, 1e9])
def test_seconds(name: str, value: Any) -> None:
    stored = getattr(make(name, value), name)
    assert stored == value
    assert type(stored) is float


@pytest.mark.parametrize("name", OPTIONAL_SECONDS)
def test_no_limit(name: str) -> None:
    assert getattr(make(name, None), name) is None


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", [0, 0.0, -1, -0.5, float("inf"), float("nan"), 10**400])
def test_seconds_out_of_range(name: str, value: Any) -> None:
    with pytest.raises(WSInvalidOptionError, match=f"{name}=.*positive") as caught:
        make(name, value)
    assert repr(value) in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", [True, "5", b"5", [5], 5j])
def test_seconds_of_wrong_type(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=name):
        make(name, value)


@pytest.mark.parametrize("name", sorted(set(SECONDS) - set(OPTIONAL_SECONDS)))
def test_seconds_that_cannot_be_switched_off(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        make(name, None)


@pytest.mark.parametrize("name", NUMBERS)
def test_number(name: str) -> None:
    low, high = NUMBERS[name]
    for value in (low, high):
        assert getattr(make(name, value), name) == value


@pytest.mark.parametrize("name", NUMBERS)
def test_number_out_of_range(name: str) -> None:
    low, high = NUMBERS[name]
    for value in (low - 1, high + 1, -1, 2**63, -(2**63) - 1):
        with pytest.raises(WSInvalidOptionError, match="out of range") as caught:
            make(name, value)
        assert f"{name}={value!r}" in str(caught.value)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [True, 1024.0, "1024", b"1024", [1024]])
def test_number_of_wrong_type(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=name):
        make(name, value)


@pytest.mark.parametrize("name", sorted(set(NUMBERS) - {"write_low_watermark"}))
def test_number_that_cannot_be_none(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        make(name, None)


def test_low_watermark_follows_high_watermark() -> None:
    assert WSOptions(write_high_watermark=1000).write_low_watermark == 250
    assert WSOptions(write_high_watermark=0).write_low_watermark == 0
    assert (
        WSOptions(write_high_watermark=1000, write_low_watermark=1000).write_low_watermark == 1000
    )


def test_low_watermark_above_high_watermark() -> None:
    with pytest.raises(
        WSInvalidOptionError, match=r"write_low_watermark=1001.*write_high_watermark"
    ):
        WSOptions(write_high_watermark=1000, write_low_watermark=1001)


def test_high_watermark_above_the_cap() -> None:
    with pytest.raises(
        WSInvalidOptionError, match=r"write_high_watermark=11.*max_write_queue_size=10"
    ):
        WSOptions(write_high_watermark=11, max_write_queue_size=10)
    assert WSOptions(write_high_watermark=10, max_write_queue_size=10).write_high_watermark == 10


@pytest.mark.parametrize("member", list(WSAutoPingStrategy))
def test_strategy(member: WSAutoPingStrategy) -> None:
    assert make("auto_ping_strategy", member).auto_ping_strategy is member
    assert make("auto_ping_strategy", int(member)).auto_ping_strategy is member


def test_strategy_out_of_range() -> None:
    with pytest.raises(WSInvalidOptionError, match=r"auto_ping_strategy=3.*PING_WHEN_IDLE"):
        make("auto_ping_strategy", 3)


@pytest.mark.parametrize("value", [None, True, "PING_WHEN_IDLE", 1.0])
def test_strategy_of_wrong_type(value: Any) -> None:
    with pytest.raises(TypeError, match="auto_ping_strategy"):
        make("auto_ping_strategy", value)
