"""The HTTP response of an application that does not accept (``websocket.http.response``)."""

from __future__ import annotations

import re
from typing import Any, Iterable, List, Optional, Tuple

from picows_codec.http.reason_phrases import reason_phrase

__all__ = ["StreamedResponse", "checked_fields"]

_HeaderPairs = Iterable[Tuple[bytes, bytes]]

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BAD_IN_VALUE = re.compile(rb"[\x00\r\n]")

# The library decides about these.
_OURS = {b"connection", b"transfer-encoding", b"keep-alive", b"upgrade"}

_WITHOUT_BODY = (204, 304)


def checked_fields(headers: _HeaderPairs) -> List[Tuple[bytes, bytes]]:
    """Return headers with names in lower case; raise for what would break a head.

    TypeError for what is not bytes, ValueError for wrong characters.
    """
    fields = []
    for name, value in headers:
        for part in (name, value):
            if not isinstance(part, (bytes, bytearray)):
                raise TypeError(f"headers must be pairs of bytes, not {name!r}: {value!r}")
        if not _TOKEN.fullmatch(name) or _BAD_IN_VALUE.search(value):
            raise ValueError(f"invalid HTTP header: {name!r}: {value!r}")
        fields.append((bytes(name).lower(), bytes(value).strip(b" \t")))
    return fields


class StreamedResponse:
    """The bytes of one response, in the order in which the application gives its parts.

    With a Content-Length the head leaves at once. Without one it waits for the first body: if that
    is the only one its length is known, otherwise the body is chunked (RFC 9112, 7.1). ``date`` is
    sent unless the application has a Date.
    """

    def __init__(self, message: Any, date: Optional[bytes] = None) -> None:
        status = message["status"]
        if not isinstance(status, int) or not 200 <= status < 600:  # less is not final
            raise RuntimeError(f"Invalid HTTP status code {status!r} in response.")
        self.status = int(status)
        self.reason = reason_phrase(self.status)
        fields = checked_fields(message.get("headers") or ())
        if date is not None and all(name != b"date" for name, _ in fields):
            fields.append((b"date", date))
        ours = _OURS | {b"content-length"} if self.status == 204 else _OURS  # RFC 9110, 8.6
        self._fields = [field for field in fields if field[0] not in ours]
        self._length: Optional[int] = None
        for name, value in self._fields:
            if name == b"content-length":
                if not value.isdigit() or self._length not in (None, int(value)):
                    raise ValueError(f"invalid Content-Length: {value!r}")
                self._length = int(value)
        self._has_body = self.status not in _WITHOUT_BODY
        self._is_head_sent = False
        self._is_chunked = False
        self.is_complete = False

    def start(self) -> bytes:
        """The response has begun: what can be sent."""
        if self._length is None and self._has_body:
            return b""
        return self._head()

    def body(self, message: Any) -> bytes:
        """The next part of the body."""
        data = bytes(memoryview(message.get("body") or b""))
        has_more = bool(message.get("more_body", False))
        parts = []
        if not self._is_head_sent:
            if has_more:
                self._is_chunked = True
                self._fields.append((b"transfer-encoding", b"chunked"))
            else:
                self._fields.append((b"content-length", b"%d" % len(data)))
            parts.append(self._head())
        if self._has_body:
            parts.append(self._coded(data))
        if not has_more:
            parts.append(self._end())
        return b"".join(parts)

    @property
    def lacks_data(self) -> bool:
        """Whether the client waits for more of a body that was begun or announced."""
        return self._is_head_sent and self._has_body and (self._is_chunked or bool(self._length))

    def end(self) -> bytes:
        """The application has ended: what is missing."""
        if self.is_complete:
            return b""
        if self._is_head_sent:
            # A body that is shorter than announced cannot be completed. The chunked one is not, so
            # that the client notices.
            self.is_complete = True
            return b""
        return self.body({"body": b""})

    def _head(self) -> bytes:
        self._is_head_sent = True
        lines = [b"HTTP/1.1 %d %b\r\n" % (self.status, self.reason.encode("ascii"))]
        lines += [b"%b: %b\r\n" % field for field in self._fields]
        lines.append(b"connection: close\r\n\r\n")
        return b"".join(lines)

    def _coded(self, data: bytes) -> bytes:
        if not self._is_chunked:
            if self._length is not None:
                data = data[: self._length]  # more would be taken for something else
                self._length -= len(data)
            return data
        return b"%x\r\n%b\r\n" % (len(data), data) if data else b""

    def _end(self) -> bytes:
        self.is_complete = True
        return b"0\r\n\r\n" if self._is_chunked and self._has_body else b""
