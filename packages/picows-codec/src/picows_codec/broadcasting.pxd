"""``broadcast`` in C: called without a Python call. Gated tier."""

cimport picows_codec.abi

# See broadcasting.pyx. Needs the GIL.
cpdef Py_ssize_t broadcast(object transports, object message) except -1
