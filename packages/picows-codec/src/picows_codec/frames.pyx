# cython: binding=False, always_allow_keywords=False
# cython: embedsignature=True, embedsignature.format=clinic
"""What a listener is handed: a frame or a message, in place in the receive buffer.

The methods are of CPython's own kind, not Cython's (``binding=False``), because CPython has
shortcuts for calling them and a Python listener calls one per frame.
"""

cimport cython
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_FillInfo
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_FromObject
from cpython.ref cimport Py_DECREF
from libc.stdint cimport uint8_t

from picows_codec.buffers cimport ReadBuffer, pin
from picows_codec.constants cimport (
    WS_CLOSE_NO_STATUS_RECEIVED,
    WS_OP_CLOSE,
    ws_close_code_member,
    ws_opcode_member,
)
from picows_codec.exports cimport PICOWS_FREE_THREADED, picows_count_export
from picows_codec.text cimport picows_text

from picows_codec.errors import WSStateError

cdef extern from "Python.h":
    ctypedef struct PyTypeObject:
        void* tp_dict

    ctypedef struct PyMethodDef:
        pass

    ctypedef struct PyMethodDescrObject:
        PyMethodDef* d_method

    object PyDescr_NewMethod(PyTypeObject* cls, PyMethodDef* method)
    void PyType_Modified(PyTypeObject* cls)
    str PyUnicode_DecodeASCII(const char* text, Py_ssize_t size, const char* errors)
    str PyUnicode_DecodeUTF8(const char* text, Py_ssize_t size, const char* errors)

cdef bytes _EMPTY = b""

ctypedef str (*decoding)(const char*, Py_ssize_t, const char*)


cdef inline bytes _bytes(WSMessage self):
    """The payload as bytes. Without the GIL: within the critical section of ``self``."""
    if type(self._owner) is bytes and PyBytes_GET_SIZE(self._owner) == self.payload_size:
        return <bytes> self._owner
    return PyBytes_FromStringAndSize(<const char*> self.payload_ptr, self.payload_size)


cdef str _decode_utf8(const char* text, Py_ssize_t size, const char* errors):
    return picows_text(<const uint8_t*> text, size)


cdef inline str _text(WSMessage self, decoding decode, Py_ssize_t start):
    """Decode payload[start:]. A decoding error runs Python code, which may suspend a critical
    section; so the payload is held by a count instead."""
    if not PICOWS_FREE_THREADED:
        return decode(<const char*> self.payload_ptr + start, self.payload_size - start, NULL)
    picows_count_export(self, &self._exports, 1)
    try:
        return decode(<const char*> self.payload_ptr + start, self.payload_size - start, NULL)
    finally:
        picows_count_export(self, &self._exports, -1)


cdef class WSMessage:
    """A message (RFC 6455, 5.4) as ``on_ws_message`` gets it; also a read-only buffer of bytes.

    Its payload lies in the receive buffer or in a block of its own, not in a Python object:
    the getters make one when they are called. A message, or a memoryview of it, may be kept after
    the callback: it stays valid and then owns its bytes. Any thread may use it, also during the
    callback. ``payload_size``: bytes. ``wire_opcode``: the opcode as an int.
    """

    def __cinit__(self):
        self.payload_ptr = <const uint8_t*> PyBytes_AS_STRING(_EMPTY)

    def __init__(self):
        raise TypeError(f"{type(self).__name__} objects are made by the library only")

    def __getbuffer__(self, Py_buffer* view, int flags):
        if flags & PyBUF_WRITABLE:
            raise BufferError("a received payload is read-only")
        picows_count_export(self, &self._exports, 1)    # before its address is read
        PyBuffer_FillInfo(view, self, <void*> self.payload_ptr, self.payload_size, 1, flags)
        Py_DECREF(None)     # Cython had put it where the owner is now

    def __releasebuffer__(self, Py_buffer* view):
        picows_count_export(self, &self._exports, -1)

    def __len__(self):
        return self.payload_size

    @property
    def opcode(self):
        """The opcode, a :class:`WSMsgType` (RFC 6455, 5.2)."""
        return ws_opcode_member(self.wire_opcode)

    @property
    def msg_type(self):
        """The same as :attr:`opcode`."""
        return ws_opcode_member(self.wire_opcode)

    cpdef bytes get_payload_as_bytes(self):
        """The payload as bytes: a copy, or the received block itself for a large frame."""
        if PICOWS_FREE_THREADED:
            with cython.critical_section(self):
                return _bytes(self)
        return _bytes(self)

    cpdef str get_payload_as_utf8_text(self):
        """The payload decoded as UTF-8.

        Raises UnicodeDecodeError for a binary payload that is no text, or for a fragment that
        ends inside a character; a whole TEXT message has been validated on arrival.
        """
        return _text(self, _decode_utf8, 0)

    cpdef str get_payload_as_ascii_text(self):
        """The payload decoded as ASCII; UnicodeDecodeError if a byte is above 127."""
        return _text(self, PyUnicode_DecodeASCII, 0)

    cpdef object get_payload_as_memoryview(self):
        """A read-only memoryview of the payload, without a copy; it may outlive the callback."""
        return PyMemoryView_FromObject(self)

    cdef int _detach(self) except -1:
        """Let this object, which somebody kept, own its payload."""
        cdef object owner
        with cython.critical_section(self):
            if self._owner is None:
                if self._exports:
                    # Somebody reads the buffer, so the bytes cannot move: keep the buffer.
                    pin(<ReadBuffer> self._source)
                    self._owner = self._source
                else:
                    owner = PyBytes_FromStringAndSize(
                        <const char*> self.payload_ptr, self.payload_size)
                    self.payload_ptr = <const uint8_t*> PyBytes_AS_STRING(owner)
                    self._owner = owner
            self._source = None
        return 0

    def __repr__(self):
        return f"<WSMessage {self.opcode.name} payload_size={self.payload_size}>"

    cdef void _reserved_0(self) noexcept:
        pass

    cdef void _reserved_1(self) noexcept:
        pass

    cdef void _reserved_2(self) noexcept:
        pass

    cdef void _reserved_3(self) noexcept:
        pass


