"""Frames to the listener: which callback gets them, what becomes of a frame that it keeps, and
what it raises.

The path of a frame is in the .pxd file. What is here runs once per connection, per read, or for
a frame that is followed by others, was kept, or made the listener raise.
"""

cimport cython

from libc.stdint cimport uint8_t

from picows_codec.buffers cimport ThreadBuffers, keep_frame, lend_frame
from picows_codec.connection.state cimport DELIVERS
from picows_codec.connection.writer cimport reraise
from picows_codec.constants cimport WS_OP_PING, WS_OP_PONG
from picows_codec.exports cimport picows_references
from picows_codec.frame_header cimport ws_decode_frame_header, ws_frame_header
from picows_codec.frames cimport WSFrame, _forget_owner
from picows_codec.listener cimport WSListener, WSMessageListener, _introduce, _is_compiled
from picows_codec.transport cimport _new_transport

from types import MethodType

cdef enum:
    LOOKAHEAD = 16      # frames that the library answers itself, skipped to see whether more follow


cdef class Dispatcher(Sender):
    # Beginning and end

    cdef int _begin_dispatching(self) except -1:
        self._transport = _new_transport(self)
        return 0

    cdef int _set_listener(self, WSListener listener) except -1:
        with cython.critical_section(self):
            self._listener = listener
        _introduce(listener, self._transport)
        return 0

    cdef int _look_up_callbacks(self) except -1:
        """Once, so that nothing is looked up per frame."""
        callback = (<object> self._listener).on_ws_frame
        cdef bint gathers = isinstance(self._listener, WSMessageListener)
        if gathers:
            self._read_flags |= GATHERS
        if gathers and (<WSMessageListener> self._listener)._is_batching():
            self._read_flags |= BATCHES
        if _is_compiled(callback) and not (gathers and _sees_frames(self._listener)):
            self._on_frame = None
        elif type(callback) is MethodType and callback.__self__ is self._listener:
            self._on_frame = callback.__func__
            self._on_frame_is_method = True
        else:
            self._on_frame = callback
        return 0

    cdef int _release_dispatcher(self) except -1:
        with cython.critical_section(self):
            self._transport = self._listener = None
        self._on_frame = None
        return 0

    cdef int _expect_pongs(self, bint expected) noexcept:
        self._expects_pong = expected
        return 0

    # Delivering

    cdef bint _more_deliverable(self, const uint8_t* data, Py_ssize_t size) noexcept:
        """Whether data[0:size] begins with another complete frame that the listener will get.

        Frames that the listener does not get are skipped, but only so many, because skipping a
        flood of them again for each frame would take the square of its length.
        """
        cdef ws_frame_header header
        cdef int header_size
        cdef int _
        for _ in range(LOOKAHEAD):
            header_size = ws_decode_frame_header(data, size, &header)
            if header_size <= 0 or header.payload_size > <size_t> (size - header_size):
                return False
            if not (
                    (header.opcode == WS_OP_PING and self._options.enable_auto_pong)
                    or (header.opcode == WS_OP_PONG and self._expects_pong)):
                return True
            data += header_size + header.payload_size
            size -= header_size + header.payload_size
        return False

    cdef int _frame_was_kept(self, WSFrame frame) except -1:
        """Somebody has the frame, or a view of it; or it has memory of its own."""
        cdef ThreadBuffers buffers = self._buffers
        if buffers.frame is frame:
            lend_frame(buffers, False)
            if picows_references(frame) == 2 and frame._exports == 0:
                _forget_owner(frame)
                return 0
            keep_frame(buffers, None)
        return frame._detach()

    cdef int _hand_over_raised(self, WSFrame frame) except -1:
        try:
            reraise()
        finally:
            self._frame_was_kept(frame)

    cdef int _on_frame_raised(self) except -1:
        try:
            reraise()
        except Exception as error:
            self._listener_failed("on_ws_frame", error)
        return 0

    cdef int _end_batch(self) except -1:
        """The read is over, or something comes that the messages before it must not wait for."""
        if (
                not self._read_flags & BATCHES or self._listener is None
                or not self._state & DELIVERS):
            return 0
        try:
            (<WSMessageListener> self._listener)._end_batch(self._transport)
        except Exception as error:
            self._listener_failed("on_ws_batch", error)
        return 0

    cdef int _report_stop(self) except -1:
        """No frame is delivered any more: the listener may have somebody who waits for one."""
        if self._read_flags & GATHERS and self._listener is not None and not self._state & DELIVERS:
            (<WSMessageListener> self._listener)._stopped()
        return 0

    # Hooks

    cdef bint _takes_pong(self, WSFrame frame) except -1:
        raise NotImplementedError

    cdef int _listener_failed(self, str callback, object error) except -1:
        raise NotImplementedError


cdef bint _sees_frames(object listener) except -1:
    """Whether a compiled listener of messages has an on_ws_frame of its own, which must get the
    frames before they are gathered."""
    return (
        (<object> type(listener)).on_ws_frame is not (<object> WSMessageListener).on_ws_frame)
