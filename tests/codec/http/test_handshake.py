from __future__ import annotations

from typing import Any, Callable, Dict, List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picows_codec.errors import WSHandshakeTimeout, WSInvalidMessageError
from picows_codec.http.client_handshake import ClientHandshake
from picows_codec.http.handshake import OpeningHandshake
from picows_codec.http.server_handshake import ServerHandshake
from picows_codec.http.upgrade import (
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)
from tests.support.handshakes import (
    LISTENER,
    MARK,
    TAIL,
    Feed,
    check_refusal,
    check_route_error,
    client_with,
    make_client,
    make_server,
    request_head,
    response_head,
)

# What is fed


def test_nothing_is_taken_once_done(feed: Feed) -> None:
    server = make_server()
    feed(server, request_head())
    assert server.feed_data(TAIL) == 0
    assert server.accepted


def test_nothing_is_fed() -> None:
    server = make_server()
    assert server.feed_data(b"") == 0
    assert not server.done
    assert server.to_send == b""


def test_take_to_send() -> None:
    server = make_server()
    assert server.take_to_send() == b""
    server.feed_data(request_head())
    data = server.to_send
    assert data
    assert server.take_to_send() == data
    assert server.to_send == server.take_to_send() == b""


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_feed_bytes_like(kind: Callable[[bytes], Any]) -> None:
    server = make_server()
    assert server.feed_data(kind(request_head())) == len(request_head())
    assert server.accepted


@pytest.mark.parametrize("data", ["GET", None, 1, memoryview(bytes(8))[::2]])
def test_feed_something_else(data: Any) -> None:
    with pytest.raises((TypeError, BufferError)):
        make_server().feed_data(data)


def test_what_is_fed_may_change_afterwards() -> None:
    server = make_server()
    for byte in request_head():
        piece = bytearray([byte])
        server.feed_data(piece)
        piece[0] = 0
    assert server.accepted
    data = bytearray(request_head())
    server = make_server()
    server.feed_data(data)
    data[:] = bytes(len(data))
    assert server.request.raw_header == request_head()


# Limits, while bytes arrive


def refused_at(handshake: OpeningHandshake, data: bytes) -> int:
    """How many bytes it takes until the handshake is refused."""
    for size in range(len(data)):
        handshake.feed_data(data[size : size + 1])
        if handshake.done:
            return size + 1
    raise AssertionError("not refused")


def test_request_line_limit() -> None:
    server = make_server(max_handshake_line_size=100)
    data = b"GET /" + b"a" * 1000
    assert refused_at(server, data) == 101
    check_refusal(server, data, 414, WSInvalidMessageError)
    server = make_server(max_handshake_line_size=100)
    assert server.feed_data(data) == len(data)
    check_refusal(server, data, 414, WSInvalidMessageError)


def test_request_line_at_its_limit(feed: Feed) -> None:
    server = make_server(max_handshake_line_size=100)
    feed(server, request_head(first_line="GET /" + "a" * 86 + " HTTP/1.1"))
    assert server.accepted


def test_header_line_limit() -> None:
    server = make_server(max_handshake_line_size=100)
    before = request_head()[:-2]
    data = before + b"A: " + b"a" * 1000
    assert refused_at(server, data) == len(before) + 101
    check_refusal(server, data, 431, WSInvalidMessageError)


def test_header_count_limit() -> None:
    server = make_server(max_handshake_headers=6)
    data = request_head()[:-2] + b"A: b\r\n\r\n"
    assert refused_at(server, data) == len(data) - 7
    check_refusal(server, data, 431, WSInvalidMessageError)


def test_header_count_at_its_limit(feed: Feed) -> None:
    server = make_server(max_handshake_headers=6)
    feed(server, request_head())
    assert server.accepted


def test_size_limit() -> None:
    data = request_head(("X-Fill", "a" * 300))
    server = make_server(max_handshake_size=len(data) - 1)
    assert refused_at(server, data) == len(data) - 1
    check_refusal(server, data, 431, WSInvalidMessageError)
    server = make_server(max_handshake_size=len(data) - 1)
    assert server.feed_data(data) == len(data)
    check_refusal(server, data, 431, WSInvalidMessageError)


def test_size_at_its_limit(feed: Feed) -> None:
    data = request_head(("X-Fill", "a" * 300))
    server = make_server(max_handshake_size=len(data))
    assert feed(server, data) == len(data)
    assert server.accepted


