"""What is kept of one connection for those who ask about it. Private tier."""

from libc.stdint cimport uint8_t, uint64_t

cdef class Record:
    """Exists with collect_stats=True, for an access log, and once somebody asks for the id."""

    cdef uint64_t frames_received
    cdef uint64_t messages_received     # of which the first frame has arrived
    cdef uint64_t frames_sent
    cdef uint64_t messages_sent
    cdef double heard                   # when bytes came last; followed with collect_stats=True
    cdef double ended                   # when it ended; 0: it has not
    cdef double latency                 # seconds of the last round trip; 0: none was measured
    cdef object request                 # of the opening handshake; None before it arrived
    cdef object status                  # of its response, or None
    cdef str id

# Each first argument is a Record; as an object it would cost a reference count.

cdef inline void record_received(
        void* record, Py_ssize_t frames, Py_ssize_t messages) noexcept:
    (<Record> record).frames_received = (<Record> record).frames_received + frames
    (<Record> record).messages_received = (<Record> record).messages_received + messages

cdef void record_sent(void* record, uint8_t first_byte, Py_ssize_t frames) noexcept

cdef inline void record_heard(void* record, double now) noexcept:
    (<Record> record).heard = now

cdef inline void record_end(void* record, double now) noexcept:
    (<Record> record).ended = now

cdef inline void record_latency(void* record, double seconds) noexcept:
    (<Record> record).latency = seconds

cdef int record_outcome(Record self, object request, object response) except -1

cdef Record new_record()