cdef class WSFrame(WSMessage):
    """A frame (RFC 6455, 5.2) as ``on_ws_frame`` gets it; also a read-only buffer of bytes.

    ``fin``, ``rsv1``, ``rsv2``, ``rsv3``: bits of the header. ``payload_size``: bytes.
    ``last_in_buffer``: no other complete frame has been received yet. ``tail_size``: how many
    bytes were received after this frame, complete or not.
    """

    cpdef object get_close_code(self):
        """The close code of a CLOSE frame: a :class:`WSCloseCode`, or an int that has no name.

        ``WSCloseCode.NO_STATUS_RECEIVED`` if the payload is empty (RFC 6455, 7.1.5).
        """
        cdef int code
        self._require_close()
        if self.payload_size < 2:
            return ws_close_code_member(WS_CLOSE_NO_STATUS_RECEIVED)
        picows_count_export(self, &self._exports, 1)
        code = self.payload_ptr[0] << 8 | self.payload_ptr[1]
        picows_count_export(self, &self._exports, -1)
        return ws_close_code_member(code)

    cpdef object get_close_reason(self):
        """The close reason of a CLOSE frame as str, "" if there is none (RFC 6455, 7.1.6)."""
        self._require_close()
        if self.payload_size <= 2:
            return ""
        return _text(self, PyUnicode_DecodeUTF8, 2)

    cpdef object get_close_message(self):
        """The close reason of a CLOSE frame as str, None if there is none.

        picows 2 has this name; :meth:`get_close_reason` returns "" instead of None.
        """
        return self.get_close_reason() or None

    def _require_close(self):
        if self.wire_opcode != WS_OP_CLOSE:
            raise WSStateError(
                f"only CLOSE frames have a close code; this is {self.opcode!r}: check"
                " frame.opcode first")

    def __repr__(self):
        bits = "".join(
            f" {name}" for name in ("fin", "rsv1", "rsv2", "rsv3") if getattr(self, name))
        return (
            f"<WSFrame {self.opcode.name}{bits} payload_size={self.payload_size}"
            f" last_in_buffer={self.last_in_buffer} tail_size={self.tail_size}>")

    cdef void _reserved_of_frame_0(self) noexcept:
        pass

    cdef void _reserved_of_frame_1(self) noexcept:
        pass

    cdef void _reserved_of_frame_2(self) noexcept:
        pass

    cdef void _reserved_of_frame_3(self) noexcept:
        pass


cdef int _give_frames_methods_of_their_own() except -1:
    """CPython calls a method fastest if the object's own class has it."""
    cdef PyTypeObject* frame = <PyTypeObject*> WSFrame
    cdef dict methods = <dict> frame.tp_dict
    cdef str name
    for name in (
            "get_payload_as_bytes", "get_payload_as_utf8_text", "get_payload_as_ascii_text",
            "get_payload_as_memoryview"):
        methods[name] = PyDescr_NewMethod(
            frame, (<PyMethodDescrObject*> <void*> WSMessage.__dict__[name]).d_method)
    PyType_Modified(frame)
    return 0


_give_frames_methods_of_their_own()
