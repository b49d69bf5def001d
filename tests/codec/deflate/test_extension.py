"""picows_codec.deflate.extension: both directions of one connection."""

from __future__ import annotations

import gc
import subprocess
import sys
import tracemalloc
import weakref
import zlib
from typing import Any, List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picows_codec import WSOptions, WSPermessageDeflate
from picows_codec.deflate import deflating, engine, inflating
from picows_codec.deflate.extension import new_compression
from picows_codec.deflate.negotiation import accept_offers
from tests.support.connection import Connection, both_roles
from tests.support.deflate import ALONE, TAIL, DeflateConnection, Peer
from tests.support.frames import BINARY, CONTINUATION, TEXT

pytestmark = pytest.mark.usefixtures("each_library")


def test_made_for_an_agreement() -> None:
    accepted = accept_offers(["permessage-deflate"], WSPermessageDeflate())
    assert accepted is not None
    assert new_compression(accepted[1], WSOptions()) is not None
    with pytest.raises(TypeError, match="agreement must be an Agreement, not str"):
        new_compression("permessage-deflate", WSOptions())  # type: ignore[arg-type]


def test_nothing_is_imported_without_the_option() -> None:
    program = (
        "import sys, picows_codec, picows_client, picows_server;"
        "picows_codec.WSOptions();"
        "names = [name for name in sys.modules if 'deflate' in name or 'zlib_' in name];"
        "sys.exit(str(names) if names else 0)"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, encoding="utf-8", check=False
    )
    assert outcome.returncode == 0, outcome.stderr


def bytes_of_idle(role: str, **options: Any) -> float:
    """What a connection takes, in bytes; the same parameters for all."""
    connections = [DeflateConnection(role, **options) for _ in range(30)]
    gc.collect()  # it also empties the interpreter's lists of free objects, which are not counted
    tracemalloc.start()
    try:
        connections.extend(DeflateConnection(role, **options) for _ in range(100))
        gc.collect()
        return tracemalloc.get_traced_memory()[0] / 100
    finally:
        tracemalloc.stop()


@both_roles
def test_an_idle_connection_costs_little_more(role: str) -> None:
    """Before the first compressed message: the longer heads, and an object."""
    with_it = bytes_of_idle(role, compression="deflate")
    without = bytes_of_idle(role, compression="deflate", answer="other" if role == "server" else "")
    assert with_it - without < 500


@both_roles
def test_nothing_is_kept_of_messages_without_takeover(role: str) -> None:
    connection = DeflateConnection(role, answer=ALONE)
    data = connection.compressed(BINARY, Peer().deflate(b"abc" * 1000))

    def use() -> None:
        connection.feed(data)
        connection.ws.send(BINARY, b"abc" * 1000)
        connection.sent()
        connection.listener.events.clear()

    use()
    tracemalloc.start()
    try:
        for _ in range(20):
            use()
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The test's transport notes each call. A stream has 7 KB, and there was one.
    assert kept < 5000
    assert peak > 7000


@both_roles
def test_echo(role: str) -> None:
    connection = DeflateConnection(role)
    connection.listener.act(
        "on_ws_frame", lambda transport, frame: transport.send(frame.opcode, frame)
    )
    to_us, to_them = Peer(), Peer()
    messages = [b"", b"{}", b'{"a":1}' * 20_000, b"end"]
    for message in messages:
        connection.feed(connection.compressed(BINARY, to_us.deflate(message)))
    assert [to_them.inflate(frame.payload) for frame in connection.sent()] == messages


def test_two_ends_of_picows() -> None:
    parameters = WSPermessageDeflate(min_size=0, client_compresses=True)
    client = DeflateConnection("client", compression=parameters)
    server = DeflateConnection("server", compression=parameters)
    for number in range(50):
        for sender, receiver in ((client, server), (server, client)):
            message = b'{"number":%d,"text":"%s"}' % (number, b"a" * number)
            sender.ws.send(TEXT, message)
            receiver.feed(sender.sent_bytes())
            assert receiver.messages()[-1] == message


