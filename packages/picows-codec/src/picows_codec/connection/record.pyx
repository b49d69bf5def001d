"""What is kept of one connection for those who ask about it: its id, its counts, how it opened."""

cimport cython

from os import urandom

# Unique among the processes whose logs lie together; numbers are unique within the process.
cdef str _PREFIX = urandom(4).hex()
cdef unsigned long _count = 0


@cython.final
cdef class Record:
    pass


cdef Record new_record():
    global _count
    cdef Record made = Record.__new__(Record)
    _count += 1
    made.id = f"{_PREFIX}-{_count:x}"
    return made


cdef int record_outcome(Record self, object request, object response) except -1:
    self.request = request
    self.status = None if response is None else int(response.status)
    return 0
