# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Dispatch: a batch of the kernel's events, each to its watcher. docs/design.md, "Dispatch", has the rules.

Any handler may close any watcher, change the map, run the loop again, fork, or raise. So nothing that was read from an
event before a call into Python is trusted after it: the generation of the event and the count of waits are compared
again.
"""

from libc.errno cimport EBADF
from libc.stdint cimport uint32_t

from .channel cimport Channel
from .csrc cimport (
    CYN_ERR,
    CYN_HUP,
    CYN_NVAL,
    CYN_PRI,
    CYN_READ,
    CYN_WRITE,
    FIONREAD,
    cyn_event,
    cyn_ioctl,
    cyn_poll,
    cyn_slot,
    cyn_slot_of,
    pollfd,
)
from .predicates cimport Predicates
from .registry cimport failure, is_map_changed
from .traits cimport READ_EVENT, READS, STATE, is_current
from .watcher cimport (
    ACCEPT_EMFILE,
    ACCEPTING,
    CONNECTED,
    CONNECTING,
    DIRECT,
    DIRTY,
    EXITS,
    HELD,
    INSTANCE,
    MUTED,
    RECV_EAGAIN,
    Watcher,
    detach,
)


cdef class Dispatch(Predicates):
    """A registry that delivers events."""

    def __cinit__(self):
        self.late = []

    cdef int dispatch_batch(self, cyn_event *events, int count, unsigned long number) except -1:
        cdef int at = 0, delivered = 0
        cdef cyn_event *event
        cdef const cyn_slot *slot
        cdef Watcher watcher
        try:
            # A nested tick has served, or will be told again, whatever is left of this batch.
            while at < count and number == self.waits and not (self.stopping and at):
                event = &events[at]
                at += 1
                if is_map_changed(self):  # by hand, in a handler of this batch
                    self.read_map()
                slot = cyn_slot_of(&self.poller, event)
                if slot is NULL:
                    continue
                self.runs += 1
                if slot.owner is <void *> self:
                    self.woken(event.ready & CYN_NVAL)
                    continue
                watcher = <Watcher> slot.owner  # held: a handler may drop the last reference to it
                if not self.tells:
                    if not self.is_in_map(watcher):
                        continue
                    slot = cyn_slot_of(&self.poller, event)  # the map's own code has run
                    if slot is NULL or slot.owner is not <void *> watcher:
                        continue
                if (
                    event.ready == CYN_READ
                    and slot.wanted & CYN_READ
                    and watcher.flags & (CONNECTED | ACCEPTING | DIRECT | INSTANCE) == CONNECTED | DIRECT
                    and watcher.defines & (READS | READ_EVENT | STATE) == READS
                    and watcher.polled_index < 0
                    and (is_current(watcher.traits) or watcher.traits.is_same())
                ):
                    delivered += self.dispatch_read(watcher, event)
                else:
                    delivered += self.dispatch_event(watcher, event)
        finally:
            while at < count:
                if events[at].ready & CYN_NVAL:  # told once only, by the kernel as by the poller
                    self.late.append((events[at].fd, events[at].generation, events[at].error))
                at += 1
        return delivered

    cdef int take_late(self, cyn_event *events) except -1:
        """Failures that a batch cut short has left."""
        cdef int count = 0
        while self.late and count < BATCH:
            events[count].ready = CYN_NVAL
            events[count].fd, events[count].generation, events[count].error = self.late.pop(0)
            count += 1
        return count

    cdef inline bint is_live(self, Watcher watcher, cyn_event *event) noexcept:
        cdef const cyn_slot *slot = cyn_slot_of(&self.poller, event)
        return slot is not NULL and slot.owner is <void *> watcher

    cdef int dispatch_read(self, Watcher watcher, cyn_event *event) except -1:
        """`dispatch_event` in the usual case: a connection on a plain socket, which wants to read, can be read."""
        watcher.flags &= ~(RECV_EAGAIN | ACCEPT_EMFILE)
        try:
            (<Channel> watcher).on_data()
            if not watcher.flags & DIRECT and self.is_live(watcher, event):
                watcher.deliver_pending()
        except EXITS:
            raise
        except BaseException as error:
            watcher.failed(error)
        return 1

    cdef int dispatch_event(self, Watcher watcher, cyn_event *event) except -1:
        """One event to one watcher, as asyncore.readwrite did it; docs/design.md, "Dispatch". 0: it was not wanted."""
        cdef uint32_t ready = event.ready
        cdef int unread = -1
        cdef uint32_t wanted
        watcher.traits.check()
        if watcher.polled_index >= 0 and not watcher.flags & DIRTY:
            watcher.ask_soon()
        watcher.flags &= ~(RECV_EAGAIN | ACCEPT_EMFILE)
        try:
            if ready & (CYN_READ | CYN_WRITE | CYN_PRI | CYN_ERR):
                wanted = watcher.interest()
                if ready & (CYN_READ | CYN_WRITE | CYN_PRI) & ~wanted:
                    watcher.arm()  # what it wants has changed without a word: the kernel would go on telling
                if ready & (CYN_HUP | CYN_ERR) == CYN_ERR and not watcher.flags & CONNECTING:
                    ready |= CYN_READ  # an error that a read takes: of a datagram that came to nobody
                ready &= wanted | CYN_ERR | CYN_HUP | CYN_NVAL
                if not ready:
                    return 0  # another channel's handler has paused this one
            if ready & CYN_READ:
                if ready & (CYN_HUP | CYN_ERR):
                    unread = _unread(watcher, event.fd)
                watcher.on_read()
                if not self.is_live(watcher, event):
                    return 1
            if ready & CYN_WRITE:
                watcher.on_write()
                if not self.is_live(watcher, event):
                    return 1
            if ready & CYN_PRI:
                watcher.on_urgent()
                if not self.is_live(watcher, event):
                    return 1
            if ready & CYN_READ and not watcher.flags & DIRECT:
                watcher.deliver_pending()
                if not self.is_live(watcher, event):
                    return 1
            if ready & (CYN_HUP | CYN_ERR | CYN_NVAL):
                self.hung_up(watcher, event, ready, unread)
        except EXITS:
            raise
        except BaseException as error:
            watcher.failed(error)
            if ready & CYN_NVAL:
                self.drop_bad(watcher, event)
        return 1

    cdef int hung_up(self, Watcher watcher, cyn_event *event, uint32_t ready, int unread) except -1:
        cdef int now
        if ready & (CYN_HUP | CYN_ERR | CYN_NVAL | CYN_READ) == CYN_ERR | CYN_READ and not _is_broken(event.fd):
            return 0  # the read handler took the error
        if ready & CYN_NVAL:
            if event.error != EBADF:
                raise failure(event.error, f"{watcher!r} fd {event.fd} cannot be watched")
        elif ready & CYN_READ:
            now = _unread(watcher, event.fd)
            if now > 0 and now != unread:
                return 0  # it reads: the rest, and then the end, come with the next events
        elif not watcher.flags & MUTED and _unread(watcher, event.fd) > 0:
            if self.is_live(watcher, event):
                watcher.flags |= HELD  # until it wants to read again
                watcher.arm()
            return 0
        watcher.on_close()
        if ready & CYN_NVAL:
            self.drop_bad(watcher, event)
        return 0

    cdef int drop_bad(self, Watcher watcher, cyn_event *event) except -1:
        """A descriptor that cannot be watched has no place in the map, whatever handle_close did or left undone."""
        if self.is_live(watcher, event):
            self.map.pop(event.fd, None)
            detach(self, event.fd)
        return 0


cdef bint _is_broken(int fd):
    """Does the kernel still report an error, or a hang-up?"""
    cdef pollfd one
    one.fd = fd
    one.events = one.revents = 0
    return cyn_poll(&one, 1, 0) > 0


cdef int _unread(Watcher watcher, int fd) except -1:
    """Bytes that wait in the kernel, and in a socket that reads ahead; 0 where neither says."""
    cdef int count = 0
    if cyn_ioctl(fd, FIONREAD, &count) != 0:
        count = 0
    return count if watcher.flags & DIRECT else count + watcher.pending()
