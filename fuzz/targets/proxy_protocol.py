"""Target: the header of the PROXY protocol that a trusted proxy sends before a connection's bytes.

Input: a byte that says how the rest is cut, and the rest: what the proxy sends.
"""

from __future__ import annotations

import os
import re
import socket
import struct
from typing import Iterable, Tuple

from fuzz.harness import Input, check, cut
from picows_server.proxies.header import ProxyHeader, ProxyHeaderError

__all__ = ["run"]

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
MOST = 16 + 4096
LONGEST_LINE = 107
LINE = re.compile(
    rb"PROXY (?:UNKNOWN(?: [^\r\n]*)?"
    rb"|(TCP[46]) ([0-9a-fA-F.:]+) ([0-9a-fA-F.:]+) (0|[1-9][0-9]*) (0|[1-9][0-9]*))\r\n"
)
MAPPED = bytes(10) + b"\xff\xff"

# What a header says: that "more" is wanted, that it is "refused", or where its connection is from.
Outcome = Tuple[object, ...]


def run(data: bytes) -> None:
    """Read a header, cut in two ways."""
    source = Input(data)
    pattern = source.byte()
    sent = source.rest()
    outcome, used = _feed([sent])
    pieces, _ = _feed(cut(sent, pattern))
    check(outcome == pieces, "the cut makes a difference:", outcome, pieces)
    model = _model(sent)
    if outcome == ("more",):
        check(used == len(sent) < MOST, "wants more, and has left something", used)
        check(model in (("more",), ("refused",)), "complete, but wants more", model)
    elif outcome == ("refused",):
        # Fields behind the addresses, and sizes, are not looked at by the model.
        is_line = sent.startswith(b"PROXY ")
        check(not is_line or model in (("more",), ("refused",)), "refused", model)
    else:
        check(model == outcome, "another address", outcome, model)
        check(_model(sent[:used]) == outcome, "took too little", used)
        check(_model(sent[: used - 1]) == ("more",), "took too much", used)


def _feed(pieces: Iterable[bytes]) -> Tuple[Outcome, int]:
    """What becomes of a header that a socket gives in these pieces, and how many bytes it takes."""
    header = ProxyHeader()
    used = 0
    for arrived in pieces:
        rest = arrived
        while rest and header.wanted:
            check(header.wanted > 0, "wants less than nothing")
            piece, rest = rest[: header.wanted], rest[header.wanted :]
            try:
                header.feed(piece)
            except ProxyHeaderError as error:
                check(str(error).isprintable(), "the text of an error", error)
                return ("refused",), used
            used += len(piece)
    check(used <= MOST, "took too much", used)
    if header.wanted:
        check(header.source is None, "an address before the end")
        return ("more",), used
    source = header.source
    if not isinstance(source, tuple):
        return ("other", source), used
    family = socket.AF_INET if len(source) == 2 else socket.AF_INET6
    return ("address", socket.inet_pton(family, source[0]), source[1]), used


def _model(data: bytes) -> Outcome:
    """A second reading of the specification, of what has been sent until now."""
    if data.startswith(SIGNATURE):
        return _binary(data) if len(data) >= 16 else ("more",)
    found = LINE.match(data)
    if found is None and len(data) < LONGEST_LINE:
        return ("more",)
    if found is None or found.end() > LONGEST_LINE:
        return ("refused",)
    if found[1] is None:
        return ("other", None)
    family = socket.AF_INET if found[1] == b"TCP4" else socket.AF_INET6
    try:
        address = socket.inet_pton(family, found[2].decode("ascii"))
        socket.inet_pton(family, found[3].decode("ascii"))
    except OSError:
        return ("refused",)
    is_fit = int(found[4]) <= 65535 and int(found[5]) <= 65535
    return _address(address, int(found[4])) if is_fit else ("refused",)


def _binary(data: bytes) -> Outcome:
    command, family, size = struct.unpack("!BBH", data[12:16])
    behind = data[16 : 16 + size]
    if len(behind) < size:
        return ("more",)
    if command == 0x20 or (command == 0x21 and (family < 0x10 or family & 0x0F == 0)):
        return ("other", None)
    wanted = {1: 12, 2: 36, 3: 216}.get(family >> 4)
    if command != 0x21 or wanted is None or size < wanted:
        return ("refused",)
    if family >> 4 == 3:
        name = behind[:108]
        if name.startswith(b"\0"):
            return ("other", name.rstrip(b"\0") or "")
        return ("other", os.fsdecode(name.split(b"\0")[0]))
    length = 4 if family >> 4 == 1 else 16
    (port,) = struct.unpack_from("!H", behind, 2 * length)
    return _address(behind[:length], port)


def _address(address: bytes, port: int) -> Outcome:
    return ("address", address[12:] if address.startswith(MAPPED) else address, port)
