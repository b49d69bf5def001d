"""A coroutine that is a compiled object, made for one await. Private tier."""

from cpython.object cimport PyObject, PyTypeObject

cdef extern from "native/coroutine_slots.h":
    ctypedef int (*picows_resume)(PyObject* self, PyObject* value, PyObject** result) noexcept
    ctypedef int (*picows_drop)(PyObject* self) noexcept
    PyObject* picows_take_spare() noexcept
    void picows_make_coroutine(PyTypeObject* type, picows_resume resume, picows_drop drop)

cdef enum:
    RETURNS = 0                 # what resume returns, as PySendResult
    YIELDS = 1

cdef class CompiledCoroutine:
    cdef int resume(self, PyObject* value, PyObject** result) except -1
    cdef int give_up(self) except -1
    cdef object raise_inside(self, object error)
    cdef int dropped(self) except -1
    cdef str full_name(self)

    cdef int warn_of_no_await(self) except -1

cdef int drop_early(PyObject* coroutine) noexcept
