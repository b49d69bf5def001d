"""Which SIMD level the kernels of this process use (masking and UTF-8 validation).

Chosen at import: the best one of this processor, or the one that the environment variable
``PICOWS_SIMD`` names.
"""

import os


cdef extern from "native/cpu.h" nogil:
    enum ws_simd:
        WS_SIMD_COUNT
    const char* ws_simd_names[]
    unsigned ws_simd_available()
    ws_simd ws_simd_best()


__all__ = ["available_levels", "level", "set_level"]

cdef enum:
    MOST_KERNELS = 4

cdef dict _levels = {}      # name: number of the levels that are available here
cdef int _level             # the one in use
cdef ws_simd_select _followers[MOST_KERNELS]
cdef int _follower_count = 0


cdef int ws_simd_follow(ws_simd_select select) except -1:
    global _follower_count
    if _follower_count == MOST_KERNELS:
        raise RuntimeError(f"room for {MOST_KERNELS} kernels only")  # pragma: no cover
    _followers[_follower_count] = select
    _follower_count += 1
    select(_level)
    return 0


def available_levels():
    """Return the names of the SIMD levels that this build and processor offer.

    ``"scalar"`` is always among them; the others are ``"sse2"``, ``"avx2"``, ``"avx512"`` and
    ``"neon"``.
    """
    return tuple(_levels)


def level():
    """Return the name of the SIMD level in use."""
    return ws_simd_names[_level].decode()


def set_level(str name not None):
    """Use another SIMD level from now on, in the whole process.

    For tests and measurements. To choose for a program, set ``PICOWS_SIMD`` before the import.

    :raises ValueError: there is no such level, or not here; see :func:`available_levels`.
    """
    global _level
    cdef int index

    if name not in _levels:
        raise ValueError(
            f"SIMD level {name!r} is not available here: choose one of {', '.join(_levels)}"
        )
    _level = _levels[name]
    for index in range(_follower_count):
        _followers[index](_level)


cdef int _set_up() except -1:
    cdef int number
    cdef str name = os.environ.get("PICOWS_SIMD", "")

    for number in range(<int> WS_SIMD_COUNT):
        if ws_simd_available() >> number & 1:
            _levels[ws_simd_names[number].decode()] = number
    try:
        set_level(name or ws_simd_names[<int> ws_simd_best()].decode())
    except ValueError as problem:  # pragma: no cover - in a process of its own in the tests
        raise ImportError(  # pragma: no cover
            f"PICOWS_SIMD={name}: {problem}, or unset PICOWS_SIMD") from None
    return 0


_set_up()
