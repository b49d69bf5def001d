"""What a transport needs of the connection behind it."""

from libc.stdint cimport uint8_t


cdef class Core(Deadlined):
    """Behind every transport; endpoint.pyx implements it."""

    cdef int check_thread(self) except -1:
        raise NotImplementedError

    cdef int send_frame(
            self, int opcode, bint fin, int rsv, const uint8_t* payload, Py_ssize_t size,
            object owner) except -1:
        raise NotImplementedError

    cdef int send_in_place(
            self, int opcode, bint fin, int rsv, uint8_t* payload, Py_ssize_t size) except -1:
        raise NotImplementedError

    cdef int cork(self) except -1:
        raise NotImplementedError

    cdef int uncork(self) except -1:
        raise NotImplementedError

    cdef int disconnect(self, bint graceful, bytes close_payload) except -1:
        raise NotImplementedError

    cdef object closed_future(self):
        raise NotImplementedError

    cdef object roundtrip_future(self):
        raise NotImplementedError

    cdef int user_pong_received(self) except -1:
        raise NotImplementedError

    cdef object attribute(self, int which):
        raise NotImplementedError
