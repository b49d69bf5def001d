"""What a recording leaves out of an opening handshake: credentials, as far as they can be known.

A header is left out as a whole, with the lines that fold it (RFC 9112, 5.2). A head is looked at
when it is complete, so that it does not matter in which pieces it came.
"""

from __future__ import annotations

import re
from typing import Callable, List, Optional, Tuple
from urllib.parse import unquote

from picows_codec.tap_types import WSDirection

__all__ = ["HandshakeRedactor", "RedactionHook", "redact_head", "redact_url"]

# Given "url", "target" or the name of a header in lower case, and its value: returns what to record
# instead, or None to leave a header out.
RedactionHook = Callable[[str, str], Optional[str]]
Piece = Tuple[WSDirection, bytes, bool]  # the last: belongs to the handshake

_REDACTED = "REDACTED"
_NEVER = frozenset(
    {
        "authentication-info",
        "authorization",
        "cookie",
        "cookie2",
        "proxy-authentication-info",
        "proxy-authorization",
        "set-cookie",
        "set-cookie2",
    }
)
# Challenges and the handshake itself, which a replay needs.
_ALWAYS = re.compile(r"(www|proxy)-authenticate|sec-websocket-(?!protocol).*")
_SECRET = re.compile(
    r"token|secret|passw|passphrase|signature|api[-_]?key|access[-_]?key|listen[-_]?key|private"
    r"|auth|session|credential|ticket|jwt|(^|[-_])(key|pwd|pass|sig|sign|sid)($|[-_])",
    re.IGNORECASE,
)
_JWT = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*")
_USER = re.compile(r"(?<=//)[^/?#\s]*@")
_HEAD_END = re.compile(rb"\n\r?\n")
_STATUS = re.compile(rb"HTTP/\d\.\d (\d{3})")
# A longer head is not recorded; the codec refuses it, too, by default.
_MOST_HEAD = 1 << 20
_MOST_BODY = 1 << 20
_LONGEST_SUBPROTOCOL = 64
_FEWEST_LETTERS = 6  # of a secret that is looked for elsewhere


def redact_url(url: str) -> str:
    """Return a URL, or its path and query, without credentials that can be recognised."""
    url = _JWT.sub(_REDACTED, _USER.sub("", url))
    before, mark, query = url.partition("?")
    if not mark:
        return before
    pairs = []
    for pair in re.split("([&;])", query):
        name, equals, value = pair.partition("=")
        if equals and value and _SECRET.search(unquote(name)):
            pair = f"{name}={_REDACTED}"  # noqa: PLW2901
        pairs.append(pair)
    return before + mark + "".join(pairs)


def redact_head(
    head: bytes, redact: Optional[RedactionHook] = None, secrets: Optional[List[bytes]] = None
) -> bytes:
    """Return the head of a request or a response, or the beginning of one, without credentials.

    :param secrets: gets the values of headers that were left out.
    """
    fields: List[List[bytes]] = []  # the lines of each
    for line in head.splitlines(keepends=True):
        if fields and line[:1] in (b" ", b"\t"):
            fields[-1].append(line)
        else:
            fields.append([line])
    found = []
    for index, lines in enumerate(fields):
        if not lines[0].strip():
            found.append(b"".join(lines))
        elif index == 0 and (b":" not in lines[0] or b" HTTP/" in lines[0] or _is_status(lines)):
            found.append(_first_line(b"".join(lines), redact))
        else:
            found.append(_field(b"".join(lines), redact, secrets))
    return b"".join(found)


def _is_status(lines: List[bytes]) -> bool:
    return lines[0].startswith(b"HTTP/")


def _first_line(line: bytes, redact: Optional[RedactionHook]) -> bytes:
    if line.startswith(b"HTTP/"):
        return line
    method, space, rest = line.partition(b" ")
    target, version_space, version = rest.rpartition(b" ")
    if not target:  # the line is not complete
        target, version_space, version = rest, b"", b""
        ending = target[len(target.rstrip(b"\r\n")) :]
        target, version = target.rstrip(b"\r\n"), ending
    text = redact_url(target.decode("latin-1"))
    if redact is not None:
        text = redact("target", text) or "/"
    return method + space + text.encode("latin-1", "replace") + version_space + version


