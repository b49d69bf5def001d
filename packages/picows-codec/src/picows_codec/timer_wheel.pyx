"""Who is due at which tick, at the same cost for any number of members.

A ring of buckets, one for each of the next ticks. A bucket is a doubly linked list, so that members
come and go, and whole buckets move, in a few steps. Bits say which buckets have members, so that
the next one is found without a walk. Who is due further ahead waits in the furthest bucket, and is
put further ahead when that one is reached.

Links are numbers, not pointers, and lie beside the members. So only members pay for them, and
memory grows and shrinks with their number.
"""

cimport cython
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from libc.stdint cimport UINT32_MAX

cdef extern from *:
    """
    #include <stdint.h>
    #if defined(_MSC_VER) && !defined(__clang__)
    #include <intrin.h>
    static int picows_lowest_bit(uint64_t word) {
        unsigned long low;
        if (_BitScanForward(&low, (unsigned long) word)) return (int) low;
        _BitScanForward(&low, (unsigned long) (word >> 32));
        return (int) low + 32;
    }
    #else
    #define picows_lowest_bit(word) __builtin_ctzll(word)
    #endif
    """
    int lowest_bit "picows_lowest_bit" (uint64_t word) noexcept     # of a word that is not 0

cdef enum:
    MASK = BUCKETS - 1
    DUE = BUCKETS           # the list of those that are due
    FIRST = BUCKETS + 1     # the node of the first member
    LEAST = 16              # members for which there is always memory


cdef class WheelMember:
    pass


