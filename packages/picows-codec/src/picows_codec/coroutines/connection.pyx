# cython: binding=False, embedsignature=True, embedsignature.format=clinic
"""WSConnection: an open connection whose messages are awaited.

The methods are CPython's own kind, for the reason given in ``frames``.
"""

cimport cython
from libc.stdint cimport uint8_t

from picows_codec.connection.endpoint cimport WSEndpoint
from picows_codec.connection.keepalive cimport KeepAlive
from picows_codec.coroutines.inbox cimport Inbox
from picows_codec.coroutines.operation cimport (
    AS_BYTES,
    AS_IT_IS,
    AS_PREPARED,
    AS_TEXT,
    ITERATES,
    RECEIVES,
    RECEIVES_MANY,
    SENDS,
    SENDS_MANY,
    checked_messages,
    is_message,
    new_operation,
    new_receive,
    new_send,
)
from picows_codec.transport cimport _Sendable

import sys

from picows_codec.coroutines.connection_coroutines import (
    close_connection,
    enter_block,
    leave_block,
    ping_peer,
)
from picows_codec.coroutines.ending import close_code_of, close_reason_of, no_message_comes
from picows_codec.coroutines.fragments import send_fragments
from picows_codec.errors import WSInvalidOptionError
from picows_codec.socket_address import format_address


