# cython: language_level=3
# cython: freethreading_compatible=True
"""Quotes of an exchange: a feed that sends as fast as it is read, and a consumer of it.

A quote is the best bid and the best offer, whole in every message:

    {"u":400900217,"s":"BNBUSDT","b":"25.3519","B":"31.21","a":"25.3652","A":"40.66"}
"""

from libc.stdint cimport uint8_t

from picows_codec.constants cimport WS_OP_TEXT
from picows_codec.frames cimport WSFrame
from picows_codec.listener cimport WSListener
from picows_codec.transport cimport WSTransport

from asyncio import get_running_loop

from picows_codec import WSState

cdef enum:
    BATCH = 512     # quotes that leave together


cdef struct Quote:
    double update
    double bid
    double bid_size
    double ask
    double ask_size


cdef class Consumer(WSListener):
    """Keeps the latest quote.

    A quote replaces all before it. So only the last frame that came with one read is parsed; the
    others are only counted. It is parsed in the receive buffer, without an object or a copy.
    """

    cdef readonly long long frames
    cdef readonly long long parsed
    cdef readonly long long broken
    cdef Quote _quote

    @property
    def quote(self):
        """Number of the update, bid, its size, offer, its size."""
        return (
            int(self._quote.update), self._quote.bid, self._quote.bid_size, self._quote.ask,
            self._quote.ask_size)

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        cdef Quote quote
        self.frames += 1
        if not frame.last_in_buffer or frame.wire_opcode != WS_OP_TEXT or not frame.fin:
            return
        if parse_quote(frame.payload_ptr, frame.payload_ptr + frame.payload_size, &quote):
            self._quote = quote
            self.parsed += 1
        else:
            self.broken += 1


def parse(bytes message not None):
    """What Consumer.quote would be after a message; None if it is no quote."""
    cdef Quote quote
    cdef const uint8_t* at = message
    if not parse_quote(at, at + len(message), &quote):
        return None
    return int(quote.update), quote.bid, quote.bid_size, quote.ask, quote.ask_size


cdef bint parse_quote(const uint8_t* at, const uint8_t* end, Quote* quote) noexcept nogil:
    """Read the object at data[at:end]; 0 if it is not a quote. Reads nothing at end or beyond."""
    cdef double number = 0
    cdef uint8_t name
    cdef int found = 0
    if at == end or at[0] != c"{":
        return False
    while True:
        at += 1                                     # past the brace or the comma
        if end - at < 6 or at[0] != c'"' or at[2] != c'"' or at[3] != c":":
            return False                            # names have one letter
        name = at[1]
        at += 4
        if name == c"s":                            # the symbol: there is one per connection
            if at[0] != c'"':
                return False
            at += 1
            while at < end and at[0] != c'"':
                at += 1
            at += 1
        else:
            at = parse_number(at, end, &number)
            found += 1
            if name == c"u":
                quote.update = number
            elif name == c"b":
                quote.bid = number
            elif name == c"B":
                quote.bid_size = number
            elif name == c"a":
                quote.ask = number
            elif name == c"A":
                quote.ask_size = number
            else:
                found -= 1
        if at >= end:
            return False
        if at[0] == c"}":
            return found == 5 and at + 1 == end
        if at[0] != c",":
            return False


cdef const uint8_t* parse_number(
        const uint8_t* at, const uint8_t* end, double* number) noexcept nogil:
    """Read digits, with quotation marks around them or not; return where they end, or end.

    Up to 15 digits give the same double as float() does: both parts of the division are exact.
    """
    cdef bint quoted = at[0] == c'"'
    cdef long long digits = 0
    cdef int count = 0
    cdef double scale = 1
    cdef bint fraction = False
    at += quoted
    while at < end and (c"0" <= at[0] <= c"9" or (at[0] == c"." and not fraction)):
        if at[0] == c".":
            fraction = True
        else:
            digits = 10 * digits + (at[0] - c"0")
            count += 1
            if fraction:
                scale *= 10
        at += 1
    number[0] = <double> digits / scale
    if count == 0 or count > 15 or (quoted and (at == end or at[0] != c'"')):
        return end
    return at + quoted


cdef class Feed(WSListener):
    """Sends the quotes that it is given, over and over, whenever its queue has room."""

    cdef list _quotes
    cdef Py_ssize_t _next
    cdef object _call_soon
    cdef bint _paused
    cdef bint _scheduled

    def __init__(self, quotes):
        self._quotes = [bytes(quote) for quote in quotes]
        self._call_soon = get_running_loop().call_soon

    cpdef on_ws_connected(self, WSTransport transport):
        self._go_on()

    cpdef on_ws_disconnected(self, WSTransport transport):
        self._paused = True

    cpdef pause_writing(self):
        self._paused = True

    cpdef resume_writing(self):
        self._paused = False
        self._go_on()

    cdef int _go_on(self) except -1:
        if not self._paused and not self._scheduled:
            self._scheduled = True
            self._call_soon(self.send_batch)
        return 0

    def send_batch(self):
        """Send some quotes in one write, so that other connections do not wait long."""
        cdef bytes quote
        cdef const char* text
        self._scheduled = False
        if self._paused or self.transport.state is not WSState.OPEN:
            return      # the peer may have gone, too
        with self.transport.cork():
            for _ in range(BATCH):
                quote = self._quotes[self._next]
                text = quote
                self.transport.send_bytes(WS_OP_TEXT, text, len(quote))
                self._next = (self._next + 1) % len(self._quotes)
        self._go_on()
