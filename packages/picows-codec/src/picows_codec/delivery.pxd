"""One message to one of many connections: what ``broadcast`` and topics do in their loops. Private.

The functions are inline; they are called per delivery and watched by the broadcast bench.
"""

from picows_codec.connection.sender cimport Sender
from picows_codec.connection.state cimport ABORTED, CLOSED
from picows_codec.connection.writer cimport reraise
from picows_codec.prepared cimport WSPreparedMessage

cdef extern from *:
    """
    #ifdef __GNUC__
    #define picows_prefetch(object, line) __builtin_prefetch((const char *) (object) + 64 * (line))
    #else
    #define picows_prefetch(object, line) ((void) (object))
    #endif
    """
    void picows_prefetch(void* object, int line) noexcept

ctypedef int (*sending)(WSPreparedMessage, Sender) noexcept

# Have the processor fetch what the next deliveries read, while the kernel does this one.
cdef inline void fetch_connection(void* connection) noexcept:
    picows_prefetch(connection, 0)
    picows_prefetch(connection, 1)
    picows_prefetch(connection, 2)
    picows_prefetch(connection, 3)

cdef inline void fetch_wire(void* wire) noexcept:
    picows_prefetch(wire, 0)
    picows_prefetch(wire, 1)
    picows_prefetch(wire, 2)

cdef inline int _send_raising(WSPreparedMessage message, Sender connection) except -1:
    return message._send_on(connection)

# A connection whose transport raises has been aborted, and says why itself.
cdef inline int forget_error() except -1:
    try:
        reraise()
    except Exception:
        pass
    return 0

# Send to a connection that is open; return whether it has taken the message.
cdef inline int deliver(WSPreparedMessage message, Sender connection) except -1:
    if (<sending> _send_raising)(message, connection) < 0:
        forget_error()
        return 0
    return connection._state != ABORTED and connection._state != CLOSED