@cython.auto_pickle(False)
cdef class WSConnection:
    """An open connection for coroutines: ``recv``, ``send``, ``async for``, ``async with``.

    Made by ``connect`` and ``serve``. All methods belong to the thread of the connection's event
    loop (:class:`WSThreadError` elsewhere); the awaitable ones are coroutines that do nothing
    before they are awaited.

    Receiving: one task at a time. Messages wait in a queue; when it passes ``max_queue`` messages
    or ``max_queue_bytes`` bytes, reading is paused, and resumed at a quarter. Cancelling a ``recv``
    loses no message. Every 256 messages a consumer that never had to wait suspends once, so that
    the loop runs.

    Sending: any number of tasks, in the order in which they began. ``send`` suspends only while
    writing is paused (``write_high_watermark``), or while another task sends fragments.

    ``async for`` gives str for TEXT and bytes for BINARY messages. It ends when the peer has closed
    with 1000, 1001 or no code (1005), or this side has closed; any other end raises
    :class:`WSConnectionClosed`. Messages that arrived before the end come first.

    ``async with`` closes the connection on exit, with 1000; a server's connection with 1011 after
    an exception. It waits for the peer at most ``close_timeout`` seconds.
    """

    cdef Inbox _inbox
    cdef object _latency
    cdef object __weakref__

    def __init__(self, listener=None):
        if not isinstance(listener, Inbox) or (<Inbox> listener).transport is None:
            raise TypeError(
                "a WSConnection is made of the listener of an open connection, by connect() of"
                " picows_client and serve() of picows_server: call one of these")
        self._inbox = <Inbox> listener

    # Receiving

    def recv(self, decode=None):
        """Coroutine: the next message, str for TEXT and bytes for BINARY.

        :param decode: True: str always, so that a BINARY message that is not UTF-8 raises
            UnicodeDecodeError; False: bytes always.
        :raises WSConnectionClosed: no message will come, whoever has closed and however.
        :raises WSStateError: another task is receiving.
        """
        if decode is None:
            return new_operation(self._inbox, RECEIVES)
        if decode is not True and decode is not False:
            raise TypeError(
                f"decode must be True, False or None, not {decode!r}; for a timeout write"
                " asyncio.wait_for(connection.recv(), seconds)")
        return new_receive(self._inbox, RECEIVES, AS_TEXT if decode else AS_BYTES, 0)

    def recv_many(self, limit=None):
        """Coroutine: a list of all messages that are there, at least one, at most ``limit``.

        It waits as :meth:`recv` does, and raises the same.
        """
        cdef Py_ssize_t most = sys.maxsize
        if limit is not None:
            most = limit
            if most < 1:
                raise WSInvalidOptionError(f"limit must be at least 1, not {limit}")
        return new_receive(self._inbox, RECEIVES_MANY, AS_IT_IS, most)

    def __aiter__(self):
        return self

    def __anext__(self):
        return new_operation(self._inbox, ITERATES)

    # Sending

    def send(self, message, text=None):
        """Coroutine: send a message.

        :param message: a str (TEXT), bytes or another contiguous buffer (BINARY), a
            :class:`WSPreparedMessage`, or an iterable or asynchronous iterable of str or of
            buffers, each item a fragment (RFC 6455, 5.4). An empty iterable sends nothing.
        :param text: True sends bytes, which have to be UTF-8, as TEXT; False a str as BINARY.
        :raises WSConnectionClosed: the connection is closed, or is being closed.
        :raises TypeError: another type of message.

        A cancelled ``send`` has sent the whole message or nothing. One that is cancelled between
        two fragments, or whose iterable raises, fails the connection (close code 1011), because
        nothing else can follow half a message.
        """
        if is_message(message):
            return new_send(
                self._inbox, SENDS,
                AS_IT_IS if text is None else AS_TEXT if text else AS_BYTES, message)
        if isinstance(message, _Sendable):
            return new_send(self._inbox, SENDS, AS_PREPARED, message)
        return send_fragments(self._inbox, message, text)

    def send_many(self, messages):
        """Coroutine: send each message of an iterable, str as TEXT and buffers as BINARY.

        A :class:`WSPreparedMessage` may be among them.

        They leave together. All messages are looked at first: if one of them cannot be sent,
        nothing is. It suspends between two messages while writing is paused; cancelled there, the
        first ones have been sent, and the others never will be.

        :raises WSConnectionClosed: the connection is closed, or is being closed.
        :raises TypeError: ``messages`` is a message itself, or one of them has another type.
        :raises BufferError: a buffer that is not contiguous.
        :raises UnicodeEncodeError: a str with surrogates.
        """
        cdef uint8_t form = AS_IT_IS
        cdef list checked = checked_messages(messages, &form)
        return new_send(self._inbox, SENDS_MANY, form, checked)

    def ping(self):
        """Coroutine: ping the peer; the seconds until its pong, which :attr:`latency` keeps.

        :raises WSConnectionClosed: the connection is closed, or ends first.
        """
        transport = self._inbox.transport
        return ping_peer(transport, transport._start_roundtrip, self._note_latency)

    # Ending

    def close(self, code=1000, reason=None):
        """Coroutine: close the connection (RFC 6455, 7.1), and wait until it has ended.

        What waits to be sent is sent first. The peer has ``close_timeout`` seconds. It does
        nothing if the connection has ended. Messages that have arrived can still be received.

        :param code: 1000-1003, 1007-1014 or 3000-4999; None or 1005 sends no code.
        :param reason: str or UTF-8 bytes, at most 123 bytes as UTF-8.
        :raises WSInvalidCloseError: a code or reason that may not be sent.
        """
        return close_connection(self, code, reason)

    def leave(self, code=1000, reason=None):
        """Begin to close, without waiting. A task that waits in ``recv`` or ``send`` goes on."""
        self._inbox.transport.disconnect(True, code, reason)

    def wait_closed(self):
        """Coroutine that returns when the connection has ended; it raises nothing."""
        return self._inbox.transport.wait_disconnected()

    def __aenter__(self):
        return enter_block(self)

    def __aexit__(self, exc_type, exc, traceback):
        return leave_block(self, failed=exc_type is not None)

    # State

    @property
    def transport(self):
        """The :class:`WSTransport`: pings and frames by hand, ``disconnect_cause``, and more."""
        return self._inbox.transport

    @property
    def request(self):
        """The :class:`WSUpgradeRequest` of the opening handshake."""
        return self._inbox.transport.request

    @property
    def response(self):
        """The :class:`WSUpgradeResponse` of the opening handshake."""
        return self._inbox.transport.response

    @property
    def subprotocol(self):
        """The subprotocol that both sides agreed on, or None (RFC 6455, 1.9)."""
        return self._inbox.transport.subprotocol

    @property
    def remote_address(self):
        """The address of the peer's socket: see :attr:`WSTransport.remote_address`."""
        return self._inbox.transport.remote_address

    @property
    def local_address(self):
        """The address of this side's socket: see :attr:`WSTransport.local_address`."""
        return self._inbox.transport.local_address

    @property
    def state(self):
        """The connection's :class:`WSState`."""
        return self._inbox.transport.state

    @property
    def close_code(self):
        """The close code once the peer's CLOSE frame has arrived or the connection has ended.

        None before. The peer's, else the one that this side sent, else 1006 (ABNORMAL_CLOSURE).
        """
        transport = self._inbox.transport
        return close_code_of(transport) if no_message_comes(transport) else None

    @property
    def close_reason(self):
        """The reason that belongs to :attr:`close_code`, "" if there is none; None before."""
        transport = self._inbox.transport
        return close_reason_of(transport) if no_message_comes(transport) else None

    @property
    def latency(self):
        """Seconds of the last round trip: of :meth:`ping`, or of an automatic ping while the
        connection is open. None before there was one."""
        cdef KeepAlive keepalive = (<WSEndpoint> self._inbox.transport._connection)._keepalive
        if keepalive is not None and keepalive.latency > 0:
            return keepalive.latency
        return self._latency

    def _note_latency(self, seconds):
        self._latency = seconds

    def __repr__(self):
        side = "client" if self.transport.is_client_side else "server"
        peer = format_address(self.remote_address)
        return f"<WSConnection {side} {self.state.name} peer {peer}>"
