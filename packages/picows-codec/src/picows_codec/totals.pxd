"""Running totals of all connections of one server. Private tier.

Called per read, per write, per frame that is sent; each is a few additions, without a branch.
"""

from libc.stdint cimport int64_t, uint64_t

cdef enum:
    # Places of Totals.violations beyond those of WS_VIOLATION_*, which lie at their negatives.
    UNFINISHED = 19             # a frame or message did not go on within stall_timeout
    NO_MEMORY = 20              # for a frame within the limits
    VIOLATIONS = 21
    KINDS = 11                  # of WSDisconnectKind

cdef class Totals:
    cdef uint64_t messages_received     # of which the first frame has arrived
    cdef uint64_t not_begun_received    # frames that do not begin a message
    cdef uint64_t bytes_received
    cdef uint64_t frames_sent
    cdef uint64_t not_begun_sent        # of these, those that do not begin a message
    cdef uint64_t bytes_sent
    cdef uint64_t opened
    cdef uint64_t pings_lost
    cdef uint64_t slow_consumers
    cdef int64_t queued                 # bytes that wait for the kernel
    cdef int64_t most_queued
    cdef uint64_t closed[KINDS]
    cdef uint64_t violations[VIOLATIONS]
    cdef dict _refused
    cdef dict _responses

    cdef int count_closed(self, object kind) except -1
    cdef int count_response(self, object status, bint is_refusal) except -1

# Each first argument is a Totals; as an object it would cost a reference count, and so would +=.

cdef inline void count_received(void* totals, Py_ssize_t messages) noexcept:
    (<Totals> totals).messages_received = (<Totals> totals).messages_received + messages

# A frame that does not begin a message.
cdef inline void count_received_rest(void* totals) noexcept:
    (<Totals> totals).not_begun_received = (<Totals> totals).not_begun_received + 1

cdef inline void count_received_bytes(void* totals, Py_ssize_t size) noexcept:
    (<Totals> totals).bytes_received = (<Totals> totals).bytes_received + size

cdef inline void count_sent_frames(void* totals, Py_ssize_t frames) noexcept:
    (<Totals> totals).frames_sent = (<Totals> totals).frames_sent + frames

# The frame that is counted as sent next, or was last, does not begin a message.
cdef inline void count_sent_rest(void* totals) noexcept:
    (<Totals> totals).not_begun_sent = (<Totals> totals).not_begun_sent + 1

cdef inline void count_sent_bytes(void* totals, Py_ssize_t size) noexcept:
    (<Totals> totals).bytes_sent = (<Totals> totals).bytes_sent + size

cdef inline void count_opened(void* totals) noexcept:
    (<Totals> totals).opened = (<Totals> totals).opened + 1

cdef inline void count_lost_ping(void* totals) noexcept:
    (<Totals> totals).pings_lost = (<Totals> totals).pings_lost + 1

cdef inline void count_slow_consumer(void* totals) noexcept:
    (<Totals> totals).slow_consumers = (<Totals> totals).slow_consumers + 1

# place: the negative of a violation, UNFINISHED or NO_MEMORY.
cdef inline void count_violation(void* totals, int place) noexcept:
    (<Totals> totals).violations[place] = (<Totals> totals).violations[place] + 1

# The write queue of a connection has grown by so many bytes.
cdef inline void move_queue(void* totals, Py_ssize_t growth) noexcept:
    (<Totals> totals).queued = (<Totals> totals).queued + growth
    if (<Totals> totals).queued > (<Totals> totals).most_queued:
        (<Totals> totals).most_queued = (<Totals> totals).queued
