"""Headers as Python objects: those of a head, and those that a caller passes. Private tier."""

from libc.stdint cimport uint8_t

# All headers of a complete head as a CIMultiDict.
cdef object ws_headers_of(bytes head)

# "Name: value" CRLF of a caller's header. Raises WSInvalidOptionError, with the header's name and
# `where` it was passed, if it could break out of its line or is the library's.
cdef bytes ws_encode_field(object name, object value, str where)

# Pairs of a caller's extra_headers: None, a mapping or an iterable of pairs.
cdef list ws_header_pairs(object headers, str where)

# The ASCII bytes of a caller's text. Raises WSInvalidOptionError, with what is wanted, if the text
# does not pass the check.
cdef bytes ws_encode_text(
    object value, str where, bint (*check)(const uint8_t*, Py_ssize_t) noexcept nogil, str wanted)
