"""Target: the server's opening handshake.

Input: a byte of flags (its low three bits choose what the route returns, 8: small limits), a byte
that says how the rest is cut, and the rest: what the client sends.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable, Sequence, Tuple

from fuzz.harness import Input, check, cut
from fuzz.http_heads import Head, accept_for, read_head
from picows_codec import (
    ServerHandshake,
    WSHandshakeError,
    WSListener,
    WSOptions,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)

__all__ = ["run"]

SMALL_LIMITS = 8
DEFAULTS = WSOptions()
SMALL = WSOptions(max_handshake_line_size=128, max_handshake_headers=8, max_handshake_size=512)
EXTRA = ("X-Extra", "value")
# A word that no response has by itself: a response with it has bytes of the request.
MARKER = b"zqxj"
# RFC 9112, 2.2: empty lines before a request are skipped.
MOST_EMPTY_LINES = 8


class RouteError(Exception):
    """What the route raises."""


def _raise(_: WSUpgradeRequest) -> None:
    raise RouteError


def _with_subprotocol(request: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
    offered = request.subprotocols
    response = WSUpgradeResponse.create_101_response([EXTRA], offered[0] if offered else None)
    return WSUpgradeResponseWithListener(response, WSListener())


ROUTES: Sequence[Callable[[WSUpgradeRequest], Any]] = (
    lambda request: WSListener(),
    _with_subprotocol,
    lambda request: None,
    _raise,
    lambda request: WSUpgradeResponse.create_ok_response("fine", [EXTRA]),
    lambda request: WSUpgradeResponse.create_error_response(403, b"no"),
    lambda request: WSUpgradeResponse.create_redirect_response(307, "/elsewhere"),
    # Nobody here offers it, or one of them does.
    lambda request: WSUpgradeResponseWithListener(
        WSUpgradeResponse.create_101_response(subprotocol="chat"), WSListener()
    ),
)


def run(data: bytes) -> None:
    """Answer a request, cut in two ways."""
    source = Input(data)
    flags, pattern = source.byte(), source.byte()
    request = source.rest()
    whole = _feed(flags, [request], request)
    pieces = _feed(flags, cut(request, pattern), request)
    check(whole == pieces, "the cut makes a difference:", whole, pieces)


def _feed(flags: int, pieces: Iterable[bytes], request: bytes) -> Tuple[Any, ...]:
    """Feed a new handshake; everything that one can see of it that may not depend on the cut."""
    options = SMALL if flags & SMALL_LIMITS else DEFAULTS
    subject = ServerHandshake(ROUTES[flags & 7], options=options)
    used = 0
    for piece in pieces:
        done = subject.done
        taken = subject.feed_data(piece)
        check(0 <= taken <= len(piece), "impossible size", taken)
        check(not done or taken == 0, "took more when it was done")
        check(subject.done or taken == len(piece), "left something before it was done")
        check(not subject.to_send or subject.done, "answered before it was done")
        used += taken
    in_time = subject.done
    if not in_time:
        subject.feed_eof()
    check(subject.done, "not done at the end")
    answer = subject.take_to_send()
    if subject.accepted:
        _check_accepted(subject, request[:used], answer)
    else:
        _check_refused(subject, answer, options, in_time)
    _check_request(subject.request)
    return (
        in_time,
        subject.accepted,
        used if subject.accepted else None,
        type(subject.error),
        str(subject.error),
        subject.subprotocol,
        answer,
    )


def _check_accepted(subject: ServerHandshake, request: bytes, answer: bytes) -> None:
    """RFC 6455, 4.2: what the model must find in a request that was accepted, and its response."""
    for _ in range(MOST_EMPTY_LINES):
        request = request[2:] if request.startswith(b"\r\n") else request
    head = read_head(request)
    check(head is not None and head.size == len(request), "accepted what is no head:", request)
    assert head is not None  # for the type checker
    check(head.start.startswith(b"GET "), "accepted", head.start)
    check(head.start.endswith(b" HTTP/1.1"), "accepted", head.start)
    check(b"websocket" in head.elements(b"upgrade"), "upgrade")
    check(b"upgrade" in head.elements(b"connection"), "connection")
    check(head.values(b"sec-websocket-version") == [b"13"], "version")
    check(len(head.values(b"host")) == 1, "host")
    check(not head.values(b"transfer-encoding"), "a body")
    check(head.values(b"content-length") in ([], [b"0"]), "a body", head)
    (key,) = head.values(b"sec-websocket-key")
    check(subject.error is None and isinstance(subject.listener, WSListener), "no listener")
    reply = _read_answer(answer)
    check(reply.start == b"HTTP/1.1 101 Switching Protocols", "start line", reply.start)
    check(reply.size == len(answer), "bytes after the answer")
    check(reply.values(b"sec-websocket-accept") == [accept_for(key)], "accept")
    check(reply.elements(b"upgrade") == [b"websocket"], "upgrade of the answer")
    check(reply.elements(b"connection") == [b"upgrade"], "connection of the answer")
    check(not reply.values(b"sec-websocket-extensions"), "an extension")
    protocol = [value.decode("utf-8") for value in reply.values(b"sec-websocket-protocol")]
    check(protocol == ([subject.subprotocol] if subject.subprotocol else []), "subprotocol")
    check(set(protocol) <= set(subject.request.subprotocols), "a subprotocol nobody offered")


def _check_refused(
    subject: ServerHandshake, answer: bytes, options: WSOptions, in_time: bool
) -> None:
    """The response is HTTP with the right length, and holds nothing of the request."""
    error = subject.error
    check(subject.listener is None, "a listener without an upgrade")
    if isinstance(error, WSHandshakeError):
        check(error.raw_header is not None, "the error lost what had arrived")
        check(len(error.raw_header) <= options.max_handshake_size, "too much was kept")
        if not error.raw_header:
            check(not answer and not in_time, "an answer to nothing")
            return
    elif error is not None:
        check(isinstance(error, (RouteError, ValueError)), "an undocumented error:", error)
    head = _read_answer(answer)
    status = int(head.start.split(b" ")[1])
    check(head.start.startswith(b"HTTP/1.1 ") and status >= 200, "start line", head.start)
    if (subject.request or error).raw_header.startswith(b"HEAD "):
        check(len(answer) == head.size and head.values(b"content-length"), "a body", answer)
    else:
        size = b"%d" % (len(answer) - head.size)
        check(head.values(b"content-length") == [size], "length", answer)
    check(b"close" in head.elements(b"connection"), "connection of the answer")
    check(MARKER not in answer, "the answer echoes the request:", answer)
    if isinstance(error, WSHandshakeError):
        check(status == error.status, "status", status, error.status)
    if status == 426:
        check(head.values(b"sec-websocket-version") == [b"13"], "version of the answer")


def _read_answer(answer: bytes) -> Head:
    head = read_head(answer)
    check(head is not None, "not an HTTP head:", answer)
    assert head is not None  # for the type checker
    return head


def _check_request(request: WSUpgradeRequest) -> None:
    """What a route may look at never fails, whatever was sent."""
    if request is None:
        return
    path = request.path
    check(path.isascii() and path.isprintable() and " " not in path, "path", path)
    check(request.method and request.version.startswith("HTTP/"), "request line")
    head = read_head(request.raw_header)
    check(head is not None, "a request that is no head:", request.raw_header)
    assert head is not None  # for the type checker
    names = [name.lower().encode() for name, _ in request.headers.items()]
    check(names == [name for name, _ in head.fields], "headers", names)
    for name, value in request.headers.items():
        sent = [found for found_name, found in head.fields if found_name == name.lower().encode()]
        check(value.encode("utf-8", "surrogateescape") in sent, "header", name, value)
    check(all(request.subprotocols), "an empty subprotocol")
    repr(request)
