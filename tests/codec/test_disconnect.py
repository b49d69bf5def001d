from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from picows_codec import (
    WSCloseHandshake,
    WSCloseInfo,
    WSDataTimeout,
    WSDisconnectCause,
    WSDisconnectKind,
    WSState,
    disconnect,
)


def test_names() -> None:
    assert disconnect.__all__ == sorted(disconnect.__all__)
    for name in disconnect.__all__:
        assert getattr(disconnect, name).__doc__


def test_states_only_advance() -> None:
    assert [state.name for state in sorted(WSState)] == ["CONNECTING", "OPEN", "CLOSING", "CLOSED"]
    assert [int(state) for state in WSState] == [0, 1, 2, 3]


def test_every_kind_says_what_it_means() -> None:
    assert len({kind.value for kind in WSDisconnectKind}) == len(WSDisconnectKind) == 11


def test_cause() -> None:
    cause = WSDisconnectCause(WSDisconnectKind.PEER_CLOSE)
    assert (cause.exception, cause.unsent_bytes) == (None, 0)
    assert str(cause) == "the peer closed"
    cause = WSDisconnectCause(WSDisconnectKind.PING_TIMEOUT, TimeoutError("too late"), 17)
    assert str(cause) == "the peer did not answer a ping: too late (17 bytes were not sent)"
    assert (cause.code, cause.reason) == (1006, "")
    cause = WSDisconnectCause(
        WSDisconnectKind.DATA_TIMEOUT, WSDataTimeout("no data"), close=WSCloseInfo(1011, "silent")
    )
    assert str(cause) == "no data; the peer was told 1011"
    assert (cause.code, cause.reason) == (1011, "silent")


@pytest.mark.parametrize(
    ("kind", "exception", "unsent", "close", "text"),
    [
        (
            "PEER_CLOSE",
            None,
            0,
            (1012, "service restart"),
            "the peer closed: 1012 (service restart)",
        ),
        ("PEER_CLOSE", None, 0, (1000, ""), "the peer closed: 1000"),
        ("PEER_CLOSE", None, 0, (1005, ""), "the peer closed: no code"),
        ("PEER_CLOSE", None, 0, (4000, "a\nb\u00e9"), "the peer closed: 4000 (a\\nb\u00e9)"),
        (
            "LOCAL_CLOSE",
            None,
            3,
            (1001, "bye"),
            "this side closed: 1001 (bye) (3 bytes were not sent)",
        ),
        (
            "PROTOCOL_ERROR",
            ValueError("bad"),
            0,
            (1002, "bad"),
            "the peer broke RFC 6455 or passed a limit: bad; the peer was told 1002",
        ),
        (
            "LISTENER_EXCEPTION",
            KeyError(),
            0,
            None,
            "a callback of the listener raised an exception: KeyError()",
        ),
        (
            "LISTENER_EXCEPTION",
            ValueError("a\nb"),
            0,
            None,
            "a callback of the listener raised an exception: a\\nb",
        ),
    ],
)
def test_cause_as_text(kind: str, exception: Any, unsent: int, close: Any, text: str) -> None:
    info = WSCloseInfo(*close) if close is not None else None
    cause = WSDisconnectCause(WSDisconnectKind[kind], exception, unsent, info)
    assert str(cause) == text


@pytest.mark.parametrize(
    "value",
    [
        WSDisconnectCause(WSDisconnectKind.PEER_CLOSE),
        WSCloseInfo(1000, ""),
        WSCloseHandshake(None, None, recv_then_sent=False),
    ],
)
def test_frozen(value: Any) -> None:
    for field in dataclasses.fields(value):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, field.name, None)
    assert hash(value) == hash(dataclasses.replace(value))
