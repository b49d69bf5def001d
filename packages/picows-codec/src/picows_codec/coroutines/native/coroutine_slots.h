/* Lets a compiled class be awaited without an exception for every result, and reuses its objects.
 *
 * Since CPython 3.10 a coroutine returns its result by the slot am_send; Cython has no word for it.
 * Where CPython calls tp_iternext instead (3.12 and newer, for an await in a coroutine), the result
 * comes as StopIteration, made without Python code; none is needed for None.
 *
 * An object whose coroutine has ended is kept as it is, with its place in the garbage collector's
 * lists: a free list of Cython's keeps only the memory, and initializing it costs as much as the
 * await.
 */

#ifndef PICOWS_COROUTINE_SLOTS_H
#define PICOWS_COROUTINE_SLOTS_H

#include <Python.h>

#if PY_VERSION_HEX < 0x03090000
#define Py_SET_REFCNT(object, count) (Py_REFCNT(object) = (count))
#endif

#ifdef Py_GIL_DISABLED
#define PICOWS_SPARES 0 /* other threads have objects, too */
#else
#define PICOWS_SPARES 16
#endif

/* 0: *result is what the coroutine returns; 1: what it yields; -1: an exception is set. */
typedef int (*picows_resume)(PyObject *self, PyObject *value, PyObject **result);
/* Whether the object may be used again; 0 if nobody has awaited it, or it was dropped while it
 * waited: it has then said so. */
typedef int (*picows_drop)(PyObject *self);

static picows_resume picows_resume_operation;
static picows_drop picows_drop_operation;
static destructor picows_free_operation;
static PyObject *picows_spares[PICOWS_SPARES + 1];
static int picows_spare_count;

/* A spare object, or NULL. */
static inline PyObject *picows_take_spare(void)
{
    return picows_spare_count ? picows_spares[--picows_spare_count] : NULL;
}

static void picows_dealloc(PyObject *self)
{
    Py_SET_REFCNT(self, 1); /* it may be referred to once more while it is dropped */
    if (picows_drop_operation(self) && picows_spare_count < PICOWS_SPARES) {
        picows_spares[picows_spare_count++] = self;
        return;
    }
    Py_SET_REFCNT(self, 0);
    picows_free_operation(self);
}

static PyObject *picows_next(PyObject *self)
{
    PyObject *result = NULL;
    int status = picows_resume_operation(self, Py_None, &result);
    if (status == 1)
        return result;
    if (status == 0) {
        if (result != Py_None)
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
static inline void picows_make_coroutine(
    PyTypeObject *type, picows_resume resume, picows_drop drop)
{
    picows_resume_operation = resume;
    picows_drop_operation = drop;
    picows_free_operation = type->tp_dealloc;
    type->tp_dealloc = picows_dealloc;
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
