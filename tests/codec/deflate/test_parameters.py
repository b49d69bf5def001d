"""picows_codec.deflate.parameters: what a user says about compression."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from picows_codec import WSInvalidOptionError, WSOptions, WSPermessageDeflate

NUMBERS = {
    "level": (0, 9),
    "memory_level": (1, 9),
    "min_size": (0, 2**31 - 1),
    "server_max_window_bits": (8, 15),
    "client_max_window_bits": (8, 15),
}
FLAGS = ["server_no_context_takeover", "client_no_context_takeover", "client_compresses"]


def make(name: str, value: Any) -> WSPermessageDeflate:
    return WSPermessageDeflate(**{name: value})


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers(name: str) -> None:
    low, high = NUMBERS[name]
    for value in (low, high):
        assert getattr(make(name, value), name) == value
    for value in (low - 1, high + 1):
        with pytest.raises(WSInvalidOptionError, match=f"{name}={value} is out of range: {low} to"):
            make(name, value)
    for wrong in ("9", 9.0, True):
        with pytest.raises(TypeError, match=f"{name} must be an int"):
            make(name, wrong)


@pytest.mark.parametrize("name", FLAGS)
def test_flags(name: str) -> None:
    assert getattr(make(name, True), name) is True
    assert getattr(make(name, False), name) is False
    with pytest.raises(TypeError, match=f"{name} must be True or False, not 1"):
        make(name, 1)


def test_window_bits_may_be_left_open() -> None:
    parameters = WSPermessageDeflate()
    assert parameters.server_max_window_bits is None
    assert parameters.client_max_window_bits is None


def test_parameters_are_a_value() -> None:
    one, same, other = (WSPermessageDeflate(level=level) for level in (3, 3, 4))
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != "deflate"
    assert pickle.loads(pickle.dumps(one)) == one
    assert repr(one).startswith("WSPermessageDeflate(level=3, memory_level=")
    assert "client_compresses=False" in repr(one)


def test_parameters_are_immutable() -> None:
    parameters = WSPermessageDeflate()
    with pytest.raises(AttributeError, match="immutable"):
        parameters.level = 2
    with pytest.raises(AttributeError, match="immutable"):
        del parameters.level
    with pytest.raises(AttributeError):
        parameters.unknown = 2  # type: ignore[attr-defined]


def test_option() -> None:
    assert WSOptions().compression is None
    assert WSOptions(compression=None).compression is None
    assert WSOptions(compression="deflate").compression == WSPermessageDeflate()
    parameters = WSPermessageDeflate(level=2)
    assert WSOptions(compression=parameters).compression is parameters
    with pytest.raises(WSInvalidOptionError, match="compression='gzip' is unknown"):
        WSOptions(compression="gzip")
    for wrong in (True, 15, b"deflate", WSPermessageDeflate):
        with pytest.raises(TypeError, match='compression must be None, "deflate" or'):
            WSOptions(compression=wrong)  # type: ignore[arg-type]
