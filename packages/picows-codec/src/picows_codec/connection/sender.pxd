"""Which frames may be sent, and which are compressed first. Private tier."""

from libc.stdint cimport uint8_t

from picows_codec.connection.state cimport ws_event
from picows_codec.connection.writer cimport Writer

cdef class Compression:
    """What permessage-deflate does for a connection that negotiated it (RFC 7692).

    Made in ``deflate.extension``, which is not imported for others.
    """

    # Sending: whether anything is compressed, and whether a message is whose first frame has so
    # many bytes.
    cdef bint deflates(self) noexcept
    cdef bint wants(self, Py_ssize_t size) noexcept
    # The payload to send for a frame of size[0] bytes, and how many bytes of it; None: as it is.
    cdef bytes deflate(self, const uint8_t* payload, Py_ssize_t* size, bint first, bint fin)
    # A message is sent that was compressed elsewhere.
    cdef int passed_by(self) noexcept
    # With which window bits a message may be compressed elsewhere, without context takeover, to be
    # sent here with RSV1; 0: none may.
    cdef int prepared_window_bits(self) noexcept

    # Receiving: whether a data frame belongs to a compressed message, asked once per frame; and the
    # payload of one that does, or None and a violation.
    cdef bint takes(self, uint8_t opcode, uint8_t rsv, bint fin) noexcept
    cdef bytes inflate(
        self, uint8_t opcode, bint fin, const uint8_t* payload, Py_ssize_t size,
        int* violation)
    # Whether what a read was inflated to has become so large, with size bytes more, that a listener
    # that keeps it all should get it. read: the thread's count of reads.
    cdef bint fills_batch(self, Py_ssize_t size, unsigned long read) noexcept

cdef class Sender(Writer):
    cdef Compression _compression       # None unless permessage-deflate was negotiated

    cdef int _set_compression(self, Compression compression) except -1
    cdef int _release_sender(self) except -1

    # owner: the bytes or str object that payload lies in, which may be queued instead of a copy; or
    # None.
    cdef int send_frame(
        self, int opcode, bint fin, int rsv, const uint8_t* payload, Py_ssize_t size,
        object owner) except -1
    cdef int send_in_place(
        self, int opcode, bint fin, int rsv, uint8_t* payload, Py_ssize_t size) except -1
    # A message for each of the payloads: bytes, str, and memoryviews of contiguous bytes.
    cdef int send_all(self, int opcode, tuple payloads) except -1
    # A message. frame: what a server sends for it, of which payload[0:size] is the end.
    cdef int send_shared(
        self, uint8_t first_byte, const uint8_t* payload, Py_ssize_t size, bytes frame) except -1

    cdef int _check_frame(
        self, int opcode, bint fin, const uint8_t* payload, Py_ssize_t size) except -1
    cdef int _send_checked(
        self, int opcode, bint fin, int rsv, const uint8_t* payload, Py_ssize_t size,
        object owner) except -1
    cdef int _send_deflated(
        self, int opcode, bint fin, int rsv, const uint8_t* payload, Py_ssize_t size,
        object owner) except -1
    cdef int _send_all_deflated(self, int opcode, tuple payloads) except -1
    cdef int _send_close(self, ws_event event, const uint8_t* payload, Py_ssize_t size) except -1
    cdef int _send_fragment(
        self, bint fin, int rsv, const uint8_t* payload, Py_ssize_t size, object owner) except -1

    # Hooks of the rooms above
    cdef int _close_was_sent(self) except -1
    cdef int _release_held(self) except -1
