"""picows_codec.deflate.deflating: what is sent (RFC 7692, 7.2.1); the oracle is plain zlib."""

from __future__ import annotations

import os
import random
import threading
import zlib
from typing import Any, List

import pytest

from picows_codec import (
    WSDisconnectKind,
    WSInvalidFrameError,
    WSPermessageDeflate,
    WSPreparedMessage,
    WSStateError,
    broadcast,
)
from picows_codec.deflate import deflating
from picows_codec.deflate.deflating import compress_once
from picows_codec.deflate.engine import new_deflater
from tests.support.connection import Recorder, both_roles, kind_of
from tests.support.deflate import ALONE, TAIL, DeflateConnection, Peer, forget_streams, inflated
from tests.support.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT

MESSAGES = [b'{"id":%d,"side":"buy","price":"%d.5"}' % (n, n * n) for n in range(40)]

pytestmark = pytest.mark.usefixtures("each_library")


def parameters(**given: Any) -> WSPermessageDeflate:
    given.setdefault("min_size", 0)
    return WSPermessageDeflate(client_compresses=True, **given)


@both_roles
def test_context_takeover(role: str) -> None:
    connection = DeflateConnection(role)
    peer = Peer(window_bits=13 if role == "server" else 15)
    sizes = []
    for message in MESSAGES:
        connection.ws.send(TEXT, message)
        (frame,) = connection.sent()
        assert (frame.opcode, frame.fin, frame.rsv) == (TEXT, True, 4)
        assert peer.inflate(frame.payload) == message
        sizes.append(len(frame.payload))
    assert max(sizes[5:]) < sizes[0]


@both_roles
def test_no_context_takeover(role: str) -> None:
    connection = DeflateConnection(role, answer=ALONE)
    for message in [b"a" * 1000, b"b" * 1000, *[b"a" * 1000] * 3]:
        connection.ws.send(BINARY, message)
        (frame,) = connection.sent()
        assert frame.rsv == 4
        assert inflated(frame.payload) == message


