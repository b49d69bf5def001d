"""Messages to audiences: who takes them, who is left out, when callbacks come."""

from __future__ import annotations

import threading
from typing import Any, List

import pytest

from picows_codec import WSMsgType, WSPreparedMessage, WSThreadError, WSTransport
from picows_codec.fan_out import Audience, FanOut, Recipient
from tests.support.connection import Connection, both_roles
from tests.support.frames import TEXT


class Members(Audience):
    def __init__(self) -> None:
        self.events: List[Any] = []

    def missed(
        self, message: WSPreparedMessage, key: Any, left_out: List[Any], lost: List[Any]
    ) -> None:
        self.events.append((message.payload, key, left_out, lost))


def text(payload: str) -> WSPreparedMessage:
    return WSPreparedMessage(WSMsgType.TEXT, payload)


def members(role: str, count: int, **options: Any) -> Any:
    options.setdefault("coalesce_writes", False)
    links = [Connection(role, **options) for _ in range(count)]
    audience = Members()
    recipients = [Recipient(link.ws) for link in links]
    for recipient in recipients:
        assert audience.add(recipient)
    return links, audience, recipients


def heard(links: List[Connection]) -> List[List[str]]:
    return [[frame.payload.decode() for frame in link.sent() if frame.opcode < 8] for link in links]


@both_roles
def test_an_audience(role: str) -> None:
    links, audience, recipients = members(role, 3)
    fan_out = FanOut()
    assert fan_out.deliver(audience, text("1")) == 3
    assert not audience.add(recipients[0])
    assert audience.discard(recipients[1])
    assert not audience.discard(recipients[1])
    assert (len(audience), list(audience)) == (2, [recipients[0], recipients[2]])
    assert recipients[0] in audience
    assert recipients[1] not in audience
    assert fan_out.deliver(audience, text("2")) == 2
    assert fan_out.deliver(audience, text("3"), None, links[0].ws) == 1
    assert fan_out.deliver(audience, text("4"), None, {links[0].ws, links[2].ws}) == 0
    assert heard(links) == [["1", "2"], ["1"], ["1", "2", "3"]]
    assert audience.events == []
    assert fan_out.deliver(Audience(), text("nobody")) == 0


@both_roles
def test_who_is_left_out(role: str) -> None:
    links, audience, recipients = members(role, 4, room=0, write_high_watermark=10)
    fan_out = FanOut()
    links[0].ws.send(TEXT, "b", fin=False)
    links[1].ws.send(TEXT, "x" * 20)
    links[2].ws.disconnect()
    heard(links)
    assert fan_out.deliver(audience, text("1"), "key") == 2
    audience.spares = True
    assert fan_out.deliver(audience, text("2")) == 1
    assert [event[2] for event in audience.events] == [[recipients[0]], recipients[:2]]
    assert audience.events[0][:2] == (b"1", "key")
    assert heard(links) == [[], ["1"], [], ["1", "2"]]
    assert [recipient.is_open for recipient in recipients] == [True, True, False, True]
    assert [recipient.is_paused for recipient in recipients[:2]] == [False, True]
    assert recipients[1].queue_size > 20
    assert recipients[1].watermark == 10


@both_roles
def test_who_is_lost(role: str) -> None:
    links, audience, recipients = members(
        role, 3, room=0, write_high_watermark=10, max_write_queue_size=100
    )
    links[0].transport.fail_next()
    fan_out = FanOut()
    counts = [fan_out.deliver(audience, text("x" * 60)) for _ in range(3)]
    assert counts in ([2, 2, 0], [2, 0, 0])
    assert [len(event[3]) for event in audience.events] == [1, 2]
    assert recipients[0].most_queued == 100


@both_roles
def test_one_that_ends_as_slow(role: str) -> None:
    links, _, recipients = members(role, 1)
    recipients[0].end_as_slow(5000, "as asked for")
    assert "5000 bytes wait for a peer that does not read, and as asked for" in str(links[0].cause)


@both_roles
def test_sending_to_one(role: str) -> None:
    links, _, (recipient,) = members(role, 1, room=0, write_high_watermark=10)
    before = len(links[0].transport.writes)
    assert recipient.send([text("1"), text("2" * 20)], True) == 2
    assert len(links[0].transport.writes) == before + 1
    assert recipient.send([text("3")], True) == 0
    assert recipient.send([text("3")], False) == 1
    with pytest.raises(TypeError):
        recipient.send(["text"], False)  # type: ignore[list-item]
    links[0].lose()
    assert recipient.send([text("4")], False) in (0, 1)


@both_roles
def test_callbacks_come_at_the_end(role: str) -> None:
    links, audience, _ = members(role, 3, room=0, write_high_watermark=10)
    fan_out = FanOut()
    for link in links:
        link.listener.act("pause_writing", lambda transport: seen.append(len(heard([links[2]])[0])))
    seen: List[int] = []
    with fan_out:
        assert fan_out.is_under_way()
        with fan_out:
            assert fan_out.deliver(audience, text("x" * 20)) == 3
        assert seen == []
    assert not fan_out.is_under_way()
    assert seen == [1, 0, 0]


@both_roles
def test_batches(role: str) -> None:
    links, audience, _ = members(role, 2, room=0, write_high_watermark=10)
    before = [len(link.transport.writes) for link in links]
    fan_out = FanOut()
    fan_out.begin_batch()
    for number in range(3):
        assert fan_out.deliver(audience, text(str(number) * 20)) == 2
    fan_out.begin_batch()
    fan_out.end_batch()
    assert [len(link.transport.writes) for link in links] == before
    fan_out.end_batch()
    assert [len(link.transport.writes) for link in links] == [count + 1 for count in before]
    assert [link.listener.count("paused") for link in links] == [1, 1]


def test_another_thread() -> None:
    _, audience, (recipient,) = members("server", 1)
    fan_out = FanOut()
    fan_out.deliver(audience, text("x"))
    errors: List[BaseException] = []

    def call() -> None:
        for function in (
            lambda: fan_out.deliver(audience, text("x")),
            fan_out.begin_batch,
            lambda: recipient.send([text("x")], False),
        ):
            try:
                function()
            except WSThreadError as error:
                errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert len(errors) == 3


def test_a_transport_of_nobody() -> None:
    with pytest.raises(TypeError, match="was not made by the library"):
        Recipient(WSTransport.__new__(WSTransport))
