"""UTF-8 validation (RFC 3629) of texts that come whole or in pieces (RFC 6455, 8.1).

The kernels are C (``native/utf8_*.c``), one per SIMD level; which one runs is chosen at import:
the best one of this processor, or the one that the environment variable ``PICOWS_SIMD`` names.
"""

import os

cimport cython
from cpython.buffer cimport Py_buffer, PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer


cdef extern from "native/cpu.h" nogil:
    enum ws_simd:
        WS_SIMD_COUNT
    const char* ws_simd_names[]
    unsigned ws_simd_available()
    ws_simd ws_simd_best()

cdef extern from "native/utf8.h" nogil:
    enum:
        WS_UTF8_BOUNDARY
        WS_UTF8_REJECT
    uint32_t ws_utf8_active(uint32_t state, const uint8_t* data, size_t size)
    int ws_utf8_select(ws_simd level)


__all__ = ["Utf8Validator", "available_backends", "backend", "set_backend", "valid"]

cdef dict _levels = {}      # name: number of the levels that are available here
cdef int _level             # the one in use


cdef bint ws_utf8_valid(const uint8_t* data, size_t size) noexcept nogil:
    # Called per text message; watched by bench/ (UTF-8).
    return ws_utf8_active(WS_UTF8_BOUNDARY, data, size) == WS_UTF8_BOUNDARY


cdef bint ws_utf8_feed(ws_utf8* self, const uint8_t* data, size_t size) noexcept nogil:
    # Called per text frame; watched by bench/ (UTF-8).
    self.state = ws_utf8_active(self.state, data, size)
    return self.state != WS_UTF8_REJECT


def valid(object data):
    """Tell whether the whole of a contiguous bytes-like object is valid UTF-8.

    Overlong encodings, surrogates and numbers above U+10FFFF are invalid (RFC 3629, 3).

    :raises TypeError: ``data`` is not bytes-like.
    :raises BufferError: ``data`` is not contiguous.
    """
    cdef Py_buffer view
    cdef bint result

    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    result = ws_utf8_valid(<const uint8_t*> view.buf, <size_t> view.len)
    PyBuffer_Release(&view)
    return result


@cython.final
@cython.auto_pickle(False)
cdef class Utf8Validator:
    """Validates a text that arrives in pieces, which may be cut anywhere, even in a code point.

    Four bytes of state; nothing of the text is kept. One thread at a time.
    """

    cdef ws_utf8 _text

    def feed(self, object data):
        """Take the next piece, a contiguous bytes-like object.

        Returns False as soon as the pieces so far cannot begin a valid text, and ever after until
        :meth:`reset`: a wrong byte is found with the piece that holds it.

        :raises TypeError: ``data`` is not bytes-like.
        :raises BufferError: ``data`` is not contiguous.
        """
        cdef Py_buffer view
        cdef bint result

        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        result = ws_utf8_feed(&self._text, <const uint8_t*> view.buf, <size_t> view.len)
        PyBuffer_Release(&view)
        return result

    @property
    def complete(self):
        """Whether the text may end here: all pieces were valid and no code point is unfinished."""
        return ws_utf8_complete(&self._text)

    def reset(self):
        """Begin a new text."""
        self._text.state = WS_UTF8_BOUNDARY


def available_backends():
    """Return the names of the SIMD levels that this build and processor offer.

    ``"scalar"`` is always among them; the others are ``"sse2"``, ``"avx2"``, ``"avx512"`` and
    ``"neon"``.
    """
    return tuple(_levels)


def backend():
    """Return the name of the SIMD level in use."""
    return ws_simd_names[_level].decode()


def set_backend(str name not None):
    """Use another SIMD level for UTF-8 validation from now on, in the whole process.

    For tests and measurements. To choose for a program, set ``PICOWS_SIMD`` before the import.

    :raises ValueError: there is no such level, or not here; see :func:`available_backends`.
    """
    global _level
    cdef int level

    if name not in _levels:
        raise ValueError(
            f"SIMD level {name!r} is not available here: choose one of {', '.join(_levels)}"
        )
    level = _levels[name]
    ws_utf8_select(<ws_simd> level)
    _level = level


cdef int _set_up() except -1:
    cdef int level
    cdef str name = os.environ.get("PICOWS_SIMD", "")

    for level in range(<int> WS_SIMD_COUNT):
        if ws_simd_available() >> level & 1:
            _levels[ws_simd_names[level].decode()] = level
    try:
        set_backend(name or ws_simd_names[<int> ws_simd_best()].decode())
    except ValueError as problem:
        raise ImportError(f"PICOWS_SIMD={name}: {problem}, or unset PICOWS_SIMD") from None
    return 0


_set_up()
