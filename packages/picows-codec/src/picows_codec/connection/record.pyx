"""What is kept of one connection for those who ask about it: its id, its counts, how it opened."""

cimport cython
from libc.stdint cimport uint8_t

from os import urandom


@cython.final
cdef class Record:
    pass


cdef Record new_record():
    cdef Record made = Record.__new__(Record)
    # Random, because logs of many processes lie together, and threads may ask at the same time.
    made.id = urandom(8).hex()
    return made


cdef void record_sent(void* record, uint8_t first_byte, Py_ssize_t frames) noexcept:
    (<Record> record).frames_sent += frames
    if 1 <= first_byte & 0x0F <= 2:
        (<Record> record).messages_sent += frames


cdef int record_outcome(Record self, object request, object response) except -1:
    self.request = request
    self.status = None if response is None else int(response.status)
    return 0