def _field(field: bytes, redact: Optional[RedactionHook], secrets: Optional[List[bytes]]) -> bytes:
    raw_name, colon, raw_value = field.partition(b":")
    name = raw_name.strip().decode("latin-1").lower()
    value = raw_value.strip().decode("latin-1")
    is_secret = name in _NEVER or (not _ALWAYS.fullmatch(name) and bool(_SECRET.search(name)))
    if is_secret:
        if secrets is not None:
            secrets.extend(_parts_of(raw_value))
        return b""
    wanted: Optional[str] = _JWT.sub(_REDACTED, value)
    if name in {"location", "referer", "content-location", "origin"}:
        wanted = redact_url(value)
    elif name == "sec-websocket-protocol":
        wanted = ", ".join(map(_subprotocol, value.split(",")))
    if redact is not None and colon:
        wanted = redact(name, wanted or "")
    if wanted is None:
        return b""
    if wanted == value or (name == "sec-websocket-protocol" and wanted == _spaced(value)):
        return field
    text = re.sub(r"[\r\n]+", " ", wanted)
    return raw_name + b": " + text.encode("latin-1", "replace") + b"\r\n"


def _spaced(value: str) -> str:
    return ", ".join(part.strip() for part in value.split(","))


def _subprotocol(name: str) -> str:
    name = name.strip()
    if len(name) > _LONGEST_SUBPROTOCOL or "bearer." in name.lower() or _JWT.search(name):
        return _REDACTED
    return name


def _parts_of(value: bytes) -> List[bytes]:
    """A secret, and what else shows it: credentials without their scheme, values of cookies."""
    found = [value.strip()]
    for word in value.replace(b";", b" ").split():
        found += [word, word.partition(b"=")[2]]
    return [each for each in found if len(each) >= _FEWEST_LETTERS]


class HandshakeRedactor:
    """Takes the bytes of an opening handshake, and gives what may be recorded of them.

    When ``is_over``, what follows is frames, and need not be given to it.
    """

    def __init__(self, *, is_client: bool, redact: Optional[RedactionHook] = None) -> None:
        self.is_over = False
        self._request = WSDirection.SENT if is_client else WSDirection.RECEIVED
        self._redact = redact
        self._heads = {WSDirection.SENT: b"", WSDirection.RECEIVED: b""}
        self._behind = {WSDirection.SENT: b"", WSDirection.RECEIVED: b""}
        self._is_complete = {WSDirection.SENT: False, WSDirection.RECEIVED: False}
        self._secrets: List[bytes] = []

    def feed(self, direction: WSDirection, data: bytes) -> List[Piece]:
        """Take bytes, and return what can be recorded now."""
        if self.is_over:
            return [(direction, data, False)]
        if self._is_complete[direction]:
            self._hold(direction, data)
            return []
        found: List[Piece] = []
        head = self._heads[direction] + data
        while True:
            start = len(head) - len(head.lstrip(b"\r\n"))
            match = _HEAD_END.search(head, start)
            if match is None:
                break
            whole, head = head[: match.end()], head[match.end() :]
            found.append((direction, redact_head(whole, self._redact, self._secrets), True))
            status = _STATUS.match(whole.lstrip(b"\r\n"))
            if direction is not self._request and status is not None:
                number = int(status[1])
                if number < 200 and number != 101:
                    continue  # RFC 9110, 15.2: another head follows
                if number == 101:
                    self._heads[direction] = b""
                    return found + self._accepted(direction, head)
            self._is_complete[direction] = True
            self._hold(direction, head)
            head = b""
            break
        self._heads[direction] = head[:_MOST_HEAD]
        return found

    def _accepted(self, direction: WSDirection, rest: bytes) -> List[Piece]:
        self.is_over = True
        found = [
            (each, redact_head(head, self._redact, self._secrets), True)
            for each, head in self._heads.items()
            if head  # too long to be kept as a whole
        ]
        found += [(each, data, False) for each, data in self._behind.items() if data]
        if rest:
            found.append((direction, rest, False))
        self._behind.clear()
        return found

    def _hold(self, direction: WSDirection, data: bytes) -> None:
        """Keep what comes behind a head: frames if it was accepted, else an HTTP body."""
        self._behind[direction] = (self._behind[direction] + data)[:_MOST_BODY]

    def end(self) -> List[Piece]:
        """The connection has ended: return what is left."""
        found: List[Piece] = []
        if self.is_over:
            return found
        self.is_over = True
        for direction, data in self._heads.items():
            if data:
                found.append((direction, redact_head(data, self._redact, self._secrets), True))
        for direction, data in self._behind.items():
            if data:
                found.append((direction, self._blackened(data), False))
        return found

    def _blackened(self, body: bytes) -> bytes:
        """A body without secrets; its size stays, because a head may have told it."""
        lines = []
        for line in body.splitlines(keepends=True):
            name, colon, _ = line.partition(b":")
            if colon and name.strip().decode("latin-1").lower() in _NEVER:
                size = len(line.rstrip(b"\r\n"))
                lines.append(b"*" * size + line[size:])
            else:
                lines.append(line)
        found = b"".join(lines)
        for secret in sorted(set(self._secrets), key=len, reverse=True):
            found = found.replace(secret, b"*" * len(secret))
        return found
