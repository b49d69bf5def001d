"""Target: the client's opening handshake.

Input: a byte of flags (1: the rest are the caller's arguments; 2: subprotocols are offered;
4: small limits; 8: the listener factory raises), a byte that says how the rest is cut, and the
rest: the server's response. The client's key is always the same.
"""

from __future__ import annotations

import re
from typing import Any, Iterable, Optional, Tuple

from fuzz.harness import Input, check, cut
from fuzz.http_heads import Head, accept_for, read_head
from picows_codec import (
    ClientHandshake,
    ServerHandshake,
    WSHandshakeError,
    WSInvalidOptionError,
    WSListener,
    WSOptions,
)
from picows_codec.http import key

__all__ = ["run"]

ARGUMENTS, SUBPROTOCOLS, SMALL_LIMITS, FACTORY_RAISES = 1, 2, 4, 8
DEFAULTS = WSOptions()
SMALL = WSOptions(max_handshake_line_size=128, max_handshake_headers=8, max_handshake_size=512)
OFFERED = ("chat", "superchat")
KEY = b"AAAAAAAAAAAAAAAAAAAAAA=="
MAX_BODY = 65536
# RFC 9110, 15.2: interim responses before the final one are skipped.
MOST_INTERIM = 8
# The fields of every request, and how many of them there are.
OWN_FIELDS = {b"host", b"upgrade", b"connection", b"sec-websocket-key", b"sec-websocket-version"}

# The same input must do the same in every run.
key.urandom = bytes


class FactoryError(Exception):
    """What the listener factory raises."""


def run(data: bytes) -> None:
    """Check the arguments of a caller, or the response of a server, cut in two ways."""
    source = Input(data)
    flags, pattern = source.byte(), source.byte()
    if flags & ARGUMENTS:
        _check_arguments(source.rest())
        return
    answer = source.rest()
    whole = _feed(flags, [answer], answer)
    pieces = _feed(flags, cut(answer, pattern), answer)
    check(whole == pieces, "the cut makes a difference:", whole, pieces)


def _feed(flags: int, pieces: Iterable[bytes], answer: bytes) -> Tuple[Any, ...]:
    """Feed a new handshake; everything that one can see of it that may not depend on the cut."""

    def factory(request: object, response: object) -> WSListener:
        if flags & FACTORY_RAISES:
            raise FactoryError
        return WSListener()

    options = SMALL if flags & SMALL_LIMITS else DEFAULTS
    subject = ClientHandshake(
        "/path?query",
        "localhost:9001",
        factory,
        subprotocols=OFFERED if flags & SUBPROTOCOLS else (),
        options=options,
    )
    request = read_head(subject.take_to_send())
    check(request and request.values(b"sec-websocket-key") == [KEY], "the request is", request)
    used = 0
    for piece in pieces:
        done = subject.done
        taken = subject.feed_data(piece)
        check(0 <= taken <= len(piece), "impossible size", taken)
        check(not done or taken == 0, "took more when it was done")
        check(subject.done or taken == len(piece), "left something before it was done")
        used += taken
    # The body of an error may last until the end.
    subject.feed_eof()
    check(subject.done, "not done at the end")
    check(subject.accepted == (subject.error is None), "accepted with", subject.error)
    check(subject.to_send == b"", "a client answered")
    if subject.accepted:
        _check_accepted(subject, flags, answer[:used])
    else:
        _check_refused(subject, flags, options)
    response = subject.response
    return (
        subject.accepted,
        used if subject.accepted else None,
        type(subject.error),
        str(subject.error),
        response and (response.status, response.reason, list(response.headers.items())),
        None if _is_redirect(subject) else response and response.body,
        subject.subprotocol,
    )


def _is_redirect(subject: ClientHandshake) -> bool:
    """Whether nobody waits for the body: how much of it there is depends on the cut."""
    response = subject.response
    return response is not None and 300 <= response.status < 400 and "Location" in response.headers


