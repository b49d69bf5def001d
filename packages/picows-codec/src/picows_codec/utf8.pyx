"""UTF-8 validation (RFC 3629) of texts that come whole or in pieces (RFC 6455, 8.1).

The kernels are C (``native/utf8_*.c``), one per SIMD level; ``simd`` chooses the level.
"""

cimport cython
from cpython.buffer cimport Py_buffer, PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer


from picows_codec.simd cimport ws_simd_follow


cdef extern from "native/utf8.h" nogil:
    enum:
        WS_UTF8_BOUNDARY
        WS_UTF8_REJECT
    uint32_t ws_utf8_active(uint32_t state, const uint8_t* data, size_t size)
    void ws_utf8_select(int level)


__all__ = ["Utf8Validator", "valid"]


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

        Returns False as soon as the pieces so far cannot begin a valid text, and from then on until
        :meth:`reset`. A wrong byte is found in the piece that holds it.

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


ws_simd_follow(ws_utf8_select)
