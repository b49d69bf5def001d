"""Count who reads the payload of a frame while another thread may detach it. Private tier.

A frame may be handed to another thread during its callback. So both builds of CPython count who
reads the payload in place. Without the GIL, the count and the move of the payload into memory of
its own also need the frame's critical section; with the GIL, the section is not compiled in.
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
    /* All references. If another thread has dropped one, its reads happen before ours. */
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
    # exports: the message's count of readers. While it is above 0, the payload stays in place.
    void picows_count_export(object message, int* exports, int by)
    Py_ssize_t picows_references(object value)
