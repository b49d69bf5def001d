"""picows_codec.deferred_response: a decision that is made later, without a task."""

from __future__ import annotations

from typing import Any, List

import pytest

from picows_codec import ServerHandshake, WSListener, WSOptions, WSUpgradeResponse
from picows_codec.deferred_response import DeferredResponse, SentResponse
from tests.support.rawclient import upgrade_request


class Deferred(DeferredResponse):
    def __init__(self) -> None:
        super().__init__()
        self.events: List[str] = []

    def begin(self, endpoint: Any) -> None:
        self.events.append("begin")

    def lost(self) -> None:
        self.events.append("lost")


def test_a_decision_calls_back_once() -> None:
    deferred = Deferred()
    results: List[Any] = []
    deferred.add_done_callback(lambda each: results.append(each.result()))
    deferred.decide("first")
    deferred.decide("second")
    assert results == ["first"]
    assert deferred.exception() is None
    assert not deferred.cancelled()


def test_nobody_waits_any_more() -> None:
    deferred = Deferred()
    results: List[Any] = []
    deferred.add_done_callback(lambda each: results.append(each.result()))
    deferred.cancel()
    deferred.cancel()
    deferred.decide("late")
    assert deferred.events == ["lost"]
    assert deferred.cancelled()
    assert results == []


def test_it_cannot_be_awaited() -> None:
    with pytest.raises(TypeError, match="listener factory"):
        Deferred().__await__()


def test_only_a_valid_upgrade_is_deferred() -> None:
    deferred = Deferred()
    handshake = ServerHandshake(lambda request: deferred, WSOptions())
    handshake.feed_data(upgrade_request())
    assert handshake.deferred is deferred
    assert not handshake.done
    handshake.resolve(WSListener())
    assert handshake.accepted
    broken = upgrade_request().replace(b"Version: 13", b"Version: 12")
    handshake = ServerHandshake(lambda request: deferred, WSOptions())
    handshake.feed_data(broken)
    assert handshake.done
    assert handshake.take_to_send().startswith(b"HTTP/1.1 426 ")
    assert deferred.events == []


@pytest.mark.parametrize("compression", ["deflate", None])
def test_offers_of_extensions_are_checked_first(compression: Any) -> None:
    deferred = Deferred()
    options = WSOptions(compression=compression)
    handshake = ServerHandshake(lambda request: deferred, options)
    handshake.feed_data(upgrade_request(headers=[("Sec-WebSocket-Extensions", ";")]))
    assert handshake.done is (compression is not None)
    if handshake.done:
        assert handshake.take_to_send().startswith(b"HTTP/1.1 400 ")
    handshake = ServerHandshake(lambda request: deferred, options)
    handshake.feed_data(upgrade_request(headers=[("Sec-WebSocket-Extensions", "x; y=1")]))
    assert handshake.deferred is deferred
    handshake.resolve(WSListener())
    assert handshake.accepted


def test_a_response_that_was_sent_elsewhere() -> None:
    handshake = ServerHandshake(lambda request: Deferred(), WSOptions())
    handshake.feed_data(upgrade_request())
    handshake.resolve(SentResponse(404, "Not Found"))
    assert handshake.done
    assert not handshake.accepted
    assert handshake.error is None
    assert handshake.response is not None
    assert repr(handshake.response) == "<WSUpgradeResponse 404 Not Found>"
    assert handshake.take_to_send() == b""


def test_a_refusal() -> None:
    handshake = ServerHandshake(lambda request: Deferred(), WSOptions())
    handshake.feed_data(upgrade_request())
    handshake.resolve(WSUpgradeResponse.create_error_response(403))
    assert handshake.take_to_send().startswith(b"HTTP/1.1 403 ")


def test_one_for_any_request() -> None:
    class ForAny(Deferred):
        is_for_upgrades = False

    deferred = ForAny()
    handshake = ServerHandshake(lambda request: deferred, WSOptions())
    handshake.feed_data(b"GET / HTTP/1.0\r\n\r\n")
    assert handshake.deferred is deferred
    assert not handshake.response_begun
    handshake.resolve(SentResponse(200, "OK"))
    assert handshake.done
    assert handshake.error is None


def test_one_that_sends_nothing_is_not_told_of_room() -> None:
    Deferred().resume_writing()
