"""Frame headers for Python callers (RFC 6455, 5.2): tests, tools, other sans-I/O code."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.number cimport PyNumber_Index
from libc.stdint cimport uint8_t

from picows_codec.constants cimport WS_MAX_HEADER_SIZE, ws_violation_close_code, ws_violation_text
from picows_codec.errors import WSInvalidFrameError, WSProtocolError


def encode_frame_header(
    opcode,
    payload_size,
    *,
    bint fin=True,
    bint rsv1=False,
    bint rsv2=False,
    bint rsv3=False,
    bytes masking_key=None,
):
    """Return the header of a frame as bytes.

    ``payload_size`` is in bytes, 0 to 2**63 - 1; ``masking_key`` is 4 bytes or None for an
    unmasked frame. Raises :class:`WSInvalidFrameError` for anything that has no encoding.
    """
    cdef uint8_t out[WS_MAX_HEADER_SIZE]
    cdef const uint8_t* key = NULL
    cdef int size
    opcode = PyNumber_Index(opcode)
    payload_size = PyNumber_Index(payload_size)
    if not 0 <= opcode <= 15:
        raise WSInvalidFrameError(f"opcode must be 0 to 15, not {opcode}")
    if not 0 <= payload_size < 1 << 63:
        raise WSInvalidFrameError(f"payload_size must be 0 to 2**63 - 1, not {payload_size}")
    if masking_key is not None:
        if len(masking_key) != 4:
            raise WSInvalidFrameError(f"masking_key must be 4 bytes, not {len(masking_key)}")
        key = masking_key
    size = ws_encode_frame_header(
        out, fin << 7 | rsv1 << 6 | rsv2 << 5 | rsv3 << 4 | <int> opcode, payload_size, key)
    return (<const char*> out)[:size]


def decode_frame_header(data not None):
    """Decode the header at the start of ``data`` (a buffer of bytes).

    Returns None while bytes are missing, else
    ``(header_size, opcode, fin, rsv, payload_size, masking_key)``, where ``rsv`` has RSV1 = 4,
    RSV2 = 2, RSV3 = 1 and ``masking_key`` is 4 bytes or None. Raises :class:`WSProtocolError`
    for a payload length that is not minimal or has its top bit set.
    """
    cdef ws_frame_header header
    cdef Py_buffer view
    cdef int result
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    result = ws_decode_frame_header(<const uint8_t*> view.buf, view.len, &header)
    PyBuffer_Release(&view)
    if result < 0:
        raise WSProtocolError(
            ws_violation_close_code(result), ws_violation_text(result).decode("ascii"))
    if result == 0:
        return None
    return (
        result,
        header.opcode,
        bool(header.fin),
        header.rsv,
        header.payload_size,
        (<const char*> header.key)[:4] if header.masked else None,
    )
