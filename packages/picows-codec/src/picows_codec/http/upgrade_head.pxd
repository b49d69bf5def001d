"""What decides about an upgrade, picked out of a head as it arrives. Private tier."""

from libc.stdint cimport uint8_t

from picows_codec.http.grammar cimport ws_span
from picows_codec.http.head cimport (
    ws_head_limits,
    ws_head_scan,
    ws_request_line,
    ws_status_line,
)

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


# Parse a head as it arrives and keep what decides about the upgrade. Same data, limits and
# results as ws_head_next_line, except that complete lines are not reported.
cdef int ws_upgrade_head_feed(
    ws_upgrade_head* self, const ws_head_limits* limits, bint is_request,
    const uint8_t* data, Py_ssize_t size) noexcept nogil
