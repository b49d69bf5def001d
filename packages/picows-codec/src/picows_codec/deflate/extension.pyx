# cython: auto_pickle=False
"""permessage-deflate of one connection, as its sender and its receiver see it (RFC 7692)."""

cimport cython
from libc.stdint cimport uint8_t

from picows_codec.connection.sender cimport Compression
from picows_codec.constants cimport WS_OP_CONTINUATION, WS_OP_TEXT
from picows_codec.deflate.deflating cimport Deflater, new_message_deflater
from picows_codec.deflate.inflating cimport Inflater, new_message_inflater
from picows_codec.options cimport WSOptions

# Imported here although handshakes use it, so that it is there before the first of them.
from picows_codec.deflate.negotiation import Agreement

__all__ = ["new_compression"]

cdef enum:
    # Bytes. The few bytes of a read may be inflated to a thousand times as many.
    LARGEST_BATCH = 1048576


@cython.final
cdef class DeflateExtension(Compression):
    """Both directions. Their streams are made when the first compressed message needs them."""

    cdef object _agreement
    cdef Deflater _deflater         # None before the first compressed message
    cdef Inflater _inflater
    cdef Py_ssize_t _max_frame_size
    cdef Py_ssize_t _max_message_size
    cdef Py_ssize_t _min_size
    cdef int _send_bits             # 0: nothing is compressed
    cdef bint _is_inflating         # the message under way is compressed
    cdef Py_ssize_t _inflated       # bytes, in the read of that number
    cdef unsigned long _read

    cdef bint deflates(self) noexcept:
        return self._send_bits != 0

    cdef bint wants(self, Py_ssize_t size) noexcept:
        return size >= self._min_size

    cdef int prepared_window_bits(self) noexcept:
        return self._send_bits

    cdef int passed_by(self) noexcept:
        if self._deflater is not None:
            self._deflater.forget_context()
        return 0

    cdef bytes deflate(
            self, const uint8_t* payload, Py_ssize_t* size, bint first, bint fin):
        if self._deflater is None:
            parameters = self._agreement.parameters
            self._deflater = new_message_deflater(
                self._send_bits, self._agreement.send_alone, parameters.level,
                parameters.memory_level)
        return self._deflater.deflate(payload, size, first, fin)

    cdef bint takes(self, uint8_t opcode, uint8_t rsv, bint fin) noexcept:
        """RFC 7692, 6: RSV1 of the first frame holds for the whole message."""
        cdef bint is_compressed = (
            self._is_inflating if opcode == WS_OP_CONTINUATION else rsv & 4 != 0)
        self._is_inflating = is_compressed and not fin
        return is_compressed

    cdef bytes inflate(
            self, uint8_t opcode, bint fin, const uint8_t* payload, Py_ssize_t size,
            int* violation):
        if self._inflater is None:
            self._inflater = new_message_inflater(
                self._agreement.receive_bits, self._agreement.receive_alone,
                self._max_frame_size, self._max_message_size)
        if opcode != WS_OP_CONTINUATION:
            self._inflater.begin(opcode == WS_OP_TEXT)
        return self._inflater.inflate(payload, size, fin, violation)

    cdef bint fills_batch(self, Py_ssize_t size, unsigned long read) noexcept:
        if self._read != read:
            self._read = read
            self._inflated = 0
        self._inflated += size
        if self._inflated < LARGEST_BATCH:
            return False
        self._inflated = 0
        return True


def new_compression(agreement, WSOptions options not None):
    """Return what a connection needs for the :class:`Agreement` of its opening handshake."""
    cdef DeflateExtension extension = DeflateExtension.__new__(DeflateExtension)
    if not isinstance(agreement, Agreement):
        raise TypeError(f"agreement must be an Agreement, not {type(agreement).__name__}")
    extension._agreement = agreement
    extension._send_bits = agreement.send_bits
    extension._min_size = agreement.parameters.min_size
    extension._max_frame_size = options.max_frame_size
    extension._max_message_size = options.max_message_size
    return extension
