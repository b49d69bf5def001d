"""Frames to the listener: which callback gets them, and how it is called. Private tier.

What is called per frame is inline, for the receiver; watched by the echo and inbound benches.
"""

from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from libc.stdint cimport uint8_t

from picows_codec.buffers cimport ReadBuffer, ThreadBuffers, keep_frame, lend_frame
from picows_codec.connection.sender cimport Sender
from picows_codec.connection.writer cimport expect_more
from picows_codec.constants cimport WS_OP_CLOSE
from picows_codec.exports cimport picows_references
from picows_codec.frame_header cimport ws_frame_header
from picows_codec.frames cimport WSFrame, _set_fin, _set_memory, _set_payload, _set_tail
from picows_codec.listener cimport WSListener
from picows_codec.transport cimport WSTransport

cdef extern from *:
    """
    #if PY_VERSION_HEX < 0x03090000
    #define PyObject_Vectorcall _PyObject_Vectorcall
    #endif
    """
    size_t PY_VECTORCALL_ARGUMENTS_OFFSET
    PyObject* PyObject_Vectorcall(
        object callback, PyObject** arguments, size_t count, PyObject* keywords)

cdef enum:
    # Bits of Dispatcher._read_flags. Nothing is set for most connections.
    SHOWS = 1                   # Receiver._witness sees what is received
    TIMES = 2                   # _record has the time of it
    COUNTS = 4                  # _record has counts of it
    BATCHES = 8                 # the listener keeps the messages of a read, and hears of its end
    GATHERS = 16                # the listener keeps the fragments of a message
    INFLATES = 32               # permessage-deflate was negotiated
    LONG_WAY = 48               # GATHERS, INFLATES: data frames need more than the callback

ctypedef int (*delivering)(WSListener, WSTransport, WSFrame) noexcept
ctypedef int (*handing_over)(Dispatcher, WSFrame) noexcept
ctypedef int (*reporting)(Dispatcher) noexcept

cdef class Dispatcher(Sender):
    cdef:
        WSTransport _transport      # None once the connection has ended
        WSListener _listener        # None before it opens and once it has ended
        object _on_frame            # a Python listener's on_ws_frame, else None
        bint _on_frame_is_method    # it is a function that takes the listener first
        uint8_t _expects_pong       # a ping of the library waits for its pong
        uint8_t _read_flags         # SHOWS, TIMES, COUNTS, BATCHES, GATHERS, INFLATES

    cdef int _begin_dispatching(self) except -1
    cdef int _set_listener(self, WSListener listener) except -1
    cdef int _look_up_callbacks(self) except -1
    cdef int _release_dispatcher(self) except -1
    cdef int _expect_pongs(self, bint expected) noexcept

    cdef bint _more_deliverable(self, const uint8_t* data, Py_ssize_t size) noexcept
    cdef int _frame_was_kept(self, WSFrame frame) except -1
    cdef int _hand_over_raised(self, WSFrame frame) except -1
    cdef int _on_frame_raised(self) except -1
    cdef int _end_batch(self) except -1
    cdef int _report_stop(self) except -1

    # Hooks of the rooms above
    cdef bint _takes_pong(self, WSFrame frame) except -1
    cdef int _listener_failed(self, str callback, object error) except -1

cdef inline void set_read_flags(Dispatcher self, uint8_t flags) noexcept:
    self._read_flags = flags

cdef inline int _deliver(WSListener listener, WSTransport transport, WSFrame frame) except -1:
    return listener._deliver(transport, frame)

cdef inline int call_listener(
        object callback, bint is_method, WSListener listener, WSTransport transport,
        WSFrame frame) noexcept:
    """on_ws_frame: -1 with the exception set if it raised."""
    cdef PyObject* call[3]
    cdef PyObject* result
    if callback is None:
        return (<delivering> _deliver)(listener, transport, frame)
    call[0] = <PyObject*> listener
    call[1] = <PyObject*> transport
    call[2] = <PyObject*> frame
    if is_method:
        result = PyObject_Vectorcall(callback, call, 3, NULL)
    else:
        result = PyObject_Vectorcall(callback, &call[1], 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL)
    if result == NULL:
        return -1
    Py_XDECREF(result)
    return 0

cdef inline int _report(Dispatcher self) except -1:
    return self._on_frame_raised()

cdef inline int report_raised(Dispatcher self) noexcept:
    """After call_listener: -1 with the exception set if it ends more than the connection."""
    return (<reporting> _report)(self)

cdef inline int _hand_over(Dispatcher self, WSFrame frame) except -1:
    """The listener's callback, and what it may raise."""
    cdef WSTransport transport = self._transport
    cdef WSListener listener = self._listener
    if self._expects_pong and self._takes_pong(frame):
        return 0
    if call_listener(self._on_frame, self._on_frame_is_method, listener, transport, frame) < 0:
        return self._on_frame_raised()
    return 0

cdef inline int deliver_frame(
        Dispatcher self, ReadBuffer buffer, const ws_frame_header* header, const uint8_t* payload,
        object owner, const uint8_t* tail, Py_ssize_t tail_size) except -1:
    """The thread's spare frame stays where it is and is marked as lent, for a callback that lets
    another connection receive. tail[0:tail_size]: what the read has behind the frame."""
    cdef ThreadBuffers buffers = self._buffers
    cdef WSFrame frame
    cdef bint is_last
    if buffers.frame_is_lent or buffers.frame is None:
        frame = WSFrame.__new__(WSFrame)
        if buffers.frame is None:
            keep_frame(buffers, frame)
    else:
        frame = <WSFrame> buffers.frame
    _set_payload(frame, header.opcode, payload, <Py_ssize_t> header.payload_size)
    _set_fin(frame, header.fin)
    is_last = (
        tail_size < 2 or header.opcode == WS_OP_CLOSE
        or not self._more_deliverable(tail, tail_size))
    _set_tail(frame, tail_size, is_last)
    _set_memory(frame, owner, buffer)
    expect_more(self, not is_last)
    lend_frame(buffers, True)
    if (<handing_over> _hand_over)(self, frame) < 0:
        return self._hand_over_raised(frame)
    if (
            buffers.frame is frame and picows_references(frame) == 2 and frame._exports == 0
            and owner is None):
        lend_frame(buffers, False)
        return 0
    return self._frame_was_kept(frame)
