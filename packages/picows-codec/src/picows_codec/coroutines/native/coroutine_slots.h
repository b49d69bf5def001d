/* Lets a compiled class be awaited without an exception for every result.
 *
 * Since CPython 3.10 a coroutine returns its result by the slot am_send; Cython has no word for it.
 * Where CPython calls tp_iternext instead (3.12 and 3.13, for an await in a coroutine), the result
 * comes as StopIteration, made without Python code.
 */

#ifndef PICOWS_COROUTINE_SLOTS_H
#define PICOWS_COROUTINE_SLOTS_H

#include <Python.h>

/* 0: *result is what the coroutine returns; 1: what it yields; -1: an exception is set. */
typedef int (*picows_resume)(PyObject *self, PyObject *value, PyObject **result);

static picows_resume picows_resume_operation;

static PyObject *picows_next(PyObject *self)
{
    PyObject *result = NULL;
    int status = picows_resume_operation(self, Py_None, &result);
    if (status == 1)
        return result;
    if (status == 0) {
        PyErr_SetObject(PyExc_StopIteration, result);
        Py_DECREF(result);
    }
    return NULL;
}

#if PY_VERSION_HEX >= 0x030A0000
static PySendResult picows_send(PyObject *self, PyObject *value, PyObject **result)
{
    int status;
    *result = NULL;
    status = picows_resume_operation(self, value, result);
    return status == 0 ? PYGEN_RETURN : status == 1 ? PYGEN_NEXT : PYGEN_ERROR;
}
#endif

/* Called once, when the room is imported. */
static inline void picows_make_coroutine(PyTypeObject *type, picows_resume resume)
{
    picows_resume_operation = resume;
    type->tp_iternext = picows_next;
#if PY_VERSION_HEX >= 0x030A0000
    type->tp_as_async->am_send = picows_send;
#ifdef Py_TPFLAGS_HAVE_AM_SEND /* 3.10 */
    type->tp_flags |= Py_TPFLAGS_HAVE_AM_SEND;
#endif
#endif
    PyType_Modified(type);
}

#endif
