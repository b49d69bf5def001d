"""Which SIMD level the kernels of this process use. Private tier."""

# Uses the kernel of a level from now on; the level is available.
ctypedef void (*ws_simd_select)(int level) noexcept nogil

# Call select with the present level now, and with every later one.
cdef int ws_simd_follow(ws_simd_select select) except -1
