"""Who reads the payload of a frame while another thread may detach it. Private tier.

A frame may be handed to another thread during its callback. Both builds of CPython then need a
count of who reads the payload in place; without the GIL the count, and the move of the payload
into memory of its own, need the frame's critical section as well. With the GIL none of that is
compiled in.
"""

cdef extern from *:
    """
    #ifdef Py_GIL_DISABLED
    #define PICOWS_FREE_THREADED 1
    static inline void picows_count_export(PyObject* message, int* exports, int by) {
        PyCriticalSection section;
        PyCriticalSection_Begin(&section, message);
        *exports += by;
        PyCriticalSection_End(&section);
    }
    /* All references. Of one that another thread has dropped, its reads come before ours. */
    static inline Py_ssize_t picows_references(PyObject* object) {
        return (Py_ssize_t) _Py_atomic_load_uint32_relaxed(&object->ob_ref_local)
            + (_Py_atomic_load_ssize_acquire(&object->ob_ref_shared) >> _Py_REF_SHARED_SHIFT);
    }
    #else
    #define PICOWS_FREE_THREADED 0
    #define picows_count_export(message, exports, by) ((void) (*(exports) += (by)))
    #define picows_references(object) Py_REFCNT(object)
    #endif
    """
    const bint PICOWS_FREE_THREADED
    # exports: the message's count of them. Above 0, its payload stays where it is.
    void picows_count_export(object message, int* exports, int by)
    Py_ssize_t picows_references(object value)