class Stream:
    """Of the library that is used; one that can be watched."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@both_roles
@pytest.mark.parametrize("answer", ["permessage-deflate", ALONE])
@pytest.mark.parametrize("end", ["loss", "disconnect", "close", "violation", "broken stream"])
def test_streams_end_with_the_connection(
    role: str, answer: str, end: str, no_collector: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a message either way, and without the garbage collector's help."""
    streams: List[Any] = []

    def watched(make: Any) -> Any:
        def new(*arguments: Any) -> Stream:
            stream = Stream(make(*arguments))
            streams.append(weakref.ref(stream))
            return stream

        return new

    monkeypatch.setattr(deflating, "new_deflater", watched(engine.new_deflater))
    monkeypatch.setattr(inflating, "new_inflater", watched(engine.new_inflater))
    connection: Connection = DeflateConnection(role, answer=answer)
    wire = Peer().deflate(b"half of a message")
    connection.feed(connection.build(BINARY, wire[:5], fin=False, rsv=4))
    connection.ws.send(BINARY, b"a" * 1000, fin=False)
    assert [stream() is None for stream in streams] == [False, False]
    if end == "disconnect":
        connection.ws.disconnect(False)
    elif end == "close":
        connection.receive_close(1000, b"")
    elif end == "violation":
        connection.feed(connection.build(BINARY, b""))
    elif end == "broken stream":
        connection.feed(connection.build(CONTINUATION, b"\xff" * 20))
    connection.lose()
    assert connection.cause is not None
    assert [stream() for stream in streams] == [None, None]


@given(
    messages=st.lists(st.binary(max_size=300) | st.just(b"abc" * 500), max_size=6),
    cuts=st.lists(st.integers(0, 400), max_size=8),
    fragments=st.integers(1, 4),
    role=st.sampled_from(["client", "server"]),
    alone=st.booleans(),
    level=st.integers(0, 9),
)
def test_any_chunking_and_fragmentation(
    messages: List[bytes], cuts: List[int], fragments: int, role: str, alone: bool, level: int
) -> None:
    connection = DeflateConnection(role, answer=ALONE if alone else "permessage-deflate")
    peer = Peer(alone=alone, level=level)
    data = b""
    for message in messages:
        wire = peer.deflate(message)
        size = len(wire) // fragments
        parts = [wire[index * size : (index + 1) * size] for index in range(fragments - 1)]
        parts.append(wire[(fragments - 1) * size :])
        for index, part in enumerate(parts):
            data += connection.compressed(
                CONTINUATION if index else BINARY, part, fin=index == fragments - 1
            )
    position = 0
    for cut in cuts:
        if data[position : position + cut]:
            connection.feed(data[position : position + cut])
        position += cut
    if data[position:]:
        connection.feed(data[position:])
    assert connection.cause is None
    found = connection.messages()
    assert [
        b"".join(found[index : index + fragments]) for index in range(0, len(found), fragments)
    ] == messages


@given(
    sends=st.lists(
        st.tuples(st.binary(max_size=300) | st.just(b"abc" * 400), st.booleans()), max_size=12
    ),
    role=st.sampled_from(["client", "server"]),
    alone=st.booleans(),
    level=st.integers(0, 9),
    min_size=st.sampled_from([0, 64]),
)
def test_whatever_is_sent_zlib_inflates(
    sends: List[object], role: str, alone: bool, level: int, min_size: int
) -> None:
    connection = DeflateConnection(
        role,
        answer=ALONE if alone else "permessage-deflate",
        compression=WSPermessageDeflate(level=level, min_size=min_size, client_compresses=True),
    )
    peer = Peer(alone=alone)
    messages: List[bytes] = []
    under_way = False
    for payload, fin in [*sends, (b"", True)]:  # type: ignore[misc]
        connection.ws.send(CONTINUATION if under_way else BINARY, payload, fin=fin)
        if not under_way:
            messages.append(b"")
        messages[-1] += payload
        under_way = not fin
    received: List[bytes] = []
    wire, compressed = b"", False
    for frame in connection.sent():
        if frame.opcode:
            wire, compressed = b"", frame.rsv == 4
        wire += frame.payload
        if frame.fin:
            received.append(peer.inflate(wire) if compressed else wire)
    assert received == messages


@given(data=st.binary(max_size=200), role=st.sampled_from(["client", "server"]))
def test_any_bytes_as_a_message(data: bytes, role: str) -> None:
    """Either what zlib makes of them, or 1007."""
    connection = DeflateConnection(role)
    connection.feed(connection.compressed(BINARY, data))
    oracle = zlib.decompressobj(-15)
    try:
        # An empty block, in which an incomplete message goes wrong, follows the tail.
        wanted = oracle.decompress(data + TAIL + b"\xf8\x00\x00\xff\xff") if data else b""
    except zlib.error:
        assert connection.cause is not None
        return
    if oracle.eof:
        return  # what follows a final block is tested elsewhere
    if connection.cause is None:
        assert connection.messages() == [wanted]
    else:
        # ISA-L has seen what is wrong with a block before it has all of the block's head.
        with pytest.raises(zlib.error):
            oracle.decompress(bytes(1000))
