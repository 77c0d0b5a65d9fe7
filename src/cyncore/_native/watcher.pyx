# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Watcher: the owner of a descriptor in a loop. It has an interest, and is in some of the lists of the loop.

Facts that shape it:
- A watcher refers to its loop, the loop to its map, and the map to its channels. The garbage collector can see and free
  this cycle.
- Predicates are the program's code: they may close channels, add some, or run the loop. So the lists of the loop are
  walked by index, and a watcher that leaves during a walk leaves a gap. Only this module changes those lists.
- `Channel` is a watcher with a socket. Any other object in the map is served by a `Foreign`.
"""

from libc.errno cimport errno

from .csrc cimport CYN_PRI, CYN_READ, CYN_STAMP, CYN_WRITE, F_GETFD, cyn_clock, cyn_fcntl
from .internals cimport CYN_FREE_THREADS, cyn_add_int
from .plain_socket cimport fileno_of
from .registry cimport Registry, failure
from .traits cimport Traits, traits_of

from .. import _rules

cdef Py_ssize_t RECENT_MOST = 64       # how many watchers may be recent at once
RECENT_PASSES = 100                    # a recent watcher that gave the same answer so often is recent no more

DISCONNECTED = _rules.DISCONNECTED
EXITS = _rules.EXITS


cdef class Watcher(Root):
    """The owner of a descriptor in a loop: what the poller's events are delivered to.

    It joins and leaves the loop and its lists, tells the poller its interest, and calls handlers and predicates of its
    `subject`. It relies on `Registry`, which keeps the lists, and on `Traits`, which knows what the class defines.
    """

    def __cinit__(self):
        self.key_fd = self.fileno = -1
        self.polled_index = -1

    # In a loop, and out of it

    cdef int enter(self, Registry loop, int fd) except -1:
        """Becomes the owner of ``fd`` in that loop. If it raises, the watcher is in no loop."""
        cdef Traits traits = traits_of(type(self))
        loop.note_kind(traits)
        before = loop.register(fd, self)
        if before is not None:
            (<Watcher> before).leave_lists()
        self.loop = loop
        self.key_fd = fd
        self.entered = <unsigned> (cyn_clock() >> CYN_STAMP)
        self.received_size = self.sent_size = 0
        self.answers = 0
        self.polled_run = loop.runs - 1
        if before is not self:  # an event that an earlier loop has queued does not come any more
            if self.flags & PENDING:
                self.flags |= PENDING_LATER
            self.flags &= ~(BACKED_OFF | PENDING | RECV_EAGAIN | ACCEPT_EMFILE)
        self.flags &= ~(HELD | MUTED | CHECKED)
        if loop.debug:
            self.flags |= CHECKED
        self.traits = traits
        cyn_add_int(&traits.users, 1)
        try:
            self.classify()
            return self.interest_changed()
        except BaseException:  # a watcher that could not join is in no loop
            detach(loop, fd)
            raise

    cdef int leave_loop(self) except -1:
        return 0 if self.loop is None else detach(self.loop, self.key_fd)

    cdef int leave_lists(self) except -1:
        """Leaves the lists of the loop, after its descriptor was given to another owner or to nobody."""
        if self.flags & DIRTY:
            self.dirty_remove()
        if self.flags & RECENT:
            self.recent_remove()
        self.polled_remove()
        if self.flags & (TIMED | SLOWED | SLOWED_OUTPUT):
            if self.flags & TIMED:
                self.loop.timed.pop(self.key_fd).cancel()
            slowed = self.loop.slowed.pop(self.key_fd, None)
            if slowed is not None:
                self.loop.slowed_count = len(self.loop.slowed)
                slowed[0].cancel()
            self.flags &= ~(TIMED | SLOWED | SLOWED_OUTPUT)
        self.loop.figures.received += self.received_size
        self.loop.figures.sent += self.sent_size
        self.received_size = self.sent_size = 0
        self.loop = None
        self.key_fd = -1
        cyn_add_int(&self.traits.users, -1)
        return 0

    cdef int put(self, Registry loop, int fd) except -1:
        """Joins the loop and its map. OSError if ``fd`` is not open, RuntimeError if the loop is closed."""
        loop.check("add_channel")
        loop.check_fork()
        if self.its_socket() is None or (self.flags & DIRECT and fileno_of(self.sock) != fd):
            if cyn_fcntl(fd, F_GETFD) < 0:  # a foreign object may name any number
                raise failure(errno, f"{self!r} fd {fd} cannot be added")
        if self.key_fd >= 0 and self.key_fd != fd:
            if loop.map.get(self.key_fd) is self:
                take_out(loop, self.key_fd)
            else:
                self.leave_loop()
        self.enter(loop, fd)
        return loop.map_put(fd, self)

    cdef int reclass(self) except -1:
        """Reads its class again, because it has another one."""
        cdef Traits traits = traits_of(type(self))
        if self.loop is None or traits.kind is not type(self):
            return 0  # code of its metaclass has taken it out of the loop, or has given it another class again
        cyn_add_int(&self.traits.users, -1)
        self.traits = traits
        cyn_add_int(&self.traits.users, 1)
        self.loop.note_kind(self.traits)
        self.classify()
        return self.interest_changed()

    cdef int classify(self) except -1:
        """Decides whether its predicates must be asked. They must, unless a subclass knows what it wants."""
        return self.polled_add()

    # The lists of the loop

    cdef int polled_add(self) except -1:
        if self.polled_index < 0:
            self.loop.polled.append(self)
            self.polled_index = <int> len(self.loop.polled) - 1
        return 0

    cdef int polled_remove(self) except -1:
        cdef Registry loop = self.loop
        cdef Watcher last
        if self.polled_index < 0:
            return 0
        if loop.sweeping:
            loop.polled[self.polled_index] = None
            loop.polled_gaps += 1
        else:
            last = <Watcher> loop.polled[len(loop.polled) - 1]
            loop.polled[self.polled_index] = last
            last.polled_index = self.polled_index
            loop.polled.pop()
            if loop.sweep_left > 0:
                loop.sweep_left = len(loop.polled)  # the last one may have moved behind the sweep's place
        self.polled_index = -1
        return 0

    cdef int dirty_add(self) except -1:
        """Puts it on the dirty list, to be asked before the next wait. A wait in progress goes on."""
        cdef Registry loop = self.loop
        if CYN_FREE_THREADS and loop.runs_elsewhere():
            return 0  # no lock guards the list; after a wake the recent channels are asked
        loop.dirty.append(self)
        self.dirty_index = <int> len(loop.dirty) - 1
        self.flags |= DIRTY
        if loop.hosted and loop.depth == 0:
            loop.wake()
        return 0

    cdef int dirty_remove(self) except -1:
        """Takes it off the dirty list at once. There may be no tick to do so: other code may poll the map."""
        cdef Registry loop = self.loop
        cdef Py_ssize_t at = self.dirty_index
        self.flags &= ~DIRTY
        if at < len(loop.dirty) and loop.dirty[at] is self:
            loop.dirty[at] = None
            loop.dirty_gaps += 1
            if loop.dirty_gaps > 16 and loop.dirty_gaps * 2 > len(loop.dirty):
                renumber_dirty(loop)
        elif loop.asking is not None and at < len(loop.asking) and loop.asking[at] is self:
            loop.asking[at] = None
        return 0

    cdef int recent_add(self) except -1:
        """Makes it recent, after an event, an assignment or a new answer."""
        cdef Registry loop = self.loop
        cdef Watcher other
        cdef int _tries
        self.idle_passes = 0
        if self.flags & RECENT:
            return 0
        if len(loop.recent) < RECENT_MOST:
            loop.recent.append(self)
            self.recent_index = <int> len(loop.recent) - 1
            self.flags |= RECENT
            return 0
        if loop.asking_recent:
            return 0
        for _tries in range(4):  # the list is full: takes the place of one that gave no new answer lately
            loop.recent_next = (loop.recent_next + 1) % <int> len(loop.recent)
            other = <Watcher> loop.recent[loop.recent_next]
            if other.idle_passes:
                other.flags &= ~RECENT
                loop.recent[loop.recent_next] = self
                self.recent_index = loop.recent_next
                self.flags |= RECENT
                break
        return 0

    cdef int recent_remove(self) except -1:
        cdef Registry loop = self.loop
        cdef Watcher last
        self.flags &= ~RECENT
        if loop.asking_recent:  # the list is being walked: leave a gap
            loop.recent[self.recent_index] = None
            loop.recent_gaps = True
            return 0
        last = <Watcher> loop.recent[len(loop.recent) - 1]
        loop.recent[self.recent_index] = last
        last.recent_index = self.recent_index
        loop.recent.pop()
        return 0

    # What is wanted

    cdef object subject(self):
        """Returns the object whose methods are called."""
        return self

    cdef object its_socket(self):
        return self.sock

    cdef unsigned ask(self) except? 0xFFFFFFFF:
        """Calls the predicates, and returns their answers as a mask. Raises what they raise."""
        subject = self.subject()
        cdef unsigned answers = 0
        if subject.readable():
            answers = CYN_READ | CYN_PRI
        if subject.writable() and not subject.accepting:
            answers |= CYN_WRITE
        return answers

    cdef unsigned interest(self) except? 0xFFFFFFFF:
        """Returns the mask that it wants now, by the last answers of its predicates."""
        return self.answers

    cdef int arm(self) except -1:
        """Gives the poller its interest. The kernel gets it with the next `apply`."""
        cdef Registry loop = self.loop
        cdef unsigned wanted
        if loop is None:
            return 0
        wanted = self.interest()
        if self.flags & (HELD | SLOWED | SLOWED_OUTPUT):
            if self.flags & HELD:
                if not wanted & CYN_READ:
                    wanted = 0
                else:
                    self.flags &= ~HELD
            if self.flags & (SLOWED | SLOWED_OUTPUT):
                wanted &= 0 if self.flags & SLOWED else ~<unsigned> CYN_WRITE
        if self.flags & PENDING_LATER and wanted & CYN_READ:
            self.flags &= ~PENDING_LATER
            self.deliver_pending()
        if self.loop is not loop:
            return 0  # code of the program, such as pending() of its socket, has closed it
        return loop.want(self.key_fd, wanted)

    cdef int answered(self, unsigned answers) except -1:
        self.answers = answers
        return self.arm()

    cdef int ask_soon(self) except -1:
        """Puts it on the dirty list, to be asked before the next wait, and ends a wait that is in progress."""
        if not self.flags & DIRTY:
            self.dirty_add()
        return 0 if self.loop is None else self.loop.changed()  # None: a `wake` of the program's has closed it

    cdef int interest_changed(self) except -1:
        """Called when its state has changed. Gives the poller its interest, after its predicates if it has any."""
        if self.loop is not None and self.polled_index >= 0:
            return self.ask_soon()
        return self.arm()

    # Events

    cdef int on_read(self) except -1:
        self.subject().handle_read_event()
        return 0

    cdef int on_write(self) except -1:
        self.subject().handle_write_event()
        return 0

    cdef int on_urgent(self) except -1:
        self.subject().handle_expt_event()
        return 0

    cdef int on_close(self) except -1:
        self.subject().handle_close()
        return 0

    cdef int on_error(self) except -1:
        if self.loop is not None:
            self.loop.figures.errors += 1
        self.subject().handle_error()
        return 0

    cdef int failed(self, object error) except -1:
        """Called in an except clause with what a handler raised: calls handle_close or handle_error, or ignores it."""
        if isinstance(error, OSError):
            if self.flags & ACCEPT_EMFILE:
                return 0  # out of descriptors: the listener has backed off
            if self.flags & RECV_EAGAIN and isinstance(error, BlockingIOError):
                return 0  # a spurious event: there was nothing to read
            if error.errno in DISCONNECTED:
                return lost(self)
        return self.on_error()

    cdef Py_ssize_t output_waiting(self) except -1:
        """Returns how many bytes it keeps that are to be sent."""
        return 0

    # A TLS socket may hold bytes that it has read from the kernel already. The kernel reports no event for those.

    cdef int pending(self) except -1:
        """Returns how many bytes the socket object has read from the kernel and recv has not returned yet."""
        pending = getattr(self.its_socket(), "pending", None)
        if not callable(pending):
            return 0
        count = pending()
        return count if isinstance(count, int) and count > 0 else 0

    cdef int deliver_pending(self) except -1:
        """Queues another read event for the next tick, if there are such bytes."""
        if self.key_fd >= 0 and not self.flags & PENDING and self.pending() > 0 and self.loop is not None:
            self.flags |= PENDING
            self.loop.queue(_read_pending, (self, self.its_socket()))
        return 0


def _read_pending(Watcher watcher not None, sock):
    cdef Registry loop = watcher.loop
    watcher.flags &= ~PENDING
    if loop is None or watcher.its_socket() is not sock:
        return
    if not watcher.interest() & CYN_READ:
        watcher.flags |= PENDING_LATER  # arm() queues the event when reading is wanted
        return
    watcher.flags &= ~(RECV_EAGAIN | ACCEPT_EMFILE)
    try:
        watcher.on_read()
        if watcher.loop is loop and watcher.its_socket() is sock:
            watcher.deliver_pending()
    except EXITS:
        raise
    except BaseException as error:
        watcher.failed(error)
    if watcher.loop is loop and watcher.polled_index >= 0:
        watcher.ask_soon()


cdef class Foreign(Watcher):
    """The watcher of an object in the map that is not a `Channel`, or of a channel under a second descriptor."""

    def __repr__(self):
        return repr(self.target)

    cdef object subject(self):
        return self.target


cdef int lost(Watcher watcher) except -1:
    """Called in an except clause: tells that the connection is lost."""
    try:
        return watcher.on_close()
    except EXITS:
        raise
    except BaseException:  # perhaps its farewell, which fails: told to handle_error
        return watcher.on_error()


cdef int detach(Registry loop, int fd) except -1:
    """Takes the owner of ``fd`` out of the loop, and leaves it in the map."""
    before = loop.unregister(fd)
    if before is not None:
        (<Watcher> before).leave_lists()
    return 0


cdef int take_out(Registry loop, int fd) except -1:
    """Takes the owner of ``fd`` out of the loop and out of its map."""
    _before = loop.map.get(fd)
    detach(loop, fd)
    return loop.map_remove(fd)


cdef int close_polled(Registry loop) except -1:
    """Closes the gaps in `polled` that watchers left when they went during a sweep."""
    cdef Py_ssize_t at
    if loop.polled_gaps:
        loop.polled = [watcher for watcher in loop.polled if watcher is not None]
        loop.polled_gaps = 0
        for at in range(len(loop.polled)):
            (<Watcher> loop.polled[at]).polled_index = <int> at
        if loop.sweep_left > 0:
            loop.sweep_left = len(loop.polled)  # places have changed, so the sweep makes a whole round
    return 0


cdef int close_recent(Registry loop) except -1:
    """Takes the gaps and the watchers that were idle for long out of `recent`."""
    cdef Watcher watcher
    cdef list kept = [
        entry for entry in loop.recent if entry is not None and (<Watcher> entry).idle_passes <= RECENT_PASSES
    ]
    for entry in loop.recent:
        if entry is not None:
            (<Watcher> entry).flags &= ~RECENT
    loop.recent = kept
    loop.recent_gaps = False
    for at, entry in enumerate(kept):
        watcher = <Watcher> entry
        watcher.flags |= RECENT
        watcher.recent_index = at
    return 0


cdef int renumber_dirty(Registry loop) except -1:
    loop.dirty = [entry for entry in loop.dirty if entry is not None]
    loop.dirty_gaps = 0
    for at, entry in enumerate(loop.dirty):
        (<Watcher> entry).dirty_index = at
    return 0