@cython.final
cdef class TimerWheel:
    def __cinit__(self, int64_t now=0):
        self.now = now
        self._members = []
        self._reserve(LEAST)
        # Links of a bucket mean nothing until it has members: to set all would cost as much as
        # a tenth of a connection.
        self._links[DUE].next = self._links[DUE].previous = DUE

    def __dealloc__(self):
        PyMem_RawFree(self._ticks)
        PyMem_RawFree(self._links)

    def __len__(self):
        return len(self._members)

    cpdef int set(self, WheelMember member, int64_t tick) except -1:
        """Make a member due at a tick, but never now; that is its only one."""
        cdef Py_ssize_t count = len(self._members)
        if self._holds(member):
            self._unlink(member._node)
        elif member._node != 0:
            raise ValueError("this member is in another wheel")
        else:
            if count == self._capacity:
                self._reserve(2 * count)
            self._members.append(member)
            member._node = <uint32_t> (FIRST + count)
        self._ticks[member._node - FIRST] = tick
        return self._link(member._node, tick)

    cpdef int remove(self, WheelMember member) except -1:
        """Make a member due never."""
        cdef uint32_t node
        cdef Py_ssize_t last = len(self._members) - 1
        cdef WheelMember moved
        if not self._holds(member):
            return 0
        node = member._node
        self._unlink(node)
        member._node = 0
        # The last member takes the place, so that there are no gaps.
        moved = self._members.pop()
        if moved is not member:
            self._members[node - FIRST] = moved
            self._ticks[node - FIRST] = self._ticks[last]
            self._links[node] = self._links[FIRST + last]
            self._links[self._links[node].next].previous = node
            self._links[self._links[node].previous].next = node
            moved._node = node
        if LEAST <= last < self._capacity // 4:
            self._reserve(self._capacity // 2)
        return 0

    cpdef bint is_empty(self) noexcept:
        return len(self._members) == 0

    cpdef int64_t earliest(self) noexcept:
        """The next tick at which somebody may be due; ``now`` if there is none."""
        cdef int64_t start = (self.now + 1) & MASK
        cdef int64_t word = start >> 6
        cdef uint64_t bits = self._filled[word] >> (start & 63)
        cdef int turn = <int> (word + 1) & 63
        if bits != 0:
            return self.now + 1 + lowest_bit(bits)
        if self._words == 0:
            return self.now
        # The words behind this one, around the ring; it comes last, for what is before the start.
        bits = self._words >> turn | self._words << (-turn & 63)
        word = (word + 1 + lowest_bit(bits)) & 63
        return self.now + 1 + (((word << 6) + lowest_bit(self._filled[word]) - start) & MASK)

    cpdef int advance(self, int64_t tick) except -1:
        """It is now this tick: whoever has waited for it, or for an earlier one, is due."""
        if tick > self.now:
            self._collect(tick)
            self.now = tick
        return 0

    cpdef int postpone(self, int64_t tick, int64_t until) except -1:
        """It is now this tick, and who would be due by another one is due then."""
        self._collect(until)
        self.now = max(self.now, tick)
        return self._join(DUE, self._bucket(until))

    cpdef bint has_due(self) noexcept:
        """Whether anybody may be due."""
        return self._links[DUE].next != DUE

    cpdef WheelMember take(self):
        """Remove the next one that is due; None if it waits on, for a tick further ahead."""
        cdef uint32_t node = self._links[DUE].next
        cdef WheelMember member
        if node == DUE:
            return None
        if self._ticks[node - FIRST] > self.now:
            self._unlink(node)
            self._link(node, self._ticks[node - FIRST])
            return None
        member = self._members[node - FIRST]
        self.remove(member)
        return member

    cdef bint _holds(self, WheelMember member) except -1:
        cdef Py_ssize_t index
        if member is None:
            raise TypeError("a WheelMember is wanted, not None")
        index = <Py_ssize_t> member._node - FIRST
        return 0 <= index < len(self._members) and self._members[index] is member

    cdef int _reserve(self, Py_ssize_t members) except -1:
        """Have memory for so many members."""
        cdef void* links = NULL
        cdef void* ticks = NULL
        if members <= UINT32_MAX - FIRST:
            links = PyMem_RawRealloc(self._links, (FIRST + members) * sizeof(Link))
        if links != NULL:
            self._links = <Link*> links
            self._capacity = min(self._capacity, members)
            ticks = PyMem_RawRealloc(self._ticks, members * sizeof(int64_t))
        if ticks != NULL:
            self._ticks = <int64_t*> ticks
            self._capacity = members
        elif members > self._capacity:
            raise MemoryError(f"no memory for the deadlines of {members} connections")
        return 0

    cdef int _link(self, uint32_t node, int64_t tick) noexcept:
        """Put a node at the end of its bucket."""
        cdef uint32_t bucket = self._bucket(tick)
        cdef uint32_t last = self._last(bucket)
        self._links[node].previous = last
        self._links[node].next = bucket
        self._links[last].next = node
        self._links[bucket].previous = node
        return self._mark(bucket, True)

    cdef uint32_t _bucket(self, int64_t tick) noexcept:
        return <uint32_t> (min(max(tick, self.now + 1), self.now + BUCKETS - 1) & MASK)

    cdef uint32_t _last(self, uint32_t bucket) noexcept:
        """The last node of a list; the list itself if it is empty."""
        if bucket != DUE and not self._filled[bucket >> 6] >> (bucket & 63) & 1:
            return bucket
        return self._links[bucket].previous

    cdef int _unlink(self, uint32_t node) noexcept:
        cdef Link link = self._links[node]
        self._links[link.previous].next = link.next
        self._links[link.next].previous = link.previous
        if link.next == link.previous:      # it was alone
            self._mark(link.next, False)
        return 0

    cdef int _collect(self, int64_t tick) noexcept:
        """Whoever waits in the buckets up to a tick is due. One step for each bucket."""
        cdef int64_t first = self.earliest()
        while self.now < first <= tick:
            self._join(<uint32_t> (first & MASK), DUE)
            first = self.earliest()
        return 0

    cdef int _join(self, uint32_t source, uint32_t target) noexcept:
        """Move all nodes of a list to the end of another one."""
        cdef Link moved = self._links[source]
        cdef uint32_t last = self._last(target)
        if moved.next == source:
            return 0
        self._links[last].next = moved.next
        self._links[moved.next].previous = last
        self._links[moved.previous].next = target
        self._links[target].previous = moved.previous
        self._links[source].next = self._links[source].previous = source
        self._mark(source, False)
        self._mark(target, True)
        return 0

    cdef int _mark(self, uint32_t bucket, bint is_filled) noexcept:
        cdef uint64_t bit = <uint64_t> 1 << (bucket & 63)
        cdef uint64_t word
        if bucket == DUE:
            return 0
        word = self._filled[bucket >> 6]
        word = word | bit if is_filled else word & ~bit
        self._filled[bucket >> 6] = word
        bit = <uint64_t> 1 << (bucket >> 6)
        self._words = self._words & ~bit if word == 0 else self._words | bit
        return 0
