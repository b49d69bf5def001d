from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any, Dict, List, Tuple, Type

import pytest
from multidict import CIMultiDict

import picows_codec
from picows_codec import (
    WSCloseCode,
    WSCloseInfo,
    WSDisconnectCause,
    WSDisconnectKind,
    WSUpgradeResponse,
    errors,
)

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


ARGUMENTS: Dict[str, Tuple[Any, ...]] = {
    "WSInvalidURL": ("url", "message"),
    "WSInvalidHeaderError": ("message", "name"),
    "WSInvalidUpgradeError": ("message", "name"),
    "WSProtocolError": (1002, "message"),
    "WSConnectionClosed": (1000, "message"),
}


def test_closed_is_no_error_of_the_system() -> None:
    error = errors.WSConnectionClosed(1011, "why", WSDisconnectCause(WSDisconnectKind.PEER_CLOSE))
    assert (error.errno, error.strerror, error.filename) == (None, None, None)
    assert error.args == (1011, "why")
    assert repr(error) == "WSConnectionClosed(1011, 'why')"


COPIES: List[Any] = [
    copy.copy,
    copy.deepcopy,
    *(
        lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    ),
]


@pytest.mark.parametrize("cls", classes(), ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("copied", COPIES)
def test_copies(cls: Any, copied: Any) -> None:
    error = cls(*ARGUMENTS.get(cls.__name__, ("message",)))
    error.noted = ["by a user"]
    again = copied(error)
    assert type(again) is cls
    assert (str(again), again.args) == (str(error), error.args)
    assert vars(again) == vars(error)


@pytest.mark.parametrize("copied", COPIES)
def test_copies_of_what_an_error_holds(copied: Any) -> None:
    response = WSUpgradeResponse.create_error_response(404, b"none", {"X-A": "1"})
    refused = errors.WSInvalidStatusError("refused", b"head", b"body", response, 404)
    again = copied(refused)
    assert (again.status, again.raw_header, again.raw_body) == (404, b"head", b"body")
    assert again.response.to_bytes() == response.to_bytes()
    cause = WSDisconnectCause(
        WSDisconnectKind.PEER_CLOSE, None, 3, WSCloseInfo(WSCloseCode.GOING_AWAY, "bye")
    )
    closed = errors.WSConnectionClosed(1001, "bye", cause, cause.close, None)
    again = copied(closed)
    assert str(again) == str(closed) == str(cause)
    assert vars(again) == vars(closed)
    proxied = errors.WSProxyError("no", 407, CIMultiDict({"Proxy-Authenticate": "Basic"}), b"")
    again = copied(proxied)
    assert (again.status, again.body) == (407, b"")
    assert again.headers["proxy-authenticate"] == "Basic"


@pytest.mark.parametrize("cls", classes(), ids=lambda cls: cls.__name__)
def test_can_be_raised_and_caught(cls: Any) -> None:
    for base in cls.__mro__[:-1]:
        with pytest.raises(base, match="message"):
            raise cls(*ARGUMENTS.get(cls.__name__, ("message",)))


@pytest.mark.parametrize("cls", classes(), ids=lambda cls: cls.__name__)
def test_one_except_clause_is_enough(cls: Any) -> None:
    assert issubclass(cls, errors.WSError)
    assert cls is errors.WSError or not cls.__name__.startswith("_")