def test_a_tail_larger_than_the_limit() -> None:
    data = request_head(("X-Fill", "a" * 300))
    for split in (0, 10):
        server = make_server(max_handshake_size=len(data))
        server.feed_data(data[:split])
        assert server.feed_data(data[split:] + bytes(10000)) == len(data) - split
        assert server.accepted


def test_no_more_than_the_limit_is_kept() -> None:
    server = make_server(max_handshake_size=1000, max_handshake_line_size=10000)
    server.feed_data(b"GET /")
    assert server.feed_data(b"a" * 100000) == 100000
    assert isinstance(server.error, WSInvalidMessageError)
    assert len(server.error.raw_header or b"") == 1000


def test_client_limits() -> None:
    client, answer = make_client(max_handshake_line_size=100)
    assert refused_at(client, answer[:-2] + b"A: " + b"a" * 1000) == len(answer) - 2 + 101
    client, answer = make_client(max_handshake_headers=5)
    data = answer[:-2] + b"A: b\r\n" * 9
    assert refused_at(client, data) == len(answer) - 2 + 2 * 6 + 1
    client, answer = make_client(max_handshake_size=256)
    assert refused_at(client, answer[:-2] + b"A: b\r\n" * 100) == 256
    error = client.error
    assert isinstance(error, WSInvalidMessageError)
    assert "max_handshake_size" in str(error)
    assert error.status is None
    assert len(error.raw_header or b"") == 256


# The end of the peer or of the time


@pytest.mark.parametrize("arrived", [b"G", b"GET / HTTP/1.1\r\nHost: a\r\n"])
def test_server_eof_within_the_request(arrived: bytes) -> None:
    server = make_server()
    server.feed_data(arrived)
    server.feed_eof()
    check_refusal(server, arrived, 400, WSInvalidMessageError)
    assert "closed within the request" in str(server.error)
    assert server.error.raw_header == arrived


def test_server_eof_before_the_request() -> None:
    server = make_server()
    server.feed_eof()
    assert server.done
    assert isinstance(server.error, WSInvalidMessageError)
    assert "closed before the request" in str(server.error)
    assert server.to_send == b""
    assert server.response is None


def test_server_timeout_within_the_request() -> None:
    server = make_server(websocket_handshake_timeout=7.5)
    server.feed_data(b"GET /")
    server.feed_timeout()
    check_refusal(server, b"GET /", 408, WSHandshakeTimeout)
    assert "7.5 seconds" in str(server.error)
    assert isinstance(server.error, TimeoutError)


def test_server_timeout_before_the_request() -> None:
    server = make_server()
    server.feed_timeout()
    assert type(server.error) is WSHandshakeTimeout
    assert server.to_send == b""


