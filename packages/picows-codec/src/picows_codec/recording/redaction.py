"""What a recording leaves out of an opening handshake: credentials, as far as they can be known.

A header is left out as a whole, with the lines that fold it (RFC 9112, 5.2). A head is looked at
when it is complete, so that it does not matter in which pieces it came.
"""

from __future__ import annotations

import re
from typing import Callable, List, Match, Optional, Set, Tuple
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
    r"token|secret|passw|passphrase|pwd|signature|private|auth|session|credential|ticket|jwt"
    r"|(api|access|listen)[-_]?key"
    r"|(^|[-_])(key|pass|sig|sign|sid)($|[-_])"
    r"|(?-i:(?<=[a-z0-9])(Key|Pass|Sig|Sign|Sid)(?![a-z]))"
    r"|(?<!mon)(?<!don)(?<!tur)(?<!hoc)(?<!joc)(?<!whis)key(?![a-z])",  # streamkey, but no animal
    re.IGNORECASE,
)
_LABEL = re.compile(_SECRET.pattern + "|bearer", re.IGNORECASE)  # of a subprotocol
_CARRIES = re.compile(
    r"bearer\.|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[a-z0-9]{28}|(?=[a-z]*[0-9])[a-z0-9]{16}",
    re.IGNORECASE,
)
_DOTTED = re.compile(r"[\w.-]+")  # what may be a JSON Web Token
_PATH_PARAMETER = re.compile(r"(?<=[;#&])([^;=/?#&]*)=([^;/?#&]+)")
_PARAMETER = re.compile(r"(?:^|(?<=[&;#]))([^=&;#]*)=([^&;#]+)")
_PARAMETER_IN_TEXT = re.compile(
    r"""(?<![^\s=&;?"'<>/#])([^\s=&;?"'<>/#]+)=([^\s&;"'<>#]+)""",
)
_NO_LETTER = re.compile(rb"[^!-~]+")
_WORD = re.compile(r"[^\s/?&;=#,\"]+")
_USER = re.compile(r"(?<=//)[^/?#\s]*@")
_HEAD_END = re.compile(rb"\n\r?\n")
_STATUS = re.compile(rb"HTTP/\d\.\d (\d{3})")
# Of a longer head only the beginning is kept. The codec refuses it, too, by default.
_MOST_HEAD = 1 << 20
_MOST_BODY = 1 << 20
_LONGEST_SUBPROTOCOL = 64
_FEWEST_LETTERS = 4  # of a secret that is looked for elsewhere


def redact_url(url: str, secrets: Optional[List[bytes]] = None) -> str:
    """Return a URL, or its path and query, without credentials that can be recognised.

    :param secrets: gets what was left out.
    """

    def without_value(match: Match[str]) -> str:
        name, value = match[1], match[2]
        if not _SECRET.search(unquote(name)):
            return match[0]
        if secrets is not None:
            secrets.extend(each.encode("utf-8", "replace") for each in (value, unquote(value)))
        return f"{name}={_REDACTED}"

    def without_user(match: Match[str]) -> str:
        if secrets is not None:
            user, _, password = match[0][:-1].partition(":")
            parts = (match[0], password or user)
            secrets.extend(each.encode("utf-8", "replace") for each in parts)
        return ""

    url = _without_jwt(_USER.sub(without_user, url))
    before, mark, query = url.partition("?")
    return _PATH_PARAMETER.sub(without_value, before) + mark + _PARAMETER.sub(without_value, query)


def _without_jwt(text: str, *, blacken: bool = False) -> str:
    """Return a text without JSON Web Tokens: three words with dots between them."""

    def without(match: Match[str]) -> str:
        words = match[0]
        start = words.find("eyJ")
        parts = words[start:].split(".") if start >= 0 else []
        if len(parts) < 3 or not parts[1]:
            return words
        return words[:start] + ("*" * (len(words) - start) if blacken else _REDACTED)

    return _DOTTED.sub(without, text) if "eyJ" in text else text


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
    redaction = _Redaction(redact, [] if secrets is None else secrets)
    for index, lines in enumerate(fields):
        if not lines[0].strip():
            found.append(b"".join(lines))
        elif index == 0 and (b":" not in lines[0] or b" HTTP/" in lines[0] or _is_status(lines)):
            found.append(redaction.first_line(b"".join(lines)))
        else:
            found.append(redaction.field(b"".join(lines)))
    return b"".join(found)


def _is_status(lines: List[bytes]) -> bool:
    return lines[0].startswith(b"HTTP/")


