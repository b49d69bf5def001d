from __future__ import annotations

import inspect
from typing import Any, Dict, List, Tuple, Type

import pytest

import picows_codec
from picows_codec import errors

# The tree of the module's docstring, checked against the classes.
TREE: Dict[str, Tuple[str, ...]] = {
    "WSError": ("Exception",),
    "WSUsageError": ("WSError",),
    "WSInvalidURL": ("WSUsageError", "ValueError"),
    "WSInvalidOptionError": ("WSUsageError", "ValueError"),
    "WSInvalidCloseError": ("WSUsageError", "ValueError"),
    "WSInvalidFrameError": ("WSUsageError", "ValueError"),
    "WSStateError": ("WSUsageError", "RuntimeError"),
    "WSThreadError": ("WSUsageError", "RuntimeError"),
    "WSHandshakeError": ("WSError",),
    "WSInvalidMessageError": ("WSHandshakeError",),
    "WSInvalidStatusError": ("WSHandshakeError",),
    "WSInvalidHeaderError": ("WSHandshakeError",),
    "WSInvalidUpgradeError": ("WSInvalidHeaderError",),
    "WSHandshakeTimeout": ("WSHandshakeError", "TimeoutError"),
    "WSProtocolError": ("WSError",),
    "WSConnectionError": ("WSError", "ConnectionError"),
    "WSConnectionClosed": ("WSConnectionError",),
    "WSPingTimeout": ("WSConnectionError",),
    "WSCloseTimeout": ("WSConnectionError",),
    "WSDataTimeout": ("WSConnectionError",),
    "WSSlowConsumer": ("WSConnectionError",),
    "WSProxyError": ("WSConnectionError",),
}


def classes() -> List[Type[BaseException]]:
    return [
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, BaseException)
    ]


def test_tree() -> None:
    assert {
        cls.__name__: tuple(base.__name__ for base in cls.__bases__) for cls in classes()
    } == TREE


def test_tree_of_the_docstring() -> None:
    assert errors.__doc__ is not None
    parents: Dict[int, str] = {}
    drawn: Dict[str, str] = {}
    for line in errors.__doc__.splitlines():
        if "WS" not in line or line.startswith("A wrong"):
            continue
        depth = line.index("WS")
        name = line[depth:].split()[0]
        parents[depth] = name
        if depth - 4 in parents:
            drawn[name] = parents[depth - 4]
    assert drawn == {name: bases[0] for name, bases in TREE.items() if name != "WSError"}


def test_names() -> None:
    assert set(errors.__all__) == set(TREE)
    assert errors.__all__ == sorted(errors.__all__)
    for name in TREE:
        assert getattr(picows_codec, name) is getattr(errors, name)
        assert name in picows_codec.__all__
        assert getattr(errors, name).__doc__


def test_url() -> None:
    error = errors.WSInvalidURL("htp://x", "the scheme must be ws or wss")
    assert error.url == "htp://x"
    assert str(error) == "'htp://x' is not a valid WebSocket URL: the scheme must be ws or wss"


def test_handshake_error() -> None:
    error = errors.WSHandshakeError("message")
    assert str(error) == "message"
    assert (error.raw_header, error.raw_body, error.response, error.status) == (
        None,
        None,
        None,
        400,
    )
    response: Any = object()
    error = errors.WSInvalidStatusError("message", b"head", b"body", response, 503)
    assert (error.raw_header, error.raw_body, error.response, error.status) == (
        b"head",
        b"body",
        response,
        503,
    )


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.WSInvalidMessageError, 400),
        (errors.WSInvalidStatusError, 400),
        (errors.WSHandshakeTimeout, 408),
    ],
)
def test_default_status(kind: Type[errors.WSHandshakeError], status: int) -> None:
    assert kind("message").status == status
    assert kind("message", status=431).status == 431


def test_header_error() -> None:
    error = errors.WSInvalidHeaderError("message", "Host", "a b", b"head", status=499)
    assert (error.name, error.value, error.raw_header, error.status) == (
        "Host",
        "a b",
        b"head",
        499,
    )
    assert errors.WSInvalidUpgradeError("message", "Upgrade").status == 426
    assert errors.WSInvalidUpgradeError("message", "Upgrade").value is None


def test_protocol_error() -> None:
    error = errors.WSProtocolError(1007, "not UTF-8")
    assert (error.code, str(error), tuple(error.frames)) == (1007, "not UTF-8", ())


@pytest.mark.parametrize("cls", classes(), ids=lambda cls: cls.__name__)
def test_can_be_raised_and_caught(cls: Any) -> None:
    arguments: Dict[str, Tuple[Any, ...]] = {
        "WSInvalidURL": ("url", "message"),
        "WSInvalidHeaderError": ("message", "name"),
        "WSInvalidUpgradeError": ("message", "name"),
        "WSProtocolError": (1002, "message"),
        "WSConnectionClosed": (1000, "message"),
    }
    for base in cls.__mro__[:-1]:
        with pytest.raises(base, match="message"):
            raise cls(*arguments.get(cls.__name__, ("message",)))


@pytest.mark.parametrize("cls", classes(), ids=lambda cls: cls.__name__)
def test_one_except_clause_is_enough(cls: Any) -> None:
    assert issubclass(cls, errors.WSError)
    assert cls is errors.WSError or not cls.__name__.startswith("_")
