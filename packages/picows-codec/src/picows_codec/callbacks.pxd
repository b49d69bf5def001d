"""What the callbacks of a listener must be. Private tier."""

from picows_codec.listener cimport WSListener

cdef int check_callbacks(WSListener listener) except -1
cdef int add_callback(type cls, str name, int slot) except -1
