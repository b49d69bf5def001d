# cython: binding=False, embedsignature=True, embedsignature.format=clinic
"""``broadcast``: one message to many connections, in a compiled loop."""

from cpython.buffer cimport PyObject_CheckBuffer
from cpython.object cimport PyObject

from picows_codec.buffers cimport current_thread
from picows_codec.connection.sender cimport Sender
from picows_codec.connection.state cimport OPEN
from picows_codec.connection.writer cimport FRAGMENTED, WRITING
from picows_codec.constants cimport WS_OP_BINARY, WS_OP_TEXT
from picows_codec.delivery cimport deliver, fetch_connection, fetch_wire
from picows_codec.frames cimport WSFrame, WSMessage
from picows_codec.listener cimport WSListener
from picows_codec.prepared cimport WSPreparedMessage
from picows_codec.transport cimport WSTransport

from picows_codec.errors import WSInvalidFrameError

cdef extern from "Python.h":
    PyObject* PyList_GET_ITEM(list items, Py_ssize_t index)


cpdef Py_ssize_t broadcast(object transports, object message) except -1:
    """Send a message on many connections; return how many took it.

    Connections that are not open, and those in the middle of a fragmented message, are skipped.
    What goes wrong with one of them ends that one, as with ``send``, and no other: one that is
    beyond its ``max_write_queue_size`` is disconnected, and not counted. ``transports`` may change
    meanwhile. Callable on the thread of the connections' event loop only.

    :param transports: an iterable of :class:`WSTransport`, or of what has one as ``transport``, as
        a :class:`WSListener` has. None is skipped.
    :param message: a :class:`WSPreparedMessage`, which is worth making if it is sent more than
        once; or a str, sent as TEXT; bytes or another contiguous buffer, sent as BINARY; or a
        received message, sent as what it is.
    :raises TypeError: a wrong type of message, or of one of the transports; nothing is sent then.
    :raises WSInvalidFrameError: a frame that is not a whole message; nothing is sent then.
    :raises WSThreadError: another thread than the event loop's calls; nothing is sent then.
    """
    cdef WSPreparedMessage prepared
    cdef list connections
    cdef Sender connection
    cdef Py_ssize_t index
    cdef Py_ssize_t count = 0
    if type(message) is WSPreparedMessage:
        prepared = <WSPreparedMessage> message
    else:
        prepared = _prepare(message)
    connections = _connections_of(transports)
    for index in range(len(connections)):
        _fetch_next(connections, index)
        connection = <Sender> connections[index]
        if connection._state != OPEN or connection._send_flags & (FRAGMENTED | WRITING):
            continue
        count += deliver(prepared, connection)
    return count


cdef inline void _fetch_next(list connections, Py_ssize_t index) noexcept:
    if index + 2 < len(connections):
        fetch_connection(<void*> PyList_GET_ITEM(connections, index + 2))
    if index + 1 < len(connections):
        fetch_wire(<void*> (<Sender> PyList_GET_ITEM(connections, index + 1))._wire)


cdef WSPreparedMessage _prepare(object message):
    cdef int opcode = WS_OP_BINARY
    if isinstance(message, WSMessage):
        opcode = (<WSMessage> message).wire_opcode
        if (
                opcode != WS_OP_TEXT and opcode != WS_OP_BINARY
                or isinstance(message, WSFrame) and not (<WSFrame> message).fin):
            raise WSInvalidFrameError(f"only a whole message can be broadcast, not {message!r}")
    elif isinstance(message, str):
        opcode = WS_OP_TEXT
    elif not PyObject_CheckBuffer(message):
        raise TypeError(
            "message must be a WSPreparedMessage, a str, bytes, another contiguous buffer or a"
            f" received message, not {type(message).__name__}")
    return WSPreparedMessage.__new__(WSPreparedMessage, opcode, message)


cdef list _connections_of(object transports):
    """The connections behind all of them: callbacks of one may change what the caller has."""
    cdef list found = _listed(transports)
    cdef Sender connection
    cdef Py_ssize_t count = 0
    cdef unsigned long thread = current_thread()
    for each in found:
        if type(each) is not WSTransport:
            each = _transport_of(each)
            if each is None:
                continue
        connection = <Sender> (<WSTransport> each)._connection
        if connection._buffers.thread_id != thread:
            connection.check_thread()
        found[count] = connection
        count += 1
    del found[count:]
    return found


cdef list _listed(object transports):
    if not hasattr(transports, "__iter__") and not hasattr(transports, "__getitem__"):
        is_one = isinstance(transports, (WSTransport, WSListener))
        raise TypeError(
            "transports must be an iterable of WSTransports, or of objects with one as their"
            f" transport, not {type(transports).__name__}"
            + (": put it into a list" if is_one else ""))
    return list(transports)


cdef object _transport_of(object owner):
    if isinstance(owner, WSTransport):
        return owner
    if isinstance(owner, WSListener):
        return (<WSListener> owner).transport
    try:
        transport = owner.transport
    except AttributeError:
        transport = owner
    if transport is None or isinstance(transport, WSTransport):
        return transport
    raise TypeError(
        "transports must be an iterable of WSTransports, or of objects with one as their"
        f" transport, not of {type(owner).__name__}")