class _Redaction:
    """That of one head."""

    def __init__(self, redact: Optional[RedactionHook], secrets: List[bytes]) -> None:
        self._redact = redact
        self._secrets = secrets
        self._is_labelled = False  # the next subprotocol is a secret

    def first_line(self, line: bytes) -> bytes:
        if line.startswith(b"HTTP/"):
            return line
        method, space, rest = line.partition(b" ")
        target, version_space, version = rest.rpartition(b" ")
        if not target:  # the line is not complete
            target, version_space, version = rest, b"", b""
            ending = target[len(target.rstrip(b"\r\n")) :]
            target, version = target.rstrip(b"\r\n"), ending
        text = redact_url(target.decode("latin-1"), self._secrets)
        if self._redact is not None:
            text = self._asked(self._redact, "target", text) or "/"
        return method + space + text.encode("latin-1", "replace") + version_space + version

    def field(self, field: bytes) -> bytes:
        raw_name, colon, raw_value = field.partition(b":")
        name = _name_of(raw_name)
        value = raw_value.strip().decode("latin-1")
        if name in _NEVER or (not _ALWAYS.fullmatch(name) and _SECRET.search(name)):
            self._secrets.extend(_parts_of(raw_value))
            return b""
        wanted: Optional[str] = _USER.sub("", _without_jwt(value))
        if name in {"location", "referer", "content-location", "origin"}:
            wanted = redact_url(value, self._secrets)
        elif name == "sec-websocket-protocol":
            wanted = ", ".join(map(self._subprotocol, value.split(",")))
        if self._redact is not None and colon:
            wanted = self._asked(self._redact, name, wanted or "")
        if wanted is None:
            return b""
        if wanted == value or (name == "sec-websocket-protocol" and wanted == _spaced(value)):
            return field
        text = re.sub(r"[\r\n]+", " ", wanted)
        return raw_name + b": " + text.encode("latin-1", "replace") + b"\r\n"

    def _asked(self, redact: RedactionHook, name: str, value: str) -> Optional[str]:
        """What the hook makes of a value; what it withholds is a secret elsewhere, too."""
        wanted = redact(name, value)
        if wanted != value:
            kept = _words(wanted or "")
            found = [value, unquote(value), *(_words(value) - kept - {_REDACTED})]
            self._secrets.extend(each.encode("latin-1", "replace") for each in found)
        return wanted

    def _subprotocol(self, name: str) -> str:
        name = name.strip()
        raw = name.encode("latin-1", "replace")
        carries = len(name) > _LONGEST_SUBPROTOCOL or _CARRIES.search(name) is not None
        is_label = _LABEL.search(name) is not None
        is_secret = carries or is_label or self._is_labelled or _without_jwt(name) != name
        self._is_labelled = is_label and not carries
        if not name or not (is_secret or raw in self._secrets):
            return name
        self._secrets.append(raw)  # the response may choose it
        return _REDACTED


def _name_of(raw_name: bytes) -> str:
    """A header's name in lower case, without what no name may have and somebody has sent."""
    return _NO_LETTER.sub(b"", raw_name).decode("ascii").lower()


def _spaced(value: str) -> str:
    return ", ".join(part.strip() for part in value.split(","))


def _words(text: str) -> Set[str]:
    return set(_WORD.findall(text)) | set(_WORD.findall(unquote(text)))


def _parts_of(value: bytes) -> List[bytes]:
    """A secret, and what else shows it: credentials without their scheme, values of cookies."""
    found = [value.strip()]
    for word in value.replace(b";", b" ").split():
        found += [word, word.partition(b"=")[2]]
    return [each for each in found if each]


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
        is_secret = False
        for line in body.splitlines(keepends=True):
            if not (is_secret and line[:1] in (b" ", b"\t")):  # else it is folded
                name, colon, _ = line.partition(b":")
                is_secret = bool(colon) and _name_of(name) in _NEVER
            if is_secret:
                size = len(line.rstrip(b"\r\n"))
                lines.append(b"*" * size + line[size:])
            else:
                lines.append(line)
        text = _without_jwt(b"".join(lines).decode("latin-1"), blacken=True)
        text = _USER.sub(lambda match: "*" * len(match[0]), text)
        found = _PARAMETER_IN_TEXT.sub(_blackened_value, text).encode("latin-1")
        for secret in sorted(set(self._secrets), key=len, reverse=True):
            if len(secret) >= _FEWEST_LETTERS:
                found = found.replace(secret, b"*" * len(secret))
        return found


def _blackened_value(match: Match[str]) -> str:
    if not _SECRET.search(unquote(match[1])):
        return match[0]
    return f"{match[1]}={'*' * len(match[2])}"
