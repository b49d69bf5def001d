"""A connected socket as an asyncio transport of an endpoint. Private tier."""

from picows_codec.buffers cimport ThreadBuffers
from picows_codec.stream.poller cimport Poller
from picows_codec.stream.wire cimport StreamWire

cdef class StreamTransport(StreamWire):
    cdef:
        object _loop
        object _socket              # owned; None once closed
        Poller _poller              # None: the loop watches the socket
        ThreadBuffers _buffers
        bint _reading               # wanted by the endpoint
        bint _closing
        object __weakref__

    cdef int _receive(self) except -1
    cdef bint _receive_once(self) except -1
    cdef int _die(self, object exc) except -1
