"""Which SIMD level the kernels of this process use. Private tier."""

# Puts the kernel of a level to use, which is one that is available.
ctypedef void (*ws_simd_select)(int level) noexcept nogil

# From now on the kernel follows the level; it gets the present one at once.
cdef int ws_simd_follow(ws_simd_select select) except -1
