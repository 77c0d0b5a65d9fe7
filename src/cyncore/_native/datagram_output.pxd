# SPDX-License-Identifier: MIT
from cpython.object cimport PyObject

from .addresses cimport Addresses
from .channel cimport Channel
from .csrc cimport cyn_inbound, cyn_outbound
from .registry cimport Registry

cdef enum:  # the life of a channel
    READY = 1 << 0           # datagrams may leave
    CLOSE_WANTED = 1 << 1
    GONE = 1 << 2
    DRAINING = 1 << 3
    BUSY = 1 << 4
    HAS_REMOTE = 1 << 5      # it sends to one address, and receives from no other
    DELIVERING = 1 << 6      # a queued call delivers what is held
    RETRYING = 1 << 7        # a timer tries again to send
    LOSS_QUEUED = 1 << 8     # a queued call tells how many datagrams were dropped
    # What its class says
    TAKES_BATCHES = 1 << 9   # it defines handle_datagrams
    WANTS_DESTINATION = 1 << 10


cdef class Inbound:
    """What one call has received, for one channel after the other."""
    cdef cyn_inbound raw


cdef class Outbound:
    """What one channel has to send in this tick."""
    cdef cyn_outbound raw
    cdef DatagramOutput sender       # whose it is; None: nobody's
    cdef Py_ssize_t size              # bytes of all
    cdef bint is_leaving              # it is being sent, or forgotten: nothing may be put to it, or taken out
    cdef PyObject *data[64]           # references: what is sent, and where to; NULL: to the peer of the socket
    cdef PyObject *addresses[64]
    cdef PyObject *sources[64]        # and from where; NULL: the kernel chooses

    cdef int clear(self) except -1


cdef class Datagrams:
    """What all channels of datagrams of a loop share."""
    cdef Addresses addresses
    cdef Inbound inbound              # None: a handler is being given what is in it
    cdef Outbound outbound


cdef class DatagramOutput(Channel):
    cdef object remote_address        # as its class shows it, or None
    cdef list held                    # (data, address, destination, whole): given to no handler yet; None: nothing
    cdef object queue                 # a deque of (data, address, source): what the socket had no room for; or None
    cdef object crossing              # a deque of the same: what other threads have sent; None: none ever has
    cdef object stuck                 # a Stuck: what Unix sockets have no room for; None: there was no such
    cdef Py_ssize_t waiting           # bytes that wait to be sent
    cdef Py_ssize_t most_waiting      # max_output; -1: no limit
    cdef Py_ssize_t largest           # max_size
    cdef Py_ssize_t lost_count        # datagrams that were dropped, and not told yet, and their bytes
    cdef Py_ssize_t lost_size
    cdef unsigned life                # of the flags above
    cdef unsigned wanted              # of what comes with a datagram: CYN_WANT_SENDER and the like
    cdef unsigned granted             # CYN_TELL_FAILURES and the like
    cdef unsigned segment_most        # bytes of the largest datagrams that leave as one; 0: none do
    cdef int family

    cdef Registry its_loop(self)
    cdef int descriptor(self) except? -1
    cdef int end(self, object error) except -1
    cdef int caught(self, object error) except -1

    cdef int send_specially(self, object data, object address, object source) except -1
    cdef int queue_one(self, Datagrams shared, object data, object address, object source) except -1
    cdef int queue_or_keep(self, Registry loop, object data, object address, object source) except -1
    cdef int take_crossing(self) except -1
    cdef int flush_soon(self, Registry loop) except -1
    cdef int keep(self, object data, object address, object source) except -1
    cdef int keep_for_later(self, object data, object address, object source) except -1
    cdef bint is_leaving(self)
    cdef int lost(self, Py_ssize_t size) except -1
    cdef int send_gathered(self, Outbound out) except -1
    cdef int send_kept(self) except -1
    cdef int wait_for_room(self) except -1
    cdef int wait_for_receiver(self, object data, object address) except -1
    cdef int retry_later(self) except -1
    cdef int stuck_end(self, Outbound out, int first, int count) except -1
    cdef bint is_empty(self) except -1
    cdef bint is_earlier(self, int error, unsigned *tries) except -1
    cdef int take_mishaps(self, int own_error) except -1
    cdef int tell(self, int error, object address) except -1


cdef inline Datagrams datagrams_of(Registry loop):
    if loop.datagrams is None:
        loop.datagrams = Datagrams()
    return <Datagrams> loop.datagrams
