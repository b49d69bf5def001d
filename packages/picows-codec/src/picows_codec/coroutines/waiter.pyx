# cython: binding=False
"""Waking a task within the callback of the read that has brought what it waits for.

A task that awaits a future goes on in the next iteration of the loop. One that awaits a ``Waiter``
goes on at once, as a listener's callback does: a message costs no second iteration, and what the
messages of one read are answered with leaves together. Where that callback was itself called by a
task, of which only one runs at a time, it is the next iteration, too.

The methods are CPython's own kind, for the reason given in ``frames``.
"""

cimport cython

from picows_codec.connection.writer cimport reraise

import asyncio
import sys

cdef extern from "Python.h":
    int PyContext_Enter(object context) except -1
    int PyContext_Exit(object context) except -1

# It is asked for each wait, and before 3.12 written in Python.
cdef object _current_task = asyncio.current_task
if sys.version_info < (3, 12):
    _current_task = vars(asyncio.tasks)["_current_tasks"].get


class _NoLoop:
    def get_debug(self):
        return False


# What a task that goes on is told has come. Of a future of asyncio's it takes the result in a few
# instructions; of anything else, by a call.
cdef object _DONE = asyncio.Future(loop=_NoLoop())
_DONE.set_result(None)


def _raise(error):
    raise error


# Without the care for exceptions that a try statement takes each time.
ctypedef int (*waking)(object) noexcept

cdef int _go_on(object wakeup) except -1:
    wakeup(_DONE)
    return 0


@cython.final
@cython.auto_pickle(False)
@cython.freelist(16)
cdef class Waiter:
    """As much of a future as a task needs: it belongs to one, which awaits it at once."""

    def __init__(self):
        raise TypeError("it is made by what is awaited")

    # What a task calls

    @property
    def _asyncio_future_blocking(self):
        return self._is_blocking

    @_asyncio_future_blocking.setter
    def _asyncio_future_blocking(self, bint value):
        self._is_blocking = value

    def get_loop(self):
        return self._loop

    def add_done_callback(self, callback, *, context=None):
        self._wakeup = callback
        self._context = context

    def remove_done_callback(self, callback):
        if self._wakeup != callback:
            return 0
        self._wakeup = None
        return 1

    def done(self):
        return self._is_done

    def cancelled(self):
        return self._is_cancelled

    def cancel(self, msg=None):
        if self._is_done:
            return False
        self._is_cancelled = True
        self._reason = msg
        self.wake_soon()
        return True

    def result(self):
        if self._is_cancelled:
            if self._reason is None:
                raise asyncio.CancelledError
            raise asyncio.CancelledError(self._reason)
        return None

    def exception(self):
        return self.result()

    # What whoever brings something calls

    cdef int wake_soon(self) except -1:
        """Let the task go on in the next iteration of the loop."""
        wakeup = self._wakeup
        self._is_done = True
        self._wakeup = None
        if wakeup is not None:
            self._loop.call_soon(wakeup, self, context=self._context)
        return 0

    cdef int wake(self) except -1:
        """Let the task go on, now if no other one runs."""
        wakeup = self._wakeup
        context = self._context
        if wakeup is None or context is None or _current_task(self._loop) is not None:
            return self.wake_soon()
        try:
            PyContext_Enter(context)
        except RuntimeError:        # it is that of the callback which we are in
            return self.wake_soon()
        self._is_done = True
        self._wakeup = self._context = None
        try:
            if (<waking> _go_on)(wakeup) < 0:
                self._raised()
        finally:
            PyContext_Exit(context)
        return 0

    cdef int _raised(self) except -1:
        """A task ends the loop: by a callback, because uvloop logs what a protocol raises."""
        try:
            reraise()
        except (KeyboardInterrupt, SystemExit) as error:
            self._loop.call_soon(_raise, error)
        return 0


cdef Waiter new_waiter(object loop):
    """Called per wait."""
    cdef Waiter made = Waiter.__new__(Waiter)
    made._loop = loop
    made._is_blocking = True
    return made
