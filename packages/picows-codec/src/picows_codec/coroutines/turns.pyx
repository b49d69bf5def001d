"""Whose turn it is to send on a coroutine connection.

Senders wait in line while writing is paused, or while the fragments of a message are being sent
(RFC 6455, 5.4: fragments of two messages do not mix). A connection has a line from the first wait
on.
"""

cimport cython

from collections import deque


@cython.final
cdef class Turns:
    """Futures of senders. The first one is done when its sender may go on; it stays in line until
    the sender has run, so that nobody overtakes it."""

    def __cinit__(self):
        self._waiting = deque()

    cdef bint is_taken(self) noexcept:
        """Whether a sender that comes now has to wait for others."""
        return self._is_held or bool(self._waiting)

    cdef bint is_held(self) noexcept:
        return self._is_held

    cdef object join(self, object future, bint first):
        """Get in line: at its end, or ``first``."""
        if first:
            self._waiting.appendleft(future)
        else:
            self._waiting.append(future)
        return future

    cdef object pause_between(self, object future):
        """Wait between two fragments of the message that holds the line."""
        self._between = future
        return future

    cdef int leave(self, object future) except -1:
        """Its sender goes on, or has given up."""
        if self._between is future:
            self._between = None
        elif self._waiting is not None:     # the garbage collector may have been here
            self._waiting.remove(future)
        return 0

    cdef int hold(self) noexcept:
        """A message of several fragments begins: only its sender may send."""
        self._is_held = True
        return 0

    cdef int release(self) except -1:
        """That message has ended."""
        self._is_held = False
        return self.call_next()

    cdef int call_next(self) except -1:
        """Whose turn it is may look whether it can send."""
        if self._is_held:
            return _call(self._between)
        return _call(self._waiting[0]) if self._waiting else 0

    cdef int call_all(self) except -1:
        """Nobody will send any more: everybody goes on, and finds the connection closed."""
        _call(self._between)
        for future in self._waiting:
            _call(future)
        return 0


cdef int _call(object future) except -1:
    if future is not None and not future.done():
        future.set_result(None)
    return 0
