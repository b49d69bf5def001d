"""A coroutine that is a compiled object, made for one await: what Python code sees of it.

``await`` and tasks call a subclass through the slots of ``native/coroutine_slots.h``. Each subclass
has spare objects of its own, so it fills these slots in its own room, and defines ``__await__``: a
type without it would share the slots of its base class.
"""

cimport cython
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF

cdef extern from "Python.h":
    void PyErr_Fetch(PyObject** kind, PyObject** value, PyObject** traceback)
    void PyErr_Restore(PyObject* kind, PyObject* value, PyObject* traceback)


@cython.auto_pickle(False)
cdef class CompiledCoroutine:
    """A coroutine (:class:`collections.abc.Coroutine`): await it, or make a task of it."""

    def __init__(self):
        raise TypeError(f"{type(self).__name__} is made by the methods that return one")

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):     # picows_next replaces it
        return self.send(None)

    def send(self, value):
        """Go on, as a task does."""
        cdef PyObject* result = NULL
        cdef int status = self.resume(<PyObject*> value, &result)
        cdef object held = <object> result
        Py_XDECREF(result)
        if status == YIELDS:
            return held
        raise StopIteration(held)

    def throw(self, kind, value=None, traceback=None):
        """Raise an exception inside of the coroutine: mostly a cancellation."""
        if not isinstance(kind, BaseException):
            if not isinstance(value, BaseException):
                value = kind() if value is None else kind(value)
            if traceback is not None:
                value = value.with_traceback(traceback)
            kind = value
        return self.raise_inside(kind)

    def close(self):
        """End the coroutine, which may not have been started."""
        self.give_up()

    @property
    def __name__(self):
        return self.full_name().rpartition(".")[2]

    @property
    def __qualname__(self):
        return self.full_name()

    def __repr__(self):
        return f"<coroutine {self.full_name()}>"

    cdef int warn_of_no_await(self) except -1:
        """Warn as Python does of a coroutine that nobody has awaited."""
        import warnings
        warnings.warn(
            f"coroutine '{self.full_name()}' was never awaited", RuntimeWarning, stacklevel=1)
        return 0

    # What a subclass overrides

    cdef int resume(self, PyObject* value, PyObject** result) except -1:
        """Returns RETURNS or YIELDS, with a new reference in ``result``."""
        raise NotImplementedError

    cdef int give_up(self) except -1:
        """Stop waiting, whatever for."""
        raise NotImplementedError

    cdef object raise_inside(self, object error):
        """Raise it where the coroutine waits. Returns what the coroutine yields."""
        self.give_up()
        raise error

    cdef int dropped(self) except -1:
        """Nobody refers to it any more, and it has not ended."""
        raise NotImplementedError

    cdef str full_name(self):
        """Name of the method that has made it, with its class."""
        raise NotImplementedError


cdef int drop_early(PyObject* coroutine) noexcept:
    """Nobody refers to a coroutine that has not ended. Returns False: its object is not kept."""
    cdef PyObject* kind
    cdef PyObject* value
    cdef PyObject* traceback
    PyErr_Fetch(&kind, &value, &traceback)      # it may be dropped because of an exception
    (<CompiledCoroutine> coroutine).dropped()
    PyErr_Restore(kind, value, traceback)
    return False
