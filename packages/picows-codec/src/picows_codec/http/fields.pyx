# cython: auto_pickle=False
"""Headers as Python objects: those of a head, and those that a caller passes."""

from cpython.bytes cimport PyBytes_GET_SIZE

from picows_codec.http.grammar cimport ws_is_field_value, ws_is_token, ws_start_of
from picows_codec.http.head cimport ws_decode_header, ws_field, ws_next_field

from multidict import CIMultiDict

from picows_codec.errors import WSInvalidOptionError

__all__ = ["check_field"]

# Only the library sets the headers that decide about the upgrade or the end of the message.
cdef frozenset _RESERVED = frozenset(
    ("connection", "content-length", "transfer-encoding", "upgrade"))


cdef object ws_headers_of(bytes head):
    cdef const uint8_t* data = ws_start_of(head)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(head)
    cdef Py_ssize_t position = 0
    cdef ws_field field
    headers = CIMultiDict()
    while ws_next_field(data, size, &position, &field):
        headers.add(
            ws_decode_header(data + field.name.start, field.name.size),
            ws_decode_header(data + field.value.start, field.value.size))
    return headers


cdef bytes ws_encode_field(object name, object value, str where):
    cdef bytes name_bytes, value_bytes
    if not isinstance(name, str):
        raise TypeError(f"{where}: a header name must be str, not {type(name).__name__}: {name!r}")
    if not isinstance(value, str):
        raise TypeError(
            f"{where}: the value of header {name!r} must be str, not {type(value).__name__}")
    name_bytes = (<str>name).encode("utf-8", "replace")
    if not ws_is_token(ws_start_of(name_bytes), PyBytes_GET_SIZE(name_bytes)):
        raise WSInvalidOptionError(
            f"{where}: {name!r} is not a header name: a token is wanted (RFC 9110, 5.1)")
    lower = (<str>name).lower()
    if lower in _RESERVED or lower.startswith("sec-websocket-"):
        raise WSInvalidOptionError(
            f"{where}: header {name!r} is set by the library and cannot be passed")
    # A value may be a secret, so errors show only the header's name.
    try:
        value_bytes = (<str>value).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise WSInvalidOptionError(
            f"{where}: the value of header {name!r} has a lone surrogate") from None
    if not ws_is_field_value(ws_start_of(value_bytes), PyBytes_GET_SIZE(value_bytes)):
        raise WSInvalidOptionError(
            f"{where}: the value of header {name!r} has a line break or another control "
            f"character (RFC 9110, 5.5)")
    return b"%b: %b\r\n" % (name_bytes, value_bytes)


def check_field(name, value, str where not None):
    """Raise TypeError or WSInvalidOptionError if a caller's header cannot be sent."""
    ws_encode_field(name, value, where)


cdef list ws_header_pairs(object headers, str where):
    if headers is None:
        return []
    if not isinstance(headers, (str, bytes)):
        items = getattr(headers, "items", None)
        try:
            return [(name, value) for name, value in (headers if items is None else items())]
        except (TypeError, ValueError):
            pass
    raise TypeError(
        f"{where} must be a mapping or an iterable of (name, value) pairs, "
        f"not {type(headers).__name__}")


cdef bytes ws_encode_text(
    object value, str where, bint (*check)(const uint8_t*, Py_ssize_t) noexcept nogil, str wanted
):
    if not isinstance(value, str):
        raise TypeError(f"{where} must be str, not {type(value).__name__}")
    cdef bytes data = (<str>value).encode("ascii", "replace")
    # What is not ASCII became "?", which the check may allow; so it is looked for separately.
    if not (<str>value).isascii() or not check(ws_start_of(data), PyBytes_GET_SIZE(data)):
        raise WSInvalidOptionError(f"{where}={value!r} is not valid: {wanted}")
    return data
