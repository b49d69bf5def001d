"""What a connection may do now, and what changes that (RFC 6455, 4, 7.1). Private tier.

The number of a state says what it allows. Only the functions of this room change the state; where
each event leads is the table in state.pyx.
"""

from libc.stdint cimport uint8_t

from picows_codec.deadlines cimport Deadlined

cdef enum:
    PHASE = 0x03                # a member of WSState
    MAY_SEND = 0x04             # frames, of the user and of the library
    READS = 0x08                # received bytes are looked at; otherwise they are discarded
    DELIVERS = 0x10             # the listener gets frames, and hears of the write queue

    # States, in the order in which a connection may pass through them. Bits above the flags make
    # them different.
    CONNECTING = 0x00 | READS                           # the opening handshake is under way
    OPEN = 0x01 | MAY_SEND | READS | DELIVERS
    CLOSE_SENT = 0x02 | READS | DELIVERS                # waits for the peer's CLOSE frame
    LEAVING = 0x02 | READS                              # the same after disconnect()
    CLOSE_RECEIVED = 0x02 | MAY_SEND | DELIVERS         # the listener has it, the reply comes next
    CLOSE_EXCHANGED = 0x02 | DELIVERS                   # waits for the end of the transport
    LEFT = 0x02                                         # the same after disconnect()
    PEER_GONE = 0x22 | DELIVERS                         # end of stream without a CLOSE frame
    FAILING = 0x22                                      # discards what the peer still sends
    REFUSED = 0x42                                      # the opening handshake failed
    ABORTED = 0x62                                      # waits for the end of the transport
    CLOSED = 0x03

ctypedef enum ws_event:
    OPENED                      # the opening handshake succeeded
    HANDSHAKE_FAILED
    SENDS_CLOSE                 # a CLOSE frame of the user's, or the reply to the peer's
    DISCONNECTS                 # disconnect(): sends CLOSE unless that was done
    RECEIVES_CLOSE
    FAILS                       # 7.1.7, "fail the connection": sends CLOSE if it still may
    RECEIVES_EOF
    ABORTS
    ENDS                        # connection_lost
    EVENTS

cdef class ConnectionState(Deadlined):
    cdef:
        uint8_t _state
        bint _close_was_first           # the received CLOSE came before the sent one
        bytes _close_payload_sent       # None: no CLOSE frame was sent
        bytes _close_payload_received

    cdef bint _was_close_sent(self) noexcept
    cdef bint _was_close_received(self) noexcept
    cdef str _state_name(self)              # for people
    cdef int _begin(self) noexcept
    cdef int _advance(self, ws_event event) noexcept
    # With the payload of a CLOSE frame: SENDS_CLOSE, DISCONNECTS or FAILS in a state that may send,
    # RECEIVES_CLOSE in one that reads.
    cdef int _advance_by_sent_close(self, ws_event event, bytes payload) except -1
    cdef int _advance_by_received_close(self, bytes payload) except -1

cdef object close_info(bytes payload)
