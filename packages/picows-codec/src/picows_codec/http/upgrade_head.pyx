# cython: auto_pickle=False
"""What decides about an upgrade, picked out of a head as it arrives."""

from picows_codec.http.body cimport ws_parse_content_length
from picows_codec.http.grammar cimport (
    ws_equals_ignore_case,
    ws_list_contains,
    ws_list_next,
    ws_make_span,
)
from picows_codec.http.head cimport (
    WS_HEAD_LINE,
    ws_field,
    ws_head_next_line,
    ws_parse_field_line,
    ws_parse_request_line,
    ws_parse_status_line,
)


cdef int known_field(const uint8_t* name, Py_ssize_t size) noexcept nogil:
    if size == 4:
        if ws_equals_ignore_case(name, size, "host"):
            return WS_FIELD_HOST
    elif size == 7:
        if ws_equals_ignore_case(name, size, "upgrade"):
            return WS_FIELD_UPGRADE
    elif size == 8:
        if ws_equals_ignore_case(name, size, "location"):
            return WS_FIELD_LOCATION
    elif size == 10:
        if ws_equals_ignore_case(name, size, "connection"):
            return WS_FIELD_CONNECTION
    elif size == 14:
        if ws_equals_ignore_case(name, size, "content-length"):
            return WS_FIELD_CONTENT_LENGTH
    elif size == 17:
        if ws_equals_ignore_case(name, size, "sec-websocket-key"):
            return WS_FIELD_KEY
        if ws_equals_ignore_case(name, size, "transfer-encoding"):
            return WS_FIELD_TRANSFER_ENCODING
    elif size == 20:
        if ws_equals_ignore_case(name, size, "sec-websocket-accept"):
            return WS_FIELD_ACCEPT
    elif size == 21:
        if ws_equals_ignore_case(name, size, "sec-websocket-version"):
            return WS_FIELD_VERSION
    elif size == 22:
        if ws_equals_ignore_case(name, size, "sec-websocket-protocol"):
            return WS_FIELD_PROTOCOL
    elif size == 24:
        if ws_equals_ignore_case(name, size, "sec-websocket-extensions"):
            return WS_FIELD_EXTENSIONS
    return WS_FIELD_OTHER


cdef void note_field(
    ws_upgrade_head* self, const uint8_t* line, Py_ssize_t line_start, const ws_field* field
) noexcept nogil:
    cdef const uint8_t* value = line + field.value.start
    cdef Py_ssize_t size = field.value.size
    cdef int known = known_field(line + field.name.start, field.name.size)
    cdef Py_ssize_t position = 0
    cdef ws_span element
    if known == WS_FIELD_OTHER:
        return
    if (known == WS_FIELD_PROTOCOL or known == WS_FIELD_EXTENSIONS) and not ws_list_next(
        value, size, &position, &element
    ):
        return      # some peers and proxies send an empty list instead of no header
    if self.fields[known].count == 0:
        self.fields[known].value = ws_make_span(line_start + field.value.start, size)
    self.fields[known].count += 1
    if known == WS_FIELD_UPGRADE:
        self.upgrade_websocket |= ws_list_contains(value, size, "websocket")
    elif known == WS_FIELD_CONNECTION:
        self.connection_upgrade |= ws_list_contains(value, size, "upgrade")
    elif known == WS_FIELD_CONTENT_LENGTH:
        self.has_content |= ws_parse_content_length(value, size) != 0
    elif known == WS_FIELD_TRANSFER_ENCODING:
        self.has_content = True
        self.chunked |= ws_list_contains(value, size, "chunked")


cdef int ws_upgrade_head_feed(
    ws_upgrade_head* self, const ws_head_limits* limits, bint is_request,
    const uint8_t* data, Py_ssize_t size
) noexcept nogil:
    cdef ws_span line
    cdef ws_field field
    cdef int status
    while True:
        status = ws_head_next_line(&self.scan, limits, data, size, &line)
        if status != WS_HEAD_LINE:
            return status
        if line.start > 0:
            status = ws_parse_field_line(data + line.start, line.size, &field)
            if status == 0:
                note_field(self, data + line.start, line.start, &field)
        elif is_request:
            status = ws_parse_request_line(data, line.size, &self.request_line)
        else:
            status = ws_parse_status_line(data, line.size, &self.status_line)
        if status != 0:
            return status
