"""What is kept of one connection for those who ask about it: its id, its counts, how it opened."""

cimport cython

from os import urandom


@cython.final
cdef class Record:
    pass


cdef Record new_record():
    cdef Record made = Record.__new__(Record)
    # Random, because logs of many processes lie together, and threads may ask at the same time.
    made.id = urandom(8).hex()
    return made


cdef int record_outcome(Record self, object request, object response) except -1:
    self.request = request
    self.status = None if response is None else int(response.status)
    return 0
