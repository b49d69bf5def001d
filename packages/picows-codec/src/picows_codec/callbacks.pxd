"""What the callbacks of a listener must be. Private tier."""

from picows_codec.listener cimport WSListener

cdef int check_callbacks(WSListener listener) except -1
