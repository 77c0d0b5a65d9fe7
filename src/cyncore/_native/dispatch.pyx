# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Dispatch: delivers a batch of events, each to its watcher. The rules are in docs/design.md, "Dispatch".

Any handler may close any watcher, change the map, run the loop again, fork, or raise. So nothing that was read from an
event before a call into Python is trusted after it: the generation of the event and the count of waits are compared
again.
"""

from cpython.object cimport Py_TYPE
from libc.errno cimport EBADF, EIO
from libc.stdint cimport int64_t, uint32_t

from .channel cimport Channel
from .csrc cimport (
    CYN_ERR,
    CYN_HUP,
    CYN_NVAL,
    CYN_PRI,
    CYN_READ,
    CYN_WRITE,
    FIONREAD,
    TIOCOUTQ,
    cyn_clock,
    cyn_event,
    cyn_ioctl,
    cyn_poll,
    cyn_poller_owner,
    cyn_poller_wanted,
    cyn_probe_event,
    cyn_times_note,
    pollfd,
)
from .internals cimport cyn_see_int
from .predicates cimport Predicates
from .registry cimport failure, is_map_changed
from .traits cimport READ_EVENT, READS, STATE, is_current
from .watcher cimport (
    ACCEPT_EMFILE,
    ACCEPTING,
    CONNECTED,
    CONNECTING,
    DATAGRAM,
    DIRECT,
    DIRTY,
    EXITS,
    FOREIGN,
    HELD,
    INSTANCE,
    MUTED,
    RECV_EAGAIN,
    SLOWED,
    SLOWED_OUTPUT,
    STREAM,
    Watcher,
    detach,
    lost,
)

from .. import _rules, _spin
from .._report import WARNING, report

cdef enum:  # as in `_spin`, which says what they are
    LOOK_EVERY = 32
    ROUND = 1024
    TIMED_EVERY = 128  # as in `_rules`
cdef int CANDIDATES = _spin.CANDIDATES
cdef int TIMED_EVENTS = _rules.TIMED_EVENTS


cdef inline bint reads_directly(Watcher watcher) except -1:
    """Returns True for a connection on a plain socket that reads, and asks nobody: it needs no `dispatch_event`."""
    return (
        watcher.flags & (CONNECTED | ACCEPTING | DIRECT | INSTANCE) == CONNECTED | DIRECT
        and watcher.defines & (READS | READ_EVENT | STATE) == READS
        and watcher.polled_index < 0
        and (is_current(watcher.traits) or watcher.traits.is_same())
    )


cdef inline int deliver_read(Dispatch loop, Watcher watcher, cyn_event *event) except -1:
    """Does what `dispatch_event` does, for a read event that comes alone, of a stream or of what reads directly."""
    if watcher.flags & STREAM:
        return watcher.on_read()  # which looks itself whether more is pending
    watcher.flags &= ~(RECV_EAGAIN | ACCEPT_EMFILE)
    (<Channel> watcher).on_data()
    if not watcher.flags & DIRECT and loop.is_live(watcher, event):
        watcher.deliver_pending()
    return 0


cdef class Dispatch(Predicates):
    """A registry that delivers the events of a wait to their watchers.

    `dispatch_batch` is called once in a tick. It relies on the poller to drop events whose descriptor has another owner
    by now, and on `Watcher` to call the handlers.
    """

    def __cinit__(self):
        self.late = []
        self.closely = LOOK_EVERY - 1
        self.chosen_last = -1
        self.spins = _spin.Spins()
        self.suspects = self.spins.suspects
        self.waits_on = True

    cdef int dispatch_closely(self, cyn_event *events, int count, unsigned long number) except -1:
        """Does what `dispatch_batch` does, while slow handlers are timed, or in a tick that is looked at."""
        cdef int at = 0, looked_at = 0, delivered = 0
        cdef int timed = count if self.slow_after else min(count, TIMED_EVENTS) if number % TIMED_EVERY == 0 else 0
        if self.looks_soon:  # at those whose pause is over
            self.looks_soon = False
            self.closely = 0 if self.slow_after else <unsigned long> LOOK_EVERY - 1
            looked_at = self.choose(events, count, number)
        elif number % LOOK_EVERY == 0 and (self.suspects or number % ROUND == 0):
            looked_at = self.choose(events, count, number)
        try:
            while (at < looked_at or at < timed) and number == self.waits:
                if cyn_see_int(&self.stopping) and at:
                    break
                at += 1
                delivered += self.dispatch_one(&events[at - 1], number, at <= looked_at)
            if self.suspects and number % LOOK_EVERY == 0:
                self.spins.finish(number)
        except BaseException:
            self.keep_failures(events, at, count)
            raise
        if number != self.waits or (cyn_see_int(&self.stopping) and at):
            self.keep_failures(events, at, count)
            return delivered
        return delivered + self.dispatch_batch(events + at, count - at, number)

    cdef int choose(self, cyn_event *events, int count, unsigned long number) except -1:
        """Moves the events of suspects, and in a new round those of other channels, to the front. Returns how many."""
        cdef int front = 0, at, best, fd, _more
        if self.suspects:
            for at in range(count):
                fd = events[at].fd
                if fd in self.suspects and (number % LOOK_EVERY == 0 or self.spins.was_slowed(fd)):
                    events[front], events[at] = events[at], events[front]
                    front += 1
        if number % ROUND:
            return front
        for _more in range(CANDIDATES):  # by their descriptors, so that everybody's turn comes
            best = -1
            for at in range(front, count):
                if events[at].fd > self.chosen_last and (best < 0 or events[at].fd < events[best].fd):
                    best = at
            if best < 0:
                self.chosen_last = -1
                break
            self.chosen_last = events[best].fd
            events[front], events[best] = events[best], events[front]
            front += 1
        return front

    cdef int dispatch_one(self, cyn_event *event, unsigned long number, bint is_looked_at) except -1:
        """Delivers one event, measures how long its handlers take, and looks whether they do anything."""
        cdef void *owner = cyn_poller_owner(&self.poller, event)
        cdef Watcher watcher
        cdef int fd = event.fd, delivered, unread = -1, unsent = -1
        cdef uint32_t ready = event.ready
        cdef int64_t begin, end
        cdef bint is_suspect
        if owner is NULL or owner is <void *> self:
            return self.dispatch_batch(event, 1, number)
        watcher = <Watcher> owner
        is_suspect = is_looked_at and fd in self.suspects
        if is_suspect:
            self.spins.begin(fd, watcher)
        elif is_looked_at:
            unread, unsent = _waiting(fd, FIONREAD), _waiting(fd, TIOCOUTQ)
        begin = cyn_clock()
        delivered = self.dispatch_batch(event, 1, number)
        end = cyn_clock()
        if number != self.waits:  # it has run the loop, which has served others: neither slow nor without effect
            return delivered
        cyn_times_note(&self.figures.handlers, end - begin)
        if 0 < self.slow_after <= end - begin:
            report(WARNING, _rules.SLOW_HANDLERS, watcher, fd, (end - begin) / 1e9)
        if not is_looked_at or not delivered or watcher.loop is not self or watcher.key_fd != fd:
            return delivered  # gone, or it has another descriptor by now
        if is_suspect:
            suspect = self.spins.end(fd, watcher, number, (end - begin) / 1e9, end / 1e9, ready & ~CYN_WRITE != 0)
            if suspect is not None or fd in self.suspects:
                self.fruitless = number
            elif self.spins.guard is None and self.spins.is_named(fd, watcher):
                self.fruitless = number
                self.spins_on = True  # it is let alone from now on
            if suspect is not None:
                self.slow(watcher, fd, suspect)
        elif unread == _waiting(fd, FIONREAD) and unsent == _waiting(fd, TIOCOUTQ):
            self.spins.add(fd, watcher, number)
        return delivered

    @property
    def spin_guard(self):
        """What is done with a channel that fires without end and was named: "slow", "close" or None.

        ValueError for anything else.
        """
        return self.spins.guard

    @spin_guard.setter
    def spin_guard(self, value):
        self.spins.guard = _spin.check_guard(value)

    cdef int slow(self, Watcher watcher, int fd, object suspect) except -1:
        """A channel fires without end: takes its interest away for a moment, or closes it."""
        if suspect.closes:
            return self.close_spinning(watcher, fd)
        if not self.waits_on:
            self.spins.go_on(suspect, self.waits)
            return 0
        self.slowed[fd] = self.add_timer(cyn_clock() / 1e9 + suspect.pause, self._end_pause, ()), watcher, suspect
        self.slowed_count = len(self.slowed)
        watcher.flags |= SLOWED_OUTPUT if suspect.is_output else SLOWED
        return self.give_interest(watcher)

    def _end_pause(self):
        """A pause is over. All end, since each of them ends a wait, and those that go on are looked at at once."""
        self.pauses_ended += 1
        self.looks_soon = True
        self.closely = 0
        self.go_on()

    cdef int go_on(self) except -1:
        """Gives the slowed channels their interest back."""
        cdef list ended = []
        cdef tuple item
        cdef object exit = None
        while self.slowed:  # no Python code runs in here, so no signal comes, and no other thread
            item = self.slowed.popitem()[1]
            self.slowed_count = len(self.slowed)
            (<Watcher> item[1]).flags &= ~(SLOWED | SLOWED_OUTPUT)
            item[0].cancel()
            ended.append(item)
        try:
            for item in ended:
                self.spins.go_on(item[2], self.waits)
        finally:
            for item in ended:
                try:
                    self.give_interest(<Watcher> item[1])
                except EXITS as error:  # when all have their interest
                    exit = error
            if exit is not None:
                raise exit
        return 0

    cdef int give_interest(self, Watcher watcher) except -1:
        """Gives the poller its interest, which may call the program: an error is told to the channel."""
        if watcher.loop is not self:
            return 0
        try:
            watcher.interest_changed()
        except EXITS:
            raise
        except BaseException as error:
            watcher.failed(error)
        return 0

    cdef bint has_run_others(self, cyn_event *events, int count, unsigned long number) except -1:
        """Returns True if this tick has called anybody else than the channels that were slowed."""
        cdef int at
        for at in range(count):
            slowed = self.slowed.get(events[at].fd)
            suspect = self.suspects.get(events[at].fd) if slowed is None else slowed[2]
            if suspect is None or suspect.round != number:  # it was not looked at: slowed ones have had other events
                return True
        return False

    cdef int close_spinning(self, Watcher watcher, int fd) except -1:
        try:
            if watcher.flags & STREAM:
                (<object> watcher)._end(_rules.spinning(watcher))
            else:
                watcher.subject().close()
        except EXITS:
            raise
        except BaseException as error:
            watcher.failed(error)
        if watcher.loop is self and watcher.key_fd == fd:  # a close() of its own has left it where it was
            self.map.pop(fd, None)
            detach(self, fd)
        return 0

    cdef int dispatch_batch(self, cyn_event *events, int count, unsigned long number) except -1:
        cdef int at = 0, delivered = 0
        cdef cyn_event *event
        cdef void *owner
        cdef Watcher watcher
        cdef bint in_handler = False
        if count == 0:
            return 0
        try:
            while True:
                try:
                    # After a nested tick the rest of this batch is stale. Readiness is level-triggered: it comes again.
                    while at < count and number == self.waits and not (cyn_see_int(&self.stopping) and at):
                        event = &events[at]
                        at += 1
                        if is_map_changed(self):  # a handler of this batch has changed it by hand
                            self.read_map()
                        owner = cyn_poller_owner(&self.poller, event)
                        if owner is NULL:
                            continue
                        self.runs += 1
                        if owner is <void *> self:
                            self.woken(event.fd, event.ready & CYN_NVAL)
                            continue
                        watcher = <Watcher> owner  # holds a reference: a handler may drop the last other one
                        if not self.tells and not self.is_still_in_map(watcher, event):
                            continue
                        cyn_probe_event(event.fd, event.ready, Py_TYPE(watcher).tp_name)
                        if event.ready != CYN_READ or not cyn_poller_wanted(&self.poller, event.fd) & CYN_READ:
                            delivered += self.dispatch_event(watcher, event)
                        elif watcher.flags & STREAM or reads_directly(watcher):
                            delivered += 1
                            in_handler = True
                            deliver_read(self, watcher, event)
                            in_handler = False
                        else:
                            delivered += self.dispatch_event(watcher, event)
                    break
                except BaseException as error:  # one try for all of them: it costs as much as a small handler
                    if not in_handler or isinstance(error, EXITS):
                        raise
                    in_handler = False
                    watcher.failed(error)
        finally:
            self.figures.events += delivered
            if at < count:
                self.keep_failures(events, at, count)
        return delivered

    cdef int keep_failures(self, cyn_event *events, int at, int count) except -1:
        """Keeps the failures among the events from ``at`` on. They are not level-triggered: each is reported once."""
        while at < count:
            if events[at].ready & CYN_NVAL:
                self.late.append((events[at].fd, events[at].generation, events[at].error))
            at += 1
        return 0

    cdef int take_late(self, cyn_event *events) except -1:
        """Puts the failures in `late` into `events`, and returns how many there are."""
        cdef int count = 0
        while self.late and count < BATCH:
            events[count].ready = CYN_NVAL
            events[count].fd, events[count].generation, events[count].error = self.late.pop(0)
            count += 1
        return count

    cdef inline bint is_live(self, Watcher watcher, cyn_event *event) noexcept:
        return cyn_poller_owner(&self.poller, event) is <void *> watcher

    cdef bint is_still_in_map(self, Watcher watcher, cyn_event *event) except -1:
        """Asks a map that does not tell of its changes. It is of the program's class, so that code of it runs."""
        return self.is_in_map(watcher) and self.is_live(watcher, event)

    cdef int dispatch_event(self, Watcher watcher, cyn_event *event) except -1:
        """Delivers one event, as asyncore.readwrite did. Returns 1, or 0 if the watcher does not want it any more."""
        cdef uint32_t ready = event.ready
        cdef int unread = -1
        cdef uint32_t wanted
        cdef bint at_end = False
        watcher.traits.check()
        if watcher.polled_index >= 0 and not watcher.flags & DIRTY:
            watcher.ask_soon()
        watcher.flags &= ~(RECV_EAGAIN | ACCEPT_EMFILE)
        try:
            if ready & (CYN_READ | CYN_WRITE | CYN_PRI | CYN_ERR) == 0 and ready & CYN_HUP:
                at_end = _reads_end(watcher)
                if at_end:
                    ready |= CYN_READ
            if ready & (CYN_READ | CYN_WRITE | CYN_PRI | CYN_ERR):
                wanted = watcher.interest()
                if ready & (CYN_READ | CYN_WRITE | CYN_PRI) & ~wanted:
                    watcher.arm()  # its interest has changed unnoticed: without this, the event comes for ever
                if ready & (CYN_HUP | CYN_ERR) == CYN_ERR and not watcher.flags & CONNECTING:
                    ready |= CYN_READ  # reading takes the error, for instance of a datagram that was refused
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
            if at_end and isinstance(error, OSError) and error.errno == EIO:
                lost(watcher)  # the end of a terminal
            else:
                watcher.failed(error)
            if ready & CYN_NVAL:
                self.drop_bad(watcher, event)
        return 1

    cdef int hung_up(self, Watcher watcher, cyn_event *event, uint32_t ready, int unread) except -1:
        cdef int now
        if watcher.flags & FOREIGN and not self.is_in_map(watcher):
            return 0  # its read handler has taken it out by hand
        if ready & (CYN_HUP | CYN_ERR | CYN_NVAL | CYN_READ) == CYN_ERR | CYN_READ and not _is_broken(event.fd):
            return 0  # the read handler has taken the error
        if ready & CYN_NVAL:
            if event.error != EBADF:
                raise failure(event.error, f"{watcher!r} fd {event.fd} cannot be watched")
        elif ready & CYN_READ:
            now = _unread(watcher, event.fd)
            if now != unread and (now > 0 or watcher.flags & (DIRECT | STREAM) != DIRECT | STREAM):
                return 0  # it has read some: the rest and the end, for which handlers wait, come with later events
        elif not watcher.flags & (MUTED | DATAGRAM) and _unread(watcher, event.fd) > 0:
            if self.is_live(watcher, event):
                watcher.flags |= HELD  # out of the poller until it wants to read
                watcher.arm()
            return 0
        watcher.on_close()
        if ready & CYN_NVAL:
            self.drop_bad(watcher, event)
        return 0

    cdef int drop_bad(self, Watcher watcher, cyn_event *event) except -1:
        """Takes a descriptor that cannot be watched out of the map, if handle_close has not done so."""
        if self.is_live(watcher, event):
            self.map.pop(event.fd, None)
            detach(self, event.fd)
        return 0


