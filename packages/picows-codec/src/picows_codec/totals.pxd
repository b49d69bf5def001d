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
    cdef uint64_t frames_received
    cdef uint64_t messages_received     # of which the first frame has arrived
    cdef uint64_t bytes_received
    cdef uint64_t frames_sent
    cdef uint64_t not_begun_sent        # of these, frames that do not begin a message
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

cdef inline void count_run(Totals self, Py_ssize_t messages) noexcept:
    self.frames_received += messages
    self.messages_received += messages

cdef inline void count_received_frame(Totals self, bint begins) noexcept:
    self.frames_received += 1
    self.messages_received += begins

cdef inline void count_received_bytes(Totals self, Py_ssize_t size) noexcept:
    self.bytes_received += size

cdef inline void count_sent_frames(Totals self, Py_ssize_t frames) noexcept:
    self.frames_sent += frames

# The frame that is counted as sent next, or was last, does not begin a message.
cdef inline void count_sent_rest(Totals self) noexcept:
    self.not_begun_sent += 1

cdef inline void count_sent_bytes(Totals self, Py_ssize_t size) noexcept:
    self.bytes_sent += size

cdef inline void count_opened(Totals self) noexcept:
    self.opened += 1

cdef inline void count_lost_ping(Totals self) noexcept:
    self.pings_lost += 1

cdef inline void count_slow_consumer(Totals self) noexcept:
    self.slow_consumers += 1

# place: the negative of a violation, UNFINISHED or NO_MEMORY.
cdef inline void count_violation(Totals self, int place) noexcept:
    self.violations[place] += 1

# The write queue of a connection has grown by so many bytes.
cdef inline void move_queue(Totals self, Py_ssize_t growth) noexcept:
    self.queued += growth
    if self.queued > self.most_queued:
        self.most_queued = self.queued
