"""Grammar of the opening handshake: HTTP/1.1 heads (RFC 9110, RFC 9112, RFC 6455, 4).

Plain functions over pointers and plain structs: no socket, no allocation, no GIL. Positions are
offsets from the first byte of the head, so a buffer may move between two calls.
"""

from libc.stdint cimport uint8_t

cdef enum ws_head_status:
    WS_HEAD_MORE = 0        # everything so far is fine, the head goes on
    WS_HEAD_LINE = 1        # a line is complete
    WS_HEAD_END = 2         # the empty line at the end of the head is complete
    # What a peer can do wrong:
    WS_HEAD_LINE_TOO_LONG = -1
    WS_HEAD_TOO_MANY_FIELDS = -2
    WS_HEAD_TOO_LARGE = -3
    WS_HEAD_BAD_BYTE = -4
    WS_HEAD_BARE_CR = -5
    WS_HEAD_BARE_LF = -6
    WS_HEAD_OBS_FOLD = -7
    WS_HEAD_EMPTY_START_LINE = -8
    WS_HEAD_BAD_REQUEST_LINE = -9
    WS_HEAD_BAD_TARGET = -10
    WS_HEAD_BAD_VERSION = -11
    WS_HEAD_BAD_STATUS_LINE = -12
    WS_HEAD_FIELD_WITHOUT_COLON = -13
    WS_HEAD_FIELD_WITHOUT_NAME = -14
    WS_HEAD_SPACE_IN_NAME = -15
    WS_HEAD_BAD_NAME = -16

cdef enum:
    # The headers that decide about an upgrade.
    WS_FIELD_OTHER = 0
    WS_FIELD_HOST = 1
    WS_FIELD_UPGRADE = 2
    WS_FIELD_CONNECTION = 3
    WS_FIELD_KEY = 4
    WS_FIELD_VERSION = 5
    WS_FIELD_ACCEPT = 6
    WS_FIELD_PROTOCOL = 7
    WS_FIELD_EXTENSIONS = 8
    WS_FIELD_CONTENT_LENGTH = 9
    WS_FIELD_TRANSFER_ENCODING = 10
    WS_FIELD_LOCATION = 11
    WS_KNOWN_FIELDS = 12

cdef struct ws_span:
    Py_ssize_t start
    Py_ssize_t size

cdef struct ws_head_limits:
    Py_ssize_t max_line_size    # bytes of one line, its CRLF not counted
    Py_ssize_t max_fields       # header lines
    Py_ssize_t max_size         # bytes of the head, with the empty line at its end

cdef struct ws_head_scan:
    # Zero-initialise before the first byte. Every byte before `position` was looked at.
    Py_ssize_t position
    Py_ssize_t line_start
    Py_ssize_t line_count

cdef struct ws_field:
    ws_span name
    ws_span value               # without the white space around it

cdef struct ws_request_line:
    ws_span method
    ws_span path                # path and query: the target without scheme and authority
    int version                 # 11 for HTTP/1.1

cdef struct ws_status_line:
    int version                 # 11 for HTTP/1.1
    int status                  # 100 to 999
    ws_span reason              # may be empty

cdef struct ws_field_fact:
    Py_ssize_t count            # header lines of this name
    ws_span value               # of the first of them

cdef struct ws_upgrade_head:
    # Zero-initialise before the first byte.
    ws_head_scan scan
    ws_request_line request_line    # filled if the head is a request
    ws_status_line status_line      # filled if the head is a response
    ws_field_fact fields[WS_KNOWN_FIELDS]
    bint upgrade_websocket      # some Upgrade header lists "websocket"
    bint connection_upgrade     # some Connection header lists "upgrade"
    bint has_content            # Transfer-Encoding, or a Content-Length other than 0
    bint chunked                # some Transfer-Encoding header lists "chunked"

cdef struct ws_chunked:
    # Decoder of the chunked transfer coding (RFC 9112, 7.1). Zero-initialise.
    int state
    Py_ssize_t remaining
    Py_ssize_t digits
    bint done                   # the last chunk was read
    bint broken                 # this is not chunked


# Find the next line of a head. data[0:size] is everything that has arrived, from the first byte
# of the head on; only bytes from scan.position on are looked at, so that the work is linear in
# the bytes that arrive, whatever their pieces. Limits hold for unfinished lines too. Returns
# WS_HEAD_LINE (line is set), WS_HEAD_END (the head ends at scan.position), WS_HEAD_MORE, or what
# is wrong. The bytes of a line are HTAB, SP, VCHAR or obs-text: nothing else passes.
cdef int ws_head_next_line(
    ws_head_scan* self, const ws_head_limits* limits,
    const uint8_t* data, Py_ssize_t size, ws_span* line) noexcept nogil