cdef bint _reads_end(Watcher watcher) except -1:
    """Returns True if a hang-up without anything to read calls the read handler first.

    A pipe ends like that, and a terminal. For select(2) that was readable, so a handler may wait for the empty read.
    """
    if watcher.flags & (STREAM | DATAGRAM | FOREIGN) or not isinstance(watcher, Channel):
        return watcher.flags & FOREIGN != 0
    return (<Channel> watcher).state(CONNECTED, "connected")


cdef bint _is_broken(int fd):
    """Returns True if the kernel still reports an error or a hang-up."""
    cdef pollfd one
    one.fd = fd
    one.events = one.revents = 0
    return cyn_poll(&one, 1, 0) > 0


cdef int _waiting(int fd, unsigned long request) noexcept:
    """Returns how many bytes wait to be read (FIONREAD) or sent (TIOCOUTQ), or -1 where nobody can tell."""
    cdef int count = 0
    return -1 if cyn_ioctl(fd, request, &count) != 0 else count


cdef int _unread(Watcher watcher, int fd) except -1:
    """Returns how many bytes can be read, from the kernel and from a socket object that reads ahead."""
    cdef int count = 0
    if cyn_ioctl(fd, FIONREAD, &count) != 0:
        count = 0
    return count if watcher.flags & DIRECT else count + watcher.pending()