@pytest.mark.parametrize("bits", range(9, 16))
@pytest.mark.parametrize("level", [1, 9])
def test_window(bits: int, level: int) -> None:
    """No reference is longer than the window that was agreed on."""
    connection = DeflateConnection(
        "server", answer=f"permessage-deflate; server_max_window_bits={bits}",
        compression=parameters(level=level, server_max_window_bits=15),
    )  # fmt: skip
    inflater = zlib.decompressobj(-bits)
    draw = random.Random(bits)
    blocks = [bytes(draw.choices(range(256), k=200)) for _ in range(4)]
    window = 1 << bits
    for number in range(30):
        # What lies in the window, at its edge, and just beyond it.
        between = draw.choice([100, window // 2, window - 260, window - 200, window, window + 5])
        message = blocks[number % 4] + bytes(draw.choices(range(256), k=between))
        message += blocks[(number + 1) % 4]
        connection.ws.send(BINARY, message)
        (frame,) = connection.sent()
        # In small steps, because zlib finds more than its window in what it has just put out.
        data, found = frame.payload + TAIL, b""
        while data:
            found += inflater.decompress(data, 50)
            data = inflater.unconsumed_tail
        while len(found) < len(message):
            found += inflater.decompress(b"", 50)
        assert found == message


def test_window_that_zlib_cannot_make() -> None:
    for connection in (
        DeflateConnection("client", answer="permessage-deflate; client_max_window_bits=8"),
        DeflateConnection("server", answer="permessage-deflate; server_max_window_bits=8"),
    ):
        connection.ws.send(TEXT, b"a" * 500)
        (frame,) = connection.sent()
        assert (frame.rsv, frame.payload) == (0, b"a" * 500)


def test_a_client_compresses_nothing_by_default() -> None:
    connection = DeflateConnection("client", compression="deflate")
    connection.ws.send(TEXT, b"a" * 500)
    assert [(frame.rsv, len(frame.payload)) for frame in connection.sent()] == [(0, 500)]


@both_roles
def test_min_size(role: str) -> None:
    connection = DeflateConnection(role, compression=parameters(min_size=100))
    for size, rsv in ((99, 0), (100, 4), (0, 0), (101, 4)):
        connection.ws.send(TEXT, b"a" * size)
        (frame,) = connection.sent()
        assert frame.rsv == rsv
    # The first fragment decides for the whole message.
    for first, rsv in ((b"a" * 99, 0), (b"a" * 100, 4)):
        connection.ws.send(TEXT, first, fin=False)
        connection.ws.send(CONTINUATION, b"a" * 200)
        sent = connection.sent()
        assert [frame.rsv for frame in sent] == [rsv, 0]
        assert (len(sent[1].payload) == 200) == (rsv == 0)


@both_roles
@pytest.mark.parametrize("answer", ["permessage-deflate", ALONE])
def test_fragments_with_pings_between(role: str, answer: str) -> None:
    connection = DeflateConnection(role, answer=answer)
    peer = Peer(alone=answer == ALONE)
    for parts in ([b"one ", b"two ", b"one two three"], [b"", b"", b""], [b"x" * 5000, b"", b"y"]):
        connection.ws.send(TEXT, parts[0], fin=False)
        connection.ws.send_ping(b"ping" * 5)
        connection.ws.send(CONTINUATION, parts[1], fin=False)
        connection.ws.send_pong()
        with pytest.raises(WSInvalidFrameError, match="a fragmented message is under way"):
            connection.ws.send(TEXT, b"no")
        connection.ws.send(CONTINUATION, parts[2])
        sent = connection.sent()
        assert [frame.opcode for frame in sent] == [TEXT, PING, CONTINUATION, PONG, CONTINUATION]
        assert [frame.rsv for frame in sent] == [4, 0, 0, 0, 0]
        assert sent[1].payload == b"ping" * 5
        data = b"".join(frame.payload for frame in sent if frame.opcode <= TEXT)
        assert peer.inflate(data) == b"".join(parts)
    with pytest.raises(WSInvalidFrameError, match="no fragmented message to continue"):
        connection.ws.send(CONTINUATION, b"no")


@both_roles
@pytest.mark.parametrize("answer", ["permessage-deflate", ALONE])
def test_empty_messages(role: str, answer: str) -> None:
    connection = DeflateConnection(role, answer=answer)
    peer = Peer(alone=answer == ALONE)
    for message in (b"", b"", b"text", b""):
        connection.ws.send(TEXT, message)
        (frame,) = connection.sent()
        assert (peer.inflate(frame.payload) if frame.rsv else frame.payload) == message


def test_what_does_not_get_smaller_is_sent_as_it_is() -> None:
    connection = DeflateConnection("server", answer=ALONE)
    connection.ws.send(BINARY, b"xyz")
    (frame,) = connection.sent()
    assert (frame.rsv, frame.payload) == (0, b"xyz")


@both_roles
@pytest.mark.parametrize("size", [0, 5, 300, 100_000])
def test_every_way_to_send(role: str, size: int) -> None:
    connection = DeflateConnection(role, compression=parameters(level=6))
    peer = Peer()
    payload = b"z" * size
    for message in (payload, bytearray(payload), memoryview(payload), payload.decode()):
        connection.ws.send(TEXT, message)
    buffer = bytearray(14) + payload
    connection.ws.send_reuse_external_bytearray(BINARY, buffer, 14)
    assert buffer[14:] == payload
    with connection.ws.cork():
        connection.ws.send(BINARY, payload)
    connection.ws.send_many(BINARY, [payload, bytearray(payload)])
    sent = connection.sent()
    assert len(sent) == 8
    for frame in sent:
        assert frame.rsv == 4
        assert peer.inflate(frame.payload) == payload


@both_roles
@pytest.mark.parametrize("context", ["permessage-deflate", ALONE])
def test_pause_is_reported_once_all_is_queued(role: str, context: str) -> None:
    """What the listener does then comes after all messages of send_many."""
    for act, last in (
        (lambda transport: transport.send(TEXT, "in pause", fin=False), TEXT),
        (lambda transport: transport.disconnect(), CLOSE),
    ):
        listener = Recorder().act("pause_writing", act)
        connection = DeflateConnection(
            role, listener, answer=context, room=0, write_high_watermark=1000
        )
        payloads = [os.urandom(30_000) for _ in range(10)]
        connection.ws.send_many(BINARY, payloads)
        assert listener.count("paused") == 1
        sent = connection.sent()
        assert [frame.opcode for frame in sent] == [BINARY] * 10 + [last]
        peer = Peer(alone=context == ALONE)
        for frame, payload in zip(sent, payloads):
            assert (peer.inflate(frame.payload) if frame.rsv else frame.payload) == payload


@both_roles
@pytest.mark.parametrize("is_prepared", [False, True])
def test_messages_of_finalizers(
    role: str, is_prepared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The garbage collector may run while a message is compressed, and a finalizer may send."""
    another = b"another" * 9
    interrupted = set(MESSAGES[1::3])  # while each of these is compressed, another is sent

    class Stream:
        def __init__(self, *arguments: Any) -> None:
            self._stream = new_deflater(*arguments)

        def compress(self, data: Any) -> bytes:
            found: bytes = self._stream.compress(data)
            if bytes(data) in interrupted:
                interrupted.remove(bytes(data))
                if is_prepared:
                    connection.ws.send_prepared(WSPreparedMessage(BINARY, another))
                else:
                    connection.ws.send(BINARY, another)
            return found

        def flush(self, mode: int) -> bytes:
            flushed: bytes = self._stream.flush(mode)
            return flushed

    monkeypatch.setattr(deflating, "new_deflater", Stream)
    connection = DeflateConnection(role)
    for message in MESSAGES:
        connection.ws.send(TEXT, message)
    peer = Peer()
    found = [
        peer.inflate(frame.payload) if frame.rsv else frame.payload for frame in connection.sent()
    ]
    assert not interrupted
    assert another in found
    assert [message for message in found if message != another] == MESSAGES


@both_roles
@pytest.mark.parametrize("answer", ["permessage-deflate", ALONE])
@pytest.mark.parametrize("is_lost", [False, True])
def test_disconnecting_while_a_message_is_compressed(
    role: str, answer: str, is_lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent after the CLOSE frame, and nothing of what is in use is released."""

    class Stream:
        def __init__(self, *arguments: Any) -> None:
            self._stream = new_deflater(*arguments)

        def compress(self, data: Any) -> bytes:
            found: bytes = self._stream.compress(data)
            connection.ws.disconnect(not is_lost)
            if is_lost:
                connection.lose()
            return found

        def flush(self, mode: int) -> bytes:
            flushed: bytes = self._stream.flush(mode)
            return flushed

    forget_streams()
    monkeypatch.setattr(deflating, "new_deflater", Stream)
    connection = DeflateConnection(role, answer=answer)
    with pytest.raises(WSStateError, match="cannot send"):
        connection.ws.send(TEXT, b"a" * 1000)
    assert [frame.opcode for frame in connection.sent()] == ([] if is_lost else [CLOSE])
    forget_streams()


@both_roles
def test_nothing_is_sent_above_the_cap_of_the_queue(role: str) -> None:
    connection = DeflateConnection(
        role, room=0, write_high_watermark=1000, max_write_queue_size=100_000
    )
    connection.ws.send_many(BINARY, [os.urandom(30_000) for _ in range(20)])
    assert kind_of(connection) is WSDisconnectKind.SLOW_CONSUMER
    assert connection.cause is not None
    assert connection.cause.unsent_bytes > 100_000
    calls = connection.transport.calls
    assert calls.count("abort") == 1
    assert "write" not in calls[calls.index("abort") :]


@both_roles
def test_broadcast(role: str) -> None:
    """It reaches connections that compress, unless they are in the middle of a message."""
    connection = DeflateConnection(role, compression=parameters(level=6))
    peer = Peer()
    for message in (b"a" * 300, b"b" * 300, b"c" * 300):
        connection.ws.send(TEXT, message)
        assert broadcast([connection.ws], message) == 1
        first, second = connection.sent()
        assert (first.opcode, first.rsv, second.opcode, second.rsv) == (TEXT, 4, BINARY, 4)
        assert peer.inflate(first.payload) == peer.inflate(second.payload) == message
    connection.ws.send(TEXT, MESSAGES[3], fin=False)
    assert broadcast([connection.ws], "x") == 0
    connection.ws.send(CONTINUATION, b"")
    assert broadcast([connection.ws], "x") == 1


@both_roles
def test_messages_that_the_caller_compressed(role: str) -> None:
    """They are passed on, and the next message refers to nothing before them."""
    connection = DeflateConnection(role, compression=parameters(server_max_window_bits=15)
                                   if role == "server" else None,
                                   answer="permessage-deflate")  # fmt: skip
    peer = Peer()
    text = b"the same text again and again, long enough to refer to"
    other = bytes(range(256)) * 40
    for _ in range(3):
        connection.ws.send(TEXT, text)
        connection.ws.send(BINARY, compress_once(other, 12), rsv1=True)
        connection.ws.send(TEXT, text)
        first, middle, last = connection.sent()
        assert [frame.rsv for frame in (first, middle, last)] == [4, 4, 4]
        assert peer.inflate(first.payload) == text
        assert peer.inflate(middle.payload) == other
        assert peer.inflate(last.payload) == text


def test_fragments_that_the_caller_compressed() -> None:
    connection = DeflateConnection("server")
    data = compress_once(b"a" * 1000, 12)
    connection.ws.send(TEXT, data[:3], fin=False, rsv1=True)
    connection.ws.send(CONTINUATION, data[3:])
    sent = connection.sent()
    assert [frame.rsv for frame in sent] == [4, 0]
    assert inflated(sent[0].payload + sent[1].payload) == b"a" * 1000


def test_rsv1_without_the_extension_stays_with_the_caller() -> None:
    connection = DeflateConnection("server", answer="other")
    connection.ws.send(TEXT, b"as it is", rsv1=True)
    (frame,) = connection.sent()
    assert (frame.rsv, frame.payload) == (4, b"as it is")


@pytest.mark.parametrize("bits", range(9, 16))
def test_compress_once(bits: int) -> None:
    for payload in (b"", b"a", b"ab" * 5000, bytes(range(256)) * 500):
        for _ in range(3):
            data = compress_once(payload, bits)
            assert Peer(window_bits=bits).inflate(data) == payload
    assert compress_once(bytearray(b"abc"), bits) == compress_once(b"abc", bits)


def test_one_stream_per_thread() -> None:
    """Messages of one connection leave nothing in those of another, and threads share no stream."""
    secret = b"a secret that is long enough to be referred to " * 3
    compress_once(secret, 12)
    assert inflated(compress_once(secret, 12)) == secret
    found: List[bool] = []

    def run(number: int) -> None:
        payload = b"%d" % number * 3000
        found.extend(inflated(compress_once(payload, 12)) == payload for _ in range(100))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found)
    assert len(found) == 400
