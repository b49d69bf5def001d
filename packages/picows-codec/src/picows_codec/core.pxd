"""What a transport needs of the connection behind it. Private tier."""

from libc.stdint cimport uint8_t

from picows_codec.deadlines cimport Deadlined

cdef class Core(Deadlined):
    cdef int check_thread(self) except -1
    # owner: what keeps payload where and as it is and may be kept instead of a copy, a bytes or
    # str object; or None.
    cdef int send_frame(
        self, int opcode, bint fin, int rsv, const uint8_t* payload, Py_ssize_t size,
        object owner) except -1
    cdef int send_in_place(
        self, int opcode, bint fin, int rsv, uint8_t* payload, Py_ssize_t size) except -1
    cdef int cork(self) except -1
    cdef int uncork(self) except -1
    cdef int disconnect(self, bint graceful, bytes close_payload) except -1
    cdef object closed_future(self)
    cdef object roundtrip_future(self)
    cdef int user_pong_received(self) except -1
    cdef object attribute(self, int which)

# How the path of a frame does without try blocks, each of which costs some 30 instructions when
# nothing is raised: a function that may raise is called through a pointer to one that may not, so
# that its -1 comes back to the caller, with the exception set. Whoever takes it up there raises it
# with this, inside a try block.
cdef inline int reraise() except -1:
    return -1

cdef enum:
    # What Core.attribute() is asked for.
    ATTRIBUTE_STATE
    ATTRIBUTE_UNDERLYING
    ATTRIBUTE_REQUEST
    ATTRIBUTE_RESPONSE
    ATTRIBUTE_SUBPROTOCOL
    ATTRIBUTE_IS_CLIENT
    ATTRIBUTE_IS_SECURE
    ATTRIBUTE_CLOSE_SENT
    ATTRIBUTE_CLOSE_HANDSHAKE
    ATTRIBUTE_DISCONNECT_CAUSE
    ATTRIBUTE_WRITE_QUEUE
    ATTRIBUTE_REMOTE_ADDRESS
    ATTRIBUTE_LOCAL_ADDRESS
