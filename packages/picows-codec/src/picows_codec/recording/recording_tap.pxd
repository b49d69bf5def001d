"""The tap of one recorded connection. Private tier."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from picows_codec.tap cimport WSTap

cdef class RecordingTap(WSTap):
    cdef:
        object _write               # of the recorder: kind, number, data, is_sent, is_handshake
        object _ended               # of the recorder: this tap is done
        object _redactor            # None once the opening handshake is over
        readonly list heads         # what was recorded of the handshake: (is_sent, bytes)
        readonly int number
        object _facts               # of its first record
        # Where the stream of received bytes is, so that a later file can go on
        uint64_t _left              # bytes of the frame under way
        uint8_t _head[14]           # the beginning of a header
        uint8_t _head_size
        bint _in_message            # between two fragments
        bint _is_lost               # what came is no frame

    cdef int _take(
        self, int direction, const uint8_t* data, Py_ssize_t size, int64_t time_ns) except -1
    cdef int _walk(self, const uint8_t* data, Py_ssize_t size) except -1
    cdef int _pieces(self, object pieces) except -1