# Parse one line that ws_head_next_line found, without its CRLF. Return 0 or what is wrong;
# spans are relative to the start of the line.
cdef int ws_parse_request_line(
    const uint8_t* line, Py_ssize_t size, ws_request_line* out) noexcept nogil
cdef int ws_parse_status_line(
    const uint8_t* line, Py_ssize_t size, ws_status_line* out) noexcept nogil
cdef int ws_parse_field_line(
    const uint8_t* line, Py_ssize_t size, ws_field* out) noexcept nogil

# Parse a head as it arrives and keep what decides about the upgrade. Same data, limits and
# results as ws_head_next_line, except that complete lines are not reported.
cdef int ws_upgrade_head_feed(
    ws_upgrade_head* self, const ws_head_limits* limits, bint is_request,
    const uint8_t* data, Py_ssize_t size) noexcept nogil

# One line on what is wrong, and the HTTP status that answers it.
cdef const char* ws_head_status_text(int status) noexcept nogil
cdef int ws_head_http_status(const ws_head_scan* scan, int status) noexcept nogil

# 1 if the bytes are a token / a field value without line breaks or control characters / an
# origin-form or absolute-form target / a Host value that is not empty (RFC 9110, 5.6.2 and 5.5,
# RFC 9112, 3.2, RFC 9110, 7.2).
cdef bint ws_is_token(const uint8_t* data, Py_ssize_t size) noexcept nogil
cdef bint ws_is_field_value(const uint8_t* data, Py_ssize_t size) noexcept nogil
cdef bint ws_is_target(const uint8_t* data, Py_ssize_t size) noexcept nogil
cdef bint ws_is_host(const uint8_t* data, Py_ssize_t size) noexcept nogil

# 1 if the bytes are the base64 of 16 bytes, in its canonical spelling (RFC 6455, 4.2.1, 5).
cdef bint ws_is_key(const uint8_t* data, Py_ssize_t size) noexcept nogil

# The number in a Content-Length, at most the largest Py_ssize_t; -1 if it is not one.
cdef Py_ssize_t ws_parse_content_length(const uint8_t* data, Py_ssize_t size) noexcept nogil

# Elements of a comma-separated list; empty ones are skipped (RFC 9110, 5.6.1). Start with
# position 0; 0 is returned when there are no more. Quoted strings are not looked into.
cdef bint ws_list_next(
    const uint8_t* value, Py_ssize_t size, Py_ssize_t* position, ws_span* element) noexcept nogil

# 1 if a list has the token, which is given in lower case; the list may be in any case.
cdef bint ws_list_contains(
    const uint8_t* value, Py_ssize_t size, const char* token) noexcept nogil

# 1 if the bytes are the given lower-case text, in any case.
cdef bint ws_equals_ignore_case(
    const uint8_t* data, Py_ssize_t size, const char* lower) noexcept nogil

# The next header of a complete head that passed ws_upgrade_head_feed. Start with position 0.
cdef bint ws_next_field(
    const uint8_t* head, Py_ssize_t size, Py_ssize_t* position, ws_field* field) noexcept nogil

# Decode the next piece into out, which has room for size bytes and may be data itself. Returns
# the number of bytes written to out; what follows the last chunk is ignored.
cdef Py_ssize_t ws_chunked_feed(
    ws_chunked* self, uint8_t* out, const uint8_t* data, Py_ssize_t size) noexcept nogil

# Header values are opaque bytes to HTTP: UTF-8 where they are, otherwise kept by
# surrogateescape, both ways.
cdef str ws_decode_header(const uint8_t* data, Py_ssize_t size)

# All headers of a complete head as a CIMultiDict.
cdef object ws_headers_of(bytes head)

# "Name: value" CRLF of a caller's header. WSInvalidOptionError names the header and `where` it
# was passed if it could break out of its line or belongs to the library.
cdef bytes ws_encode_field(object name, object value, str where)

# Pairs of a caller's extra_headers: None, a mapping or an iterable of pairs.
cdef list ws_header_pairs(object headers, str where)

# Sec-WebSocket-Accept for the 24 bytes of a Sec-WebSocket-Key (RFC 6455, 4.2.2, 5.4).
cdef bytes ws_accept_for_key(bytes key)


cdef class HeadScanner:
    cdef readonly bint finished
    cdef ws_head_scan _scan
    cdef ws_head_limits _limits


cdef class ChunkedDecoder:
    cdef ws_chunked _state
