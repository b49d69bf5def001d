"""ClientHellos: those that OpenSSL writes, and others that are put together by hand."""

from __future__ import annotations

import contextlib
import ssl
from typing import Iterable, Optional, Sequence, Tuple

__all__ = ["hello_by_hand", "hello_of_openssl", "name_extension", "record", "records"]

Extension = Tuple[int, bytes]


def hello_of_openssl(
    server_name: Optional[str],
    *,
    maximum: Optional[ssl.TLSVersion] = None,
    alpn: Sequence[str] = (),
    session: Optional[ssl.SSLSession] = None,
) -> bytes:
    """What a client of Python's ssl sends first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if maximum is not None:
        context.maximum_version = maximum
    if alpn:
        context.set_alpn_protocols(list(alpn))
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(
        ssl.MemoryBIO(), outgoing, server_hostname=server_name, session=session
    )
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def _vector(length_size: int, data: bytes) -> bytes:
    return len(data).to_bytes(length_size, "big") + data


def name_extension(*names: bytes, kind: int = 0) -> Extension:
    """The server_name extension (RFC 6066, 3)."""
    return 0, _vector(2, b"".join(bytes([kind]) + _vector(2, name) for name in names))


def hello_by_hand(
    extensions: Optional[Iterable[Extension]] = (),
    *,
    session_id: bytes = bytes(32),
    suites: bytes = b"\x13\x01",
    compression: bytes = b"\0",
    behind: bytes = b"",
) -> bytes:
    """The message (RFC 8446, 4.1.2), without a record; None: it has no extensions at all."""
    body = b"\3\3" + bytes(32) + _vector(1, session_id) + _vector(2, suites)
    body += _vector(1, compression)
    if extensions is not None:
        parts = (kind.to_bytes(2, "big") + _vector(2, content) for kind, content in extensions)
        body += _vector(2, b"".join(parts))
    return b"\1" + _vector(3, body + behind)


def record(fragment: bytes, kind: int = 22, version: bytes = b"\3\1") -> bytes:
    """One record (RFC 8446, 5.1)."""
    return bytes([kind]) + version + _vector(2, fragment)


def records(message: bytes, size: int = 16384) -> bytes:
    """A message over records of so many bytes."""
    starts = range(0, len(message), size)
    return b"".join(record(message[start : start + size]) for start in starts)
