"""Target: the ClientHello in which a server with a TLS context for each name looks for the name.

Input: a byte that says how the rest is cut, and the rest: what the client sends.
"""

from __future__ import annotations

import re
import struct
from typing import Iterable, Optional, Tuple

from fuzz.harness import Input, check, cut
from picows_server.sni.client_hello import ClientHello, ClientHelloError, encode_alert

__all__ = ["run"]

MOST = 65536
BODY = re.compile(rb"..(?:.{32})([\0-\x20])", re.DOTALL)
PRINTABLE = re.compile(rb"[\x21-\x7e]+")

# That "more" is wanted, that it is "refused", or the name, which None stands for if there is none.
Outcome = Tuple[object, ...]


def run(data: bytes) -> None:
    """Read a ClientHello, cut in two ways."""
    source = Input(data)
    pattern = source.byte()
    sent = source.rest()
    outcome = _feed([sent])
    pieces = _feed(cut(sent, pattern))
    check(outcome == pieces, "the cut makes a difference:", outcome, pieces)
    model = _model(sent)
    check(outcome[:1] == model[:1], "another verdict", outcome, model)
    if outcome[0] == "name":
        check(outcome == model, "another name", outcome, model)


def _feed(pieces: Iterable[bytes]) -> Outcome:
    hello = ClientHello()
    used = 0
    for piece in pieces:
        wanted = hello.wanted
        try:
            hello.feed(piece)
        except ClientHelloError as error:
            check(str(error).isprintable(), "the text of an error", error)
            if error.alert is not None:
                check(len(encode_alert(error.alert)) == 7, "an alert", error.alert)
            return "refused", str(error), error.alert
        used += len(piece)
        check(hello.wanted or len(piece) >= wanted, "wanted too much", wanted, len(piece))
        if not hello.wanted:
            break
    if hello.wanted:
        check(hello.server_name is None, "a name before the end")
        check(0 < used + hello.wanted <= MOST, "wants more than it may", used, hello.wanted)
        return ("more",)
    name = hello.server_name
    check(name is None or name.isprintable(), "a name that cannot be shown", name)
    return "name", name


def _model(sent: bytes) -> Outcome:
    """A second reading of RFC 8446 and RFC 6066."""
    try:
        message = _message(sent)
        return ("more",) if message is None else ("name", _name(message[4:]))
    except (struct.error, ValueError):
        return ("refused",)


def _message(sent: bytes) -> Optional[bytes]:
    """The first message, or None if it is not complete."""
    message, position, size = b"", 0, 4
    while True:
        header = sent[position : position + 5]
        if not b"\x16\3".startswith(header[:2]):
            raise ValueError
        length = int.from_bytes(header[3:], "big") if len(header) == 5 else 0
        if len(header) == 5 and not 1 <= length <= 16384:
            raise ValueError
        fragment = sent[position + 5 : position + 5 + length]
        message += fragment
        if message[:1] not in (b"", b"\1"):
            raise ValueError
        if len(message) >= 4:
            size = 4 + int.from_bytes(message[1:4], "big")
            if len(message) >= size:
                return message[:size]
        left, missing = length - len(fragment), size - len(message)
        if missing > left:
            missing += 5 if len(header) == 5 else 5 - len(header)
        if position + len(header) + len(fragment) + missing > MOST:
            raise ValueError
        if len(header) < 5 or left:
            return None
        position += 5 + length


def _name(body: bytes) -> object:
    found = BODY.match(body)
    if found is None:
        raise ValueError
    _, rest = _part(body[34:], 1)
    suites, rest = _part(rest, 2)
    methods, rest = _part(rest, 1)
    if not suites or len(suites) & 1 or not methods:
        raise ValueError
    if not rest:
        return None
    extensions, rest = _part(rest, 2)
    if rest:
        raise ValueError
    names = []
    while extensions:
        (kind,) = struct.unpack_from("!H", extensions)
        content, extensions = _part(extensions[2:], 2)
        if kind == 0:
            names.append(content)
    if not names:
        return None
    (content,) = names
    size, kind, length = struct.unpack("!HBH", content[:5])
    name = content[5:]
    if (size, kind, length) != (len(content) - 2, 0, len(name)):
        raise ValueError
    if not PRINTABLE.fullmatch(name):
        raise ValueError
    text = name.decode("ascii").lower()
    return re.sub(r"\.\Z", "", text)


def _part(data: bytes, size: int) -> Tuple[bytes, bytes]:
    if len(data) < size:
        raise ValueError
    end = size + int.from_bytes(data[:size], "big")
    if len(data) < end:
        raise ValueError
    return data[size:end], data[end:]
