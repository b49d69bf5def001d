# cython: binding=False, embedsignature=True, embedsignature.format=clinic
"""WSBatchListener: the messages of one read, handed over at once.

A callback of a Python listener costs several times as much as everything else that is done for a
small message. Here one callback gets all messages of a read, as str and bytes.

The methods are CPython's own kind, for the reason given in ``frames``.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize

from picows_codec.callbacks cimport add_callback
from picows_codec.constants cimport WS_OP_BINARY, WS_OP_TEXT
from picows_codec.frames cimport WSFrame, WSMessage
from picows_codec.listener cimport WSMessageListener, _is_compiled
from picows_codec.text cimport picows_text
from picows_codec.transport cimport WSTransport


cdef class WSBatchListener(WSMessageListener):
    """A listener that gets the messages of a read together: override ``on_ws_batch``.

    Much cheaper than ``on_ws_frame`` or ``on_ws_message`` for streams of small messages, of which
    one read brings many. Limits, fragments, control frames and the order of callbacks are those of
    :class:`WSMessageListener`, which it is.

    ``decode_text``: a class attribute. True, the default, makes a str of each TEXT message, False
    makes bytes of it. It is looked at when the connection opens.

    To leave messages out, override ``on_ws_message`` and pass on those that belong into the batch:
    ``super().on_ws_message(transport, message)``. It is then called for each message, before the
    batch. An overridden ``on_ws_frame`` sees a control frame after the batch of what came before
    it, which is then not of the whole read.
    """

    decode_text = True

    cpdef on_ws_batch(self, WSTransport transport, list messages):
        """Messages have arrived: all that were completed by one read, in order, at least one.

        ``messages`` holds a str for TEXT (see ``decode_text``) and bytes for BINARY. The list and
        what is in it belong to the listener, which may keep or change both. What arrived before the
        peer's CLOSE frame, or before it broke the protocol, comes first, in a batch of its own.
        Compressed messages come in batches of about a MiB if they are inflated to more than that.
        """

    cpdef on_ws_message(self, WSTransport transport, WSMessage message):
        """Put the message into the batch that is handed over next."""
        if message is None:
            raise TypeError("message must be a WSMessage, not None")
        self._add(message)

    cdef int _opened(self) except -1:
        WSMessageListener._opened(self)
        callback = (<object> self).on_ws_batch
        self._on_batch = None if _is_compiled(callback) else callback
        self._messages = None
        self._decodes = (<object> self).decode_text
        self._takes_all = (
            (<object> type(self)).on_ws_message is (<object> WSBatchListener).on_ws_message
            and "on_ws_message" not in getattr(self, "__dict__", ()))
        return 0

    cdef int _closed(self) except -1:
        self._on_batch = self._messages = None
        return WSMessageListener._closed(self)

    cdef int _deliver(self, WSTransport transport, WSFrame frame) except -1:
        """Called per frame; watched by the batch benches."""
        cdef object message
        if not (
                self._takes_all and frame.fin and frame._owner is None
                and (frame.wire_opcode == WS_OP_BINARY or frame.wire_opcode == WS_OP_TEXT)):
            return self._take(transport, frame)
        # Nobody else has the frame: it needs no protection while it is read.
        if frame.wire_opcode == WS_OP_TEXT and self._decodes:
            message = picows_text(frame.payload_ptr, frame.payload_size)
        else:
            message = PyBytes_FromStringAndSize(
                <const char*> frame.payload_ptr, frame.payload_size)
        if self._messages is None:
            self._messages = [message]
        else:
            self._messages.append(message)
        return 0

    cdef int _hand_over(self, WSTransport transport, WSMessage message) except -1:
        if self._takes_all:
            return self._add(message)
        return WSMessageListener._hand_over(self, transport, message)

    cdef int _add(self, WSMessage message) except -1:
        cdef object content
        if message.wire_opcode == WS_OP_TEXT and self._decodes:
            content = message.get_payload_as_utf8_text()
        else:
            content = message.get_payload_as_bytes()
        if self._messages is None:
            self._messages = []
        self._messages.append(content)
        return 0

    cdef bint _is_batching(self) noexcept:
        return True

    cdef int _end_batch(self, WSTransport transport) except -1:
        cdef list messages = self._messages
        if messages is None:
            return 0
        self._messages = None
        if self._on_batch is not None:
            self._on_batch(transport, messages)
        else:
            self.on_ws_batch(transport, messages)
        return 0

    cdef void _reserved_of_batches_0(self) noexcept:
        pass

    cdef void _reserved_of_batches_1(self) noexcept:
        pass

    cdef void _reserved_of_batches_2(self) noexcept:
        pass

    cdef void _reserved_of_batches_3(self) noexcept:
        pass


add_callback(WSBatchListener, "on_ws_batch", 27)