@pytest.mark.parametrize("arrived", [b"", b"H", b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\n"])
def test_client_eof(arrived: bytes) -> None:
    client, _ = make_client()
    client.feed_data(arrived)
    client.feed_eof()
    assert client.done
    error = client.error
    assert type(error) is WSInvalidMessageError
    assert isinstance(error, WSInvalidMessageError)
    assert ("closed within" if arrived else "closed before") in str(error)
    assert "response" in str(error)
    assert error.raw_header == arrived


@pytest.mark.parametrize("arrived", [b"", b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\n"])
def test_client_timeout(arrived: bytes) -> None:
    client, _ = make_client()
    client.feed_data(arrived)
    client.feed_timeout()
    assert client.done
    error = client.error
    assert isinstance(error, WSHandshakeTimeout)
    assert "5.0 seconds" in str(error)
    assert error.raw_header == arrived
    assert error.status is None


@pytest.mark.parametrize("end", ["feed_eof", "feed_timeout"])
def test_the_end_after_the_end(end: str) -> None:
    server = make_server()
    server.feed_data(request_head())
    client, answer = make_client()
    client.feed_data(answer)
    for handshake in (server, client):
        getattr(handshake, end)()
        assert handshake.accepted
        assert handshake.error is None
    client, _ = make_client()
    client.feed_eof()
    error = client.error
    getattr(client, end)()
    assert client.error is error


# Taking back


def test_server_fails_after_all() -> None:
    response = WSUpgradeResponse.create_101_response(subprotocol="a")
    server = make_server(lambda request: WSUpgradeResponseWithListener(response, LISTENER))
    server.feed_data(request_head(("Sec-WebSocket-Protocol", "a")))
    error = TypeError(MARK)
    server.fail(error)
    assert check_route_error(server) is error


def test_client_fails_after_all() -> None:
    client, _ = make_client(subprotocols=["a"])
    client.take_to_send()
    client.feed_data(response_head(client, ("Sec-WebSocket-Protocol", "a")))
    assert client.subprotocol == "a"
    error = TypeError()
    client.fail(error)
    assert client.done
    assert not client.accepted
    assert client.error is error
    assert client.listener is None
    assert client.subprotocol is None
    assert client.to_send == b""


def test_client_fails_before_it_begins() -> None:
    client, answer = make_client()
    error = RuntimeError()
    client.fail(error)
    assert client.error is error
    assert client.feed_data(answer) == 0
    assert client.take_to_send() == b""


# Misuse of the classes


@pytest.mark.parametrize("misuse", ["feed_data", "feed_eof", "feed_timeout"])
def test_factories_that_come_back(misuse: str) -> None:
    def come_back(*_: object) -> object:
        arguments = [TAIL] if misuse == "feed_data" else []
        assert not getattr(handshakes[-1], misuse)(*arguments)
        return LISTENER

    server = make_server(come_back)
    client, answer = make_client(come_back)
    handshakes: List[OpeningHandshake] = [server]
    assert server.feed_data(request_head()) == len(request_head())
    handshakes.append(client)
    assert client.feed_data(answer) == len(answer)
    assert server.error is client.error is None
    assert server.accepted
    assert client.accepted


def test_only_the_two_sides_can_be_made() -> None:
    with pytest.raises(TypeError, match="ClientHandshake or ServerHandshake"):
        OpeningHandshake()


def test_attributes_are_read_only() -> None:
    client, _ = make_client()
    for name in (
        "done", "accepted", "request", "response", "listener", "subprotocol", "error", "to_send",
    ):  # fmt: skip
        with pytest.raises(AttributeError):
            setattr(client, name, None)


def test_objects_that_were_not_initialised_do_not_crash() -> None:
    request = WSUpgradeRequest.__new__(WSUpgradeRequest)
    assert (request.method, request.path, request.raw_header) == ("", "/", b"")
    assert list(request.headers) == request.subprotocols == []
    response = WSUpgradeResponse.__new__(WSUpgradeResponse)
    assert list(response.headers) == []
    server = ServerHandshake.__new__(ServerHandshake)
    server.feed_data(request_head())
    assert server.done
    client = ClientHandshake.__new__(ClientHandshake)
    with pytest.raises(TypeError):
        client.feed_data(make_client()[1])
    for data in (b"\x00", request_head()):
        neither = OpeningHandshake.__new__(OpeningHandshake)
        with pytest.raises(NotImplementedError):
            neither.feed_data(data.replace(b"GET /kilroy?a=%20 HTTP/1.1", b"HTTP/1.1 101"))
    empty = WSUpgradeResponseWithListener.__new__(WSUpgradeResponseWithListener)
    server = make_server(lambda request: empty)
    server.feed_data(request_head())
    check_route_error(server)


def test_repr_of_handshake() -> None:
    client, answer = make_client()
    assert repr(client) == "<ClientHandshake unfinished>"
    client.feed_data(answer)
    assert repr(client) == "<ClientHandshake accepted>"
    server = make_server()
    server.feed_eof()
    assert repr(server) == "<ServerHandshake refused>"


# Any pieces, and both sides together


def outcome(handshake: OpeningHandshake, taken: int) -> Tuple[object, ...]:
    error = handshake.error
    return (
        taken if handshake.accepted else None,
        handshake.done,
        handshake.accepted,
        type(error),
        str(error),
        getattr(error, "status", None),
        handshake.subprotocol,
        handshake.to_send,
        handshake.response and (handshake.response.status, handshake.response.body),
    )


def feed_in_pieces(handshake: OpeningHandshake, data: bytes, sizes: List[int]) -> int:
    taken = 0
    while sizes and taken < len(data) and not handshake.done:
        taken += handshake.feed_data(data[taken : taken + sizes.pop()])
    return taken if handshake.done else taken + handshake.feed_data(data[taken:])


PIECES = st.lists(st.integers(1, 60), max_size=12)
MUTATIONS = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 3), st.sampled_from(b"\r\n\t :,/aA1%\x00\xff")),
    max_size=2,
)


def mutated(data: bytes, mutations: List[Tuple[int, int, int]]) -> bytes:
    """Replace (1), insert (0) or remove (more) bytes."""
    for where, removed, byte in mutations:
        position = where % len(data)
        inserted = bytes([byte]) if removed < 2 else b""
        data = data[:position] + inserted + data[position + removed :]
    return data


@given(PIECES, MUTATIONS, st.binary(max_size=40))
def test_pieces_do_not_matter_to_the_server(
    sizes: List[int], mutations: List[Tuple[int, int, int]], tail: bytes
) -> None:
    data = mutated(request_head(("Sec-WebSocket-Protocol", "a, b")), mutations) + tail
    outcomes = []
    for pieces in ([], sizes):
        server = make_server(max_handshake_size=300, max_handshake_line_size=80)
        outcomes.append(outcome(server, feed_in_pieces(server, data, list(pieces))))
        if server.done and not server.accepted:
            read_answer_of_any(server.to_send)
    assert outcomes[0] == outcomes[1]


def read_answer_of_any(data: bytes) -> None:
    raw_head, _, body = data.partition(b"\r\n\r\n")
    assert raw_head.startswith((b"HTTP/1.1 4", b"HTTP/1.1 505"))
    assert b"Content-Length: %d\r\n" % len(body) in raw_head
    assert MARK.encode() not in data


@given(PIECES, MUTATIONS, st.binary(max_size=40))
def test_pieces_do_not_matter_to_the_client(
    sizes: List[int], mutations: List[Tuple[int, int, int]], tail: bytes
) -> None:
    client, answer = make_client(subprotocols=["a"])
    first_lines = {0: "HTTP/1.1 101 OK", 1: "HTTP/1.1 403 No"}
    answer = response_head(
        client, ("Sec-WebSocket-Protocol", "a"), first_line=first_lines[len(sizes) % 2]
    )
    data = mutated(answer, mutations) + tail
    outcomes = []
    for pieces in ([], sizes):
        # The key is random: a client that is fed the other's answer refuses it, both alike.
        handshake, _ = make_client(subprotocols=["a"])
        handshake.take_to_send()
        taken = feed_in_pieces(handshake, data, list(pieces))
        handshake.feed_eof()
        outcomes.append(outcome(handshake, taken))
    assert outcomes[0] == outcomes[1]


TOKEN = st.text("!#$%&'*+-.^_`|~09azAZ", min_size=1, max_size=10)


@given(
    st.text([chr(code) for code in range(0x21, 0x7F) if chr(code) != "#"], max_size=20),
    st.lists(TOKEN, max_size=4, unique=True),
    st.dictionaries(
        TOKEN.map(lambda name: f"X-{name}"),
        st.text('aZ09 \t\u00fc\u20ac:;,="', max_size=20),
        max_size=4,
    ),
    PIECES,
    st.binary(max_size=20),
)
def test_round_trip(
    path: str, subprotocols: List[str], extra_headers: Dict[str, str], sizes: List[int], tail: bytes
) -> None:
    client = client_with(
        target=f"/{path}",
        host_header="a:80",
        subprotocols=subprotocols,
        extra_headers=extra_headers,
    )
    chosen = subprotocols[-1] if subprotocols else None
    response = WSUpgradeResponse.create_101_response(extra_headers, chosen)
    server = make_server(lambda request: WSUpgradeResponseWithListener(response, LISTENER))

    data = client.take_to_send()
    assert feed_in_pieces(server, data + tail, list(sizes)) == len(data)
    assert server.error is None
    assert server.accepted
    assert server.request.path == client.request.path == f"/{path}"
    assert server.request.subprotocols == subprotocols
    assert server.request.headers == client.request.headers
    for name, value in extra_headers.items():
        assert value.strip(" \t") in server.request.headers.getall(name)

    data = server.take_to_send()
    assert feed_in_pieces(client, data + tail, list(sizes)) == len(data)
    assert client.error is None
    assert client.accepted
    assert client.subprotocol == server.subprotocol == chosen
    assert client.response.headers == server.response.headers
