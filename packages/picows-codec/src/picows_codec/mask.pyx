"""Masking of payloads, and masking keys (RFC 6455, 5.3).

The kernels are C (``native/mask_*.c``), one per SIMD level; ``simd`` chooses the level.
"""

import os

from cpython.buffer cimport (
    Py_buffer,
    PyBUF_SIMPLE,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.number cimport PyNumber_Index

from picows_codec.simd cimport ws_simd_follow


cdef extern from "native/mask.h" nogil:
    enum:
        WS_MASK_KEY_BLOCK
    void ws_mask_apply(
        uint8_t* dst, const uint8_t* src, size_t size, const uint8_t* key, size_t phase)
    void ws_mask_select(int level)
    int ws_mask_keys_init()
    int ws_mask_keys_take(uint8_t* out)
    unsigned ws_mask_keys_generation()
    void ws_mask_keys_refill(const uint8_t* data, unsigned generation)


__all__ = [
    "mask",
    "mask_in_place",
    "new_masking_key",
]

cdef object _urandom = os.urandom


cdef void ws_mask(
    uint8_t* data, size_t size, const uint8_t* key, size_t phase
) noexcept nogil:
    # Called per frame; watched by bench/ (masking).
    ws_mask_apply(data, data, size, key, phase)


cdef void ws_mask_copy(
    uint8_t* dst, const uint8_t* src, size_t size, const uint8_t* key, size_t phase
) noexcept nogil:
    # Called per frame; watched by bench/ (masking).
    ws_mask_apply(dst, src, size, key, phase)


cdef int ws_masking_key(uint8_t* out) except -1:
    cdef unsigned generation
    cdef bytes block

    while not ws_mask_keys_take(out):
        # Read before the draw: a process forked in between will not use these bytes.
        generation = ws_mask_keys_generation()
        block = _urandom(WS_MASK_KEY_BLOCK)
        ws_mask_keys_refill(<const uint8_t*> PyBytes_AS_STRING(block), generation)
    return 0


def mask(object data, bytes key not None, object phase=0):
    """Return ``data`` XORed with the masking key; the same call unmasks.

    :param data: any contiguous bytes-like object; it is not changed.
    :param key: the 4 bytes of the masking key, in wire order.
    :param phase: offset in bytes of ``data`` within its payload, 0 or more: a payload can be
        masked in pieces.
    :raises TypeError: ``data`` is not bytes-like, or ``key`` not bytes.
    :raises BufferError: ``data`` is not contiguous.
    :raises ValueError: ``key`` is not 4 bytes long, or ``phase`` is negative.
    """
    cdef Py_buffer view
    cdef bytes result
    cdef size_t start = _checked_phase(key, phase)

    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        result = PyBytes_FromStringAndSize(NULL, view.len)
        # Nobody else has seen the new object yet.
        ws_mask_copy(
            <uint8_t*> PyBytes_AS_STRING(result),
            <const uint8_t*> view.buf,
            <size_t> view.len,
            <const uint8_t*> PyBytes_AS_STRING(key),
            start,
        )
    finally:
        PyBuffer_Release(&view)
    return result


def mask_in_place(object buffer, bytes key not None, object phase=0):
    """XOR a buffer with the masking key where it lies; the same call unmasks.

    :param buffer: any contiguous writable bytes-like object. No other thread may use it meanwhile.
    :param key: the 4 bytes of the masking key, in wire order.
    :param phase: offset in bytes of ``buffer`` within its payload, 0 or more.
    :raises TypeError: ``buffer`` is not bytes-like and writable, or ``key`` not bytes.
    :raises ValueError: ``key`` is not 4 bytes long, or ``phase`` is negative.
    """
    cdef Py_buffer view
    cdef size_t start = _checked_phase(key, phase)

    try:
        PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
    except BufferError as error:
        raise TypeError(
            "mask_in_place() needs a contiguous writable buffer such as a bytearray, not "
            f"{type(buffer).__name__}: {error}"
        ) from None
    ws_mask(
        <uint8_t*> view.buf,
        <size_t> view.len,
        <const uint8_t*> PyBytes_AS_STRING(key),
        start,
    )
    PyBuffer_Release(&view)


def new_masking_key():
    """Return a fresh masking key: 4 bytes from the operating system's CSPRNG.

    Keys are drawn in blocks of 1 KiB per thread; none is handed out twice, nor by both sides of a
    fork. Any thread may call.

    :raises OSError: the system has no source of randomness (NotImplementedError likewise).
    """
    cdef uint8_t key[4]

    ws_masking_key(key)
    return PyBytes_FromStringAndSize(<const char*> key, 4)


cdef size_t _checked_phase(bytes key, object phase) except 4:
    # The phase modulo 4, of any int.
    if PyBytes_GET_SIZE(key) != 4:
        raise ValueError(
            f"a masking key is exactly 4 bytes (RFC 6455, 5.3), not {PyBytes_GET_SIZE(key)}"
        )
    phase = PyNumber_Index(phase)
    if phase < 0:
        raise ValueError(f"phase is an offset in bytes and cannot be negative, got {phase}")
    return phase & 3


cdef int _set_up() except -1:
    cdef int error = ws_mask_keys_init()

    if error:
        raise OSError(error, os.strerror(error))  # pragma: no cover - no random numbers
    return ws_simd_follow(ws_mask_select)


_set_up()
