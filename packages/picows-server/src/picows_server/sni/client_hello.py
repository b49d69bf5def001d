"""The server name in a ClientHello, read from the bytes with which a TLS connection begins.

The sections are those of TLS 1.3 (RFC 8446), whose ClientHello has the form of those before it.
Extensions other than server_name, GREASE (RFC 8701) and Encrypted ClientHello among them, are
skipped: with the latter, the name is the outer one. TLS itself reads everything again.
"""

from __future__ import annotations

import re
from typing import Optional

__all__ = [
    "MOST_BYTES",
    "UNRECOGNIZED_NAME",
    "ClientHello",
    "ClientHelloError",
    "encode_alert",
]

# Bytes of the records that hold a ClientHello. With keys of post-quantum algorithms it has two KiB.
MOST_BYTES = 65536

# 6.2
_UNEXPECTED_MESSAGE, _RECORD_OVERFLOW, _ILLEGAL_PARAMETER, _DECODE_ERROR = 10, 22, 47, 50
UNRECOGNIZED_NAME = 112
_ALERT, _FATAL = 21, 2

_RECORD_HEADER = 5
_HANDSHAKE, _LARGEST_FRAGMENT = 22, 16384  # 5.1
_MESSAGE_HEADER = 4
_CLIENT_HELLO = 1  # 4
_VERSION_AND_RANDOM = 2 + 32  # 4.1.2
_MOST_SESSION_ID = 32
_SERVER_NAME, _HOST_NAME = 0, 0  # RFC 6066, 3

_PRINTABLE = re.compile(rb"[\x21-\x7e]+")


class ClientHelloError(ValueError):
    """The bytes are no ClientHello; ``alert`` is TLS's number for that, None if it is not TLS.

    The text shows none of the bytes.
    """

    def __init__(self, text: str, alert: Optional[int] = _DECODE_ERROR) -> None:
        super().__init__(text)
        self.alert = alert


class ClientHello:
    """A ClientHello that arrives in pieces, over one record or several.

    ``wanted``: how many bytes are missing at least. 0: it is complete, and ``server_name`` is the
    name in it, in lower case and without a dot at its end, or None if the client sends none. What
    follows is not looked at.
    """

    def __init__(self) -> None:
        self.wanted = _RECORD_HEADER + _MESSAGE_HEADER
        self.server_name: Optional[str] = None
        self._taken = 0
        self._header = b""  # of the current record, until it is complete
        self._left = 0  # bytes of the current record that are to come
        self._message = bytearray()

    def feed(self, data: bytes) -> None:
        """Take the next bytes; raises :class:`ClientHelloError`."""
        position = 0
        while self.wanted and position < len(data):
            if self._left:
                piece = data[position : position + self._left]
                self._left -= len(piece)
                self._message += piece
            else:
                piece = data[position : position + _RECORD_HEADER - len(self._header)]
                self._header += piece
                self._look_at_header()
            position += len(piece)
            self._taken += len(piece)
            self._look_at_message()

    def _look_at_header(self) -> None:
        header = self._header
        # 5.1: the version of a record has no meaning; all of them begin with 3.
        if header[0] != _HANDSHAKE or header[1:2] not in (b"", b"\3"):
            raise ClientHelloError(
                *("the handshake goes on with something else", _UNEXPECTED_MESSAGE)
                if self._message
                else ("the peer does not speak TLS", None)
            )
        if len(header) < _RECORD_HEADER:
            return
        size = int.from_bytes(header[3:], "big")
        if not size:  # 5.1
            raise ClientHelloError("a record is empty", _UNEXPECTED_MESSAGE)
        if size > _LARGEST_FRAGMENT:
            raise ClientHelloError("a record is too large", _RECORD_OVERFLOW)
        self._header = b""
        self._left = size

    def _look_at_message(self) -> None:
        message = self._message
        if message[:1] not in (b"", bytes([_CLIENT_HELLO])):
            raise ClientHelloError("the first message is no ClientHello", _UNEXPECTED_MESSAGE)
        size = _MESSAGE_HEADER
        if len(message) >= _MESSAGE_HEADER:
            size += int.from_bytes(message[1:_MESSAGE_HEADER], "big")
        missing = size - len(message)
        if len(message) >= _MESSAGE_HEADER and missing <= 0:
            self.server_name = _read_server_name(bytes(message[_MESSAGE_HEADER:size]))
            self.wanted = 0
            return
        if missing > self._left:  # at least one more record
            missing += _RECORD_HEADER - len(self._header)
        if self._taken + missing > MOST_BYTES:
            raise ClientHelloError(f"the ClientHello has more than {MOST_BYTES} bytes")
        self.wanted = missing


def encode_alert(number: int) -> bytes:
    """Write the record of a fatal alert (6), before the keys are known."""
    return bytes([_ALERT, 3, 3, 0, 2, _FATAL, number])


class _Vector:
    """Reads bytes from their front; raises :class:`ClientHelloError` where they end too early."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def __bool__(self) -> bool:
        """Whether something is left."""
        return self._position < len(self._data)

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes."""
        start = self._position
        self._position += size
        if self._position > len(self._data):
            raise ClientHelloError("the ClientHello ends within a field")
        return self._data[start : self._position]

    def number(self, size: int) -> int:
        """A number of ``size`` bytes."""
        return int.from_bytes(self.take(size), "big")

    def vector(self, length_size: int) -> bytes:
        """The bytes behind a length of ``length_size`` bytes (3.4)."""
        return self.take(self.number(length_size))


def _read_server_name(body: bytes) -> Optional[str]:
    hello = _Vector(body)
    hello.take(_VERSION_AND_RANDOM)
    if len(hello.vector(1)) > _MOST_SESSION_ID:
        raise ClientHelloError("the session ID is too long")
    suites = hello.vector(2)
    if not suites or len(suites) % 2:
        raise ClientHelloError("the cipher suites are no list of them")
    if not hello.vector(1):
        raise ClientHelloError("there is no compression method")
    if not hello:
        return None  # before TLS 1.3 extensions may be missing altogether
    extensions = _Vector(hello.vector(2))
    if hello:
        raise ClientHelloError("there are bytes behind the extensions")
    name = None
    while extensions:
        kind, content = extensions.number(2), extensions.vector(2)
        if kind == _SERVER_NAME:
            if name is not None:  # 4.2
                raise ClientHelloError("server_name is sent twice", _ILLEGAL_PARAMETER)
            name = _read_name_list(content)
    return name


def _read_name_list(content: bytes) -> str:
    extension = _Vector(content)
    names = _Vector(extension.vector(2))
    # RFC 6066, 3: one name of each type, and there has never been a second type.
    kind, name = names.number(1), names.vector(2)
    if extension or names or kind != _HOST_NAME:
        raise ClientHelloError("server_name is no list of one host name")
    if not _PRINTABLE.fullmatch(name):
        raise ClientHelloError("the server name is no host name", _ILLEGAL_PARAMETER)
    text = name.decode("ascii").lower()
    return text[:-1] if text.endswith(".") else text
