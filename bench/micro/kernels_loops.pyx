"""Loops around the codec's C functions: each does something ``n`` times and returns the seconds."""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from picows_codec.frame_header cimport (
    ws_decode_frame_header,
    ws_encode_frame_header,
    ws_frame_header,
)
from picows_codec.http.head cimport WS_HEAD_END, ws_head_limits
from picows_codec.http.upgrade_head cimport ws_upgrade_head, ws_upgrade_head_feed
from picows_codec.mask cimport ws_mask, ws_mask_copy, ws_masking_key
from picows_codec.parser cimport (
    ws_parser,
    ws_parser_frame_end,
    ws_parser_header,
    ws_parser_init,
    ws_parser_payload,
)
from picows_codec.utf8 cimport ws_utf8_valid

from picows_codec.frames cimport WSFrame
from picows_codec.listener cimport WSListener
from picows_codec.transport cimport WSTransport

cdef extern from "<time.h>" nogil:
    ctypedef int64_t time_t
    struct timespec:
        time_t tv_sec
        long tv_nsec
    int CLOCK_MONOTONIC
    int clock_gettime(int clock, timespec* out)

cdef enum:
    # A buffer starts at a multiple of it, so that offsets mean what they say.
    PAGE = 4096
    # Headers are written to and read from several places, so that no compiler does it once for all.
    PLACES = 64
    PLACE = 16


cdef double now() noexcept nogil:
    cdef timespec time
    clock_gettime(CLOCK_MONOTONIC, &time)
    return <double> time.tv_sec + <double> time.tv_nsec * 1e-9


cdef class Buffer:
    """Memory that starts at the beginning of a page, with room for an offset."""

    cdef uint8_t* _block
    cdef uint8_t* data

    def __cinit__(self, size_t size):
        self._block = <uint8_t*> malloc(size + 2 * PAGE)
        if self._block == NULL:
            raise MemoryError
        self.data = self._block + PAGE - <size_t> self._block % PAGE
        memset(self.data, 97, size + PAGE - 64)

    def __dealloc__(self):
        free(self._block)


def mask_in_place(long n, size_t size, size_t offset):
    """Mask ``size`` bytes that start ``offset`` bytes into a page."""
    cdef Buffer buffer = Buffer(size)
    cdef uint8_t key[4]
    cdef uint8_t* data = buffer.data + offset
    cdef double start = now()
    cdef long _i
    memset(key, 0x5A, 4)
    for _i in range(n):
        ws_mask(data, size, key, 0)
    return now() - start


def mask_copy(long n, size_t size, size_t source_offset, size_t target_offset):
    """Mask from one buffer into another."""
    cdef Buffer source = Buffer(size)
    cdef Buffer target = Buffer(size)
    cdef uint8_t key[4]
    cdef double start = now()
    cdef long _i
    memset(key, 0x5A, 4)
    for _i in range(n):
        ws_mask_copy(
            target.data + target_offset, source.data + source_offset, size, key, 0)
    return now() - start


def masking_key(long n):
    """Draw masking keys."""
    cdef uint8_t key[4]
    cdef double start = now()
    cdef long _i
    for _i in range(n):
        ws_masking_key(key)
    return now() - start


def header_encode(long n, uint64_t size, bint masked):
    """Write the header of a frame of ``size`` bytes."""
    cdef Buffer buffer = Buffer(PLACES * PLACE)
    cdef uint8_t key[4]
    cdef long total = 0
    cdef double start = now()
    cdef long i
    memset(key, 0x5A, 4)
    for i in range(n):
        total += ws_encode_frame_header(
            buffer.data + (i % PLACES) * PLACE, 0x82, size, key if masked else NULL)
    if total < n:
        raise ValueError("not a header")
    return now() - start


def header_decode(long n, uint64_t size, bint masked):
    """Read the header of a frame of ``size`` bytes."""
    cdef Buffer buffer = Buffer(PLACES * PLACE)
    cdef uint8_t key[4]
    cdef ws_frame_header header
    cdef uint64_t total = 0
    cdef double start
    cdef long i
    memset(key, 0x5A, 4)
    for i in range(PLACES):
        ws_encode_frame_header(buffer.data + i * PLACE, 0x82, size, key if masked else NULL)
    start = now()
    for i in range(n):
        if ws_decode_frame_header(buffer.data + (i % PLACES) * PLACE, PLACE, &header) <= 0:
            raise ValueError("not a header")
        total += header.payload_size
    if total != n * size:
        raise ValueError("not the size")
    return now() - start


def utf8_valid(long n, bytes text):
    """Check a text."""
    cdef const uint8_t* data = text
    cdef size_t size = len(text)
    cdef long valid = 0
    cdef double start = now()
    cdef long _i
    for _i in range(n):
        valid += ws_utf8_valid(data, size)
    if valid != n:
        raise ValueError("the text is not UTF-8")
    return now() - start


def parse_frames(long n, bytes frames, bint masked, long count):
    """Run the parser over ``frames``, which hold ``count`` of them, n times: n * count frames.

    Masked frames are unmasked in place, and so masked again by the next round.
    """
    cdef bytearray copy = bytearray(frames)
    cdef uint8_t* data = copy
    cdef size_t size = len(frames)
    cdef size_t position
    cdef ws_parser parser
    cdef ws_frame_header header
    cdef int header_size
    cdef long seen = 0
    cdef double start = now()
    cdef long _i
    ws_parser_init(&parser, masked)
    for _i in range(n):
        position = 0
        while position < size:
            header_size = ws_parser_header(&parser, data + position, size - position, &header)
            if header_size <= 0:
                raise ValueError("not a frame")
            position += header_size
            if ws_parser_payload(
                    &parser, &header, data + position, <size_t> header.payload_size, 0) < 0:
                raise ValueError("a bad payload")
            if ws_parser_frame_end(&parser, &header, data + position) < 0:
                raise ValueError("a bad frame")
            position += <size_t> header.payload_size
            seen += 1
    if seen != n * count:
        raise ValueError("frames are missing")
    return now() - start


def parse_head(long n, bytes head):
    """Parse an upgrade request."""
    cdef ws_upgrade_head parsed
    cdef ws_head_limits limits
    cdef const uint8_t* data = head
    cdef Py_ssize_t size = len(head)
    cdef double start = now()
    cdef long _i
    limits.max_line_size = 8192
    limits.max_fields = 128
    limits.max_size = 65536
    for _i in range(n):
        memset(&parsed, 0, sizeof(parsed))
        if ws_upgrade_head_feed(&parsed, &limits, True, data, size) != WS_HEAD_END:
            raise ValueError("not an upgrade request")
    return now() - start


cdef class CountingListener(WSListener):
    """A compiled listener that looks at every frame."""

    cdef public long count
    cdef public uint64_t size

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        self.count += 1
        self.size += frame.payload_size