def _check_accepted(subject: ClientHandshake, flags: int, answer: bytes) -> None:
    """RFC 6455, 4.1: what the model must find in a response that was accepted."""
    for _ in range(MOST_INTERIM + 1):
        head = read_head(answer)
        if head is None or not re.match(rb"HTTP/1\.[0-9] 1(?!01)", head.start):
            break
        answer = answer[head.size :]
    check(head is not None and head.size == len(answer), "accepted what is no head:", answer)
    assert head is not None  # for the type checker
    check(head.start.startswith(b"HTTP/1.1 101"), "accepted", head.start)
    check([value.lower() for value in head.values(b"upgrade")] == [b"websocket"], "upgrade")
    check(b"upgrade" in head.elements(b"connection"), "connection")
    check(head.values(b"sec-websocket-accept") == [accept_for(KEY)], "accept")
    check(not any(head.values(b"sec-websocket-extensions")), "an extension")
    protocols = [value.decode() for value in head.values(b"sec-websocket-protocol") if value]
    check(protocols in ([], ["chat"], ["superchat"]), "subprotocols", protocols)
    check(not protocols or flags & SUBPROTOCOLS, "a subprotocol that was not offered")
    check(subject.subprotocol == (protocols[0] if protocols else None), "subprotocol")
    check(isinstance(subject.listener, WSListener), "no listener")
    check(len(subject.response.headers) == len(head.fields), "headers")


def _check_refused(subject: ClientHandshake, flags: int, options: WSOptions) -> None:
    """The error is documented, and keeps only a limited part of the response."""
    error = subject.error
    if isinstance(error, FactoryError):
        check(flags & FACTORY_RAISES, "an error from nowhere")
        return
    check(isinstance(error, WSHandshakeError), "an undocumented error:", error)
    check(error.raw_header is not None, "the error lost what had arrived")
    check(len(error.raw_header) <= options.max_handshake_size, "too much was kept")
    check(len(error.raw_body or b"") <= MAX_BODY, "too much of the body was kept")
    check(error.status is None or 100 <= error.status <= 999, "status", error.status)


def _check_arguments(data: bytes) -> None:
    """Whatever a caller passes: a documented exception, or exactly the request that was meant."""
    parts = [part.decode("utf-8", "surrogateescape") for part in data.split(b"\0", 4)]
    target, host, name, value, subprotocol = parts + ["chat"] * (5 - len(parts))
    try:
        subject = ClientHandshake(
            target,
            host,
            lambda request, response: WSListener(),
            extra_headers=[(name, value)],
            subprotocols=[subprotocol],
            options=DEFAULTS,
        )
    except WSInvalidOptionError:
        return
    sent = subject.take_to_send()
    head: Optional[Head] = read_head(sent)
    check(head is not None and head.size == len(sent), "not one head:", sent)
    assert head is not None  # for the type checker
    check(head.start == f"GET {target} HTTP/1.1".encode(), "start line", head.start)
    replaces_host = name.lower() == "host"
    names = sorted([*OWN_FIELDS, b"sec-websocket-protocol"])
    extra = [] if replaces_host else [name.lower().encode()]
    check(sorted(found for found, _ in head.fields) == sorted(names + extra), "fields", head)
    check(head.values(b"sec-websocket-protocol") == [subprotocol.encode()], "subprotocol")
    check(head.values(b"host") == [(value if replaces_host else host).encode()], "host")
    _check_own_server(subject, sent)


def _check_own_server(subject: ClientHandshake, sent: bytes) -> None:
    """Whatever request our client makes, our server accepts, and the other way round."""
    server = ServerHandshake(lambda request: WSListener(), options=DEFAULTS)
    check(server.feed_data(sent) == len(sent), "the server left something")
    check(server.accepted, "the server refused:", server.error, sent)
    answer = server.take_to_send()
    check(subject.feed_data(answer) == len(answer), "the client left something")
    check(subject.accepted, "the client refused:", subject.error)
