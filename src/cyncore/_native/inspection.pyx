# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Inspection: what a loop tells of itself, and of its channels.

Everything here is read out of what the loop keeps anyway: nothing is measured, and nothing of the program's is called.
"""

from cpython.list cimport PyList_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from .channel cimport Channel
from .csrc cimport (
    CYN_PRI,
    CYN_READ,
    CYN_STAMP,
    CYN_TIMES,
    CYN_TIMES_FIRST,
    CYN_WRITE,
    cyn_clock,
    cyn_poller_wanted,
    cyn_timers_count,
    cyn_times,
)
from .internals cimport CYN_FREE_THREADS
from .plain_socket cimport address_of
from .stream_output cimport (
    CLOSE_WANTED,
    CUT_NESTED,
    CUT_QUEUED,
    EOF_RECEIVED,
    INPUT_HELD,
    READ_NEEDS_WRITE,
    READY,
    STEPPING,
    StreamOutput,
)
from .traits cimport ASK_READ
from .watcher cimport (
    ACCEPTING,
    BACKED_OFF,
    CONNECTED,
    CONNECTING,
    DATAGRAM,
    FOREIGN,
    HELD,
    MUTED,
    PAUSED,
    SLOWED,
    SLOWED_OUTPUT,
    STREAM,
    Foreign,
    Watcher,
)

cdef extern from "Python.h":
    PyObject *PyList_GET_ITEM(object items, Py_ssize_t at) noexcept

cdef tuple WAITING = (  # why a channel does not want to read, and the words for it
    (PAUSED, "pause_reading()"),
    (MUTED, "it has no handle_read()"),
    (BACKED_OFF, "out of descriptors"),
    (HELD, "hung up"),
    (SLOWED, "it fires without end"),
    (SLOWED_OUTPUT, "it is writable without end"),
)
cdef tuple HELD_UP = (  # the same, of a stream
    (INPUT_HELD, "TLS begins"),
    (CUT_QUEUED | CUT_NESTED, "input waits"),
    (READ_NEEDS_WRITE, "TLS writes first"),
    (EOF_RECEIVED, "end of input"),
)


cdef object infos():
    """Returns the module that has the classes of what is told. Most programs never need it."""
    from .. import _inspection

    return _inspection


cdef object histogram_of(const cyn_times *times):
    cdef int at
    return infos().histogram(
        CYN_TIMES_FIRST, tuple([times.counts[at] for at in range(CYN_TIMES)]), times.total, times.most
    )


cdef inline bint is_stream(Watcher watcher) noexcept:
    """Returns True for a stream. One of datagrams reads by itself as well, and is none."""
    return watcher.flags & (STREAM | DATAGRAM) == STREAM


cdef str state_of(Watcher watcher):
    cdef unsigned flags = watcher.flags, life
    if flags & FOREIGN:
        return "foreign"
    if is_stream(watcher):
        life = (<StreamOutput> watcher).life
        if life & CLOSE_WANTED:
            return "closing"
        if (<object> watcher)._pipe is not None:
            return "piped"
        return "handshake" if life & STEPPING else "open" if life & READY else "connecting"
    if flags & DATAGRAM:
        return "closing" if (<object> watcher).closing else "open"
    if flags & ACCEPTING:
        return "listening"
    return "open" if flags & CONNECTED else "connecting" if flags & CONNECTING else "unconnected"


cdef object paused_of(Watcher watcher):
    """Returns why it does not want to read, in words, or None."""
    cdef list found = [words for flag, words in WAITING if watcher.flags & <unsigned> flag]
    if is_stream(watcher):
        found += [words for flag, words in HELD_UP if (<StreamOutput> watcher).life & <unsigned> flag]
    elif not watcher.flags & (FOREIGN | DATAGRAM) and watcher.defines & ASK_READ and not watcher.answers & CYN_READ:
        found.append("readable() is false")
    return ", ".join(found) if found else None


cdef class Inspection(Dispatch):
    """A loop that can be looked into. `Loop` derives from it."""

    def stats(self):
        """Returns what the loop has counted since it was made: a `LoopStats`. Any thread."""
        return infos().LoopStats(
            backend=self.backend_name,
            uptime=(cyn_clock() - self.figures.begun) / 1e9,
            ticks=self.waits,
            events=self.figures.events,
            calls=self.figures.calls,
            sweeps=self.figures.sweeps,
            accepts=self.figures.accepts,
            errors=self.figures.errors,
            bytes_in=self.bytes_of_all(True),
            bytes_out=self.bytes_of_all(False),
            channels=self.owner_count,
            queued_calls=0 if self.is_closed else len(self.calls.queued) + len(self.calls.batch) - self.calls.at,
            timers=0 if self.is_closed else cyn_timers_count(&self.calls.timers),
            lag=histogram_of(&self.figures.lag),
            handler_times=histogram_of(&self.figures.handlers),
        )

    cdef uint64_t bytes_of_all(self, bint is_input) except? 0xFFFFFFFFFFFFFFFF:
        """Of those that have left, the loop has the sum: so nothing is added up for each message."""
        cdef uint64_t sum = self.figures.received if is_input else self.figures.sent
        cdef list owners = list(self.owners) if CYN_FREE_THREADS else self.owners  # another thread may ask
        cdef PyObject *owner
        cdef Py_ssize_t fd
        for fd in range(PyList_GET_SIZE(owners)):
            owner = PyList_GET_ITEM(owners, fd)
            if owner is not <PyObject *> None:
                sum += (<Watcher> owner).received_size if is_input else (<Watcher> owner).sent_size
        return sum

    def channels(self, start=0, most=None):
        """Returns a list of `ChannelInfo`, by descriptor: of the channels from descriptor ``start`` on.

        ``most``: of so many at most; None: of all. ValueError if either is below zero, RuntimeError where the loop is
        closed.
        """
        self.check("channels")
        cdef object module = infos()
        cdef Py_ssize_t fd, left = module.limits(start, most)
        cdef double now = cyn_clock() / 1e9
        cdef list found = []
        for fd in range(min(start, len(self.owners)), len(self.owners)):
            if left == 0:
                break
            if self.owners[fd] is not None:
                found.append(self.info_of(<Watcher> self.owners[fd], now, module))
                left -= 1
        return found

    cdef object info_of(self, Watcher watcher, double now, object infos):
        cdef Channel channel = None if watcher.flags & FOREIGN else <Channel> watcher
        cdef unsigned wanted = cyn_poller_wanted(&self.poller, watcher.key_fd)
        cdef double unit = <double> (1 << CYN_STAMP) / 1e9, age = max(now - watcher.entered * unit, 0.0), idle = age
        cdef object held = (<StreamOutput> watcher).held if is_stream(watcher) else None
        if channel is not None and channel.active > watcher.entered:
            idle = max(now - channel.active * unit, 0.0)
        return infos.channel_info(
            (<Foreign> watcher).target if channel is None else channel,
            self.timed.get(watcher.key_fd),
            now,
            fd=watcher.key_fd,
            peer=None if channel is None else address_of(&channel.peer) if channel.peer.family else channel.address,
            state=state_of(watcher),
            wanted=(wanted & CYN_READ != 0, wanted & CYN_WRITE != 0, wanted & CYN_PRI != 0),
            paused=paused_of(watcher),
            bytes_in=watcher.received_size,
            bytes_out=watcher.sent_size,
            queued=watcher.output_waiting(),
            unread=0 if held is None else len(held),
            age=age,
            idle=None if channel is None else idle,
        )

    def watch_handlers(self, seconds):
        """Has a thread log the traceback of each handler and callback that runs for ``seconds``, while it still runs.

        None: no more. It ends with the loop. The child of a fork must call this again. ValueError for zero or less,
        RuntimeError where gevent or eventlet have replaced threads, or the loop is closed.
        """
        self.check("watch_handlers")
        from .._watchdog import Watchdog

        made = None if seconds is None else Watchdog(self, seconds)
        self.end_watch()
        self.watchdog = made

    cdef int end_watch(self) except -1:
        if self.watchdog is not None:
            self.watchdog.stop()
            self.watchdog = None
        return 0

    def _progress(self):
        """Returns what changes whenever a handler or a call returns, after the thread that runs the loop; None: the
        loop waits, or nobody runs it. Any thread.
        """
        if self.is_closed or self.depth == 0 or self.waiting:
            return None
        return (
            self.owner_thread, self.waits, self.runs, self.figures.calls, self.figures.events, self.sweep_left,
            self.gathered_at,
        )

    def _traffic(self, Py_ssize_t start, Py_ssize_t most):
        """Looks at ``most`` descriptors from ``start`` on. Returns where the next look begins, or -1 at the end, and a
        list of those in use: descriptor, a number that tells its users apart, bytes in, bytes out.
        """
        cdef Py_ssize_t fd, end = min(start + most, <Py_ssize_t> len(self.owners))
        start = max(start, 0)
        cdef list found = []
        cdef Watcher watcher
        for fd in range(start, end):
            if self.owners[fd] is not None:
                watcher = <Watcher> self.owners[fd]
                found.append((fd, watcher.entered, watcher.received_size, watcher.sent_size))
        return (end if end < len(self.owners) else -1), found
