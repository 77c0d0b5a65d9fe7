# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Calls: the queued calls and the timers of a loop.

Queued calls are in one list, so that they are made in the order in which they were queued, by any thread. A tick takes
the whole list and leaves an empty one. The GIL makes this atomic; in a build without it, a critical section does.

The timer heap of csrc holds C pointers, which the garbage collector cannot see. So the list `kept` holds the handles
too, and each handle knows its place in it. When a timer goes, the list keeps its length and is filled up with None,
because a list that shrinks and grows by one allocates memory each time.
"""

import cython

from libc.math cimport ceil, isfinite
from libc.stdint cimport int64_t, uint64_t

from .csrc cimport (
    CYN_TIMER_IDLE,
    cyn_timer,
    cyn_timers_add,
    cyn_timers_cancel,
    cyn_timers_due,
    cyn_timers_free,
    cyn_timers_next,
)

from .. import _rules
from .traits import guard

cdef double LATEST = _rules.LATEST


@cython.no_gc_clear
cdef class Handle:
    """A queued call, as returned by `Loop.call_soon` and `Loop.call_soon_threadsafe`."""

    def __init__(self):
        raise TypeError(f"{type(self).__name__} is made by a loop's call_ methods")

    cdef int run(self) except -1:
        if not self.is_cancelled:
            self.callback(*self.args)
        return 0

    def cancel(self):
        """Cancels the call, and drops the callback and its arguments. Does nothing the second time."""
        self.let_go()

    cdef int let_go(self) except -1:
        self.is_cancelled = True
        self.callback = None
        self.args = None
        return 0

    def cancelled(self):
        """Returns True if `cancel` was called."""
        return self.is_cancelled

    def __repr__(self):
        what = "cancelled" if self.is_cancelled else repr(self.callback)
        return f"<cyncore.{type(self).__name__} {what}>"


@cython.no_gc_clear
cdef class TimerHandle(Handle):
    """A timer, as returned by `Loop.call_later` and `Loop.call_at`."""

    def __cinit__(self):
        self.timer.place = CYN_TIMER_IDLE

    def __dealloc__(self):
        # The heap must not point here any more. Even if the collector has emptied `kept` before, no_gc_clear has kept
        # `calls`.
        if self.calls is not None:
            cyn_timers_cancel(&self.calls.timers, &self.timer)

    def cancel(self):
        """Cancels the call, and drops the callback and its arguments. Does nothing the second time. O(log n).

        RuntimeError in debug mode, if another thread runs the loop.
        """
        if self.is_checked:
            self.check_thread()
        if self.calls is not None:
            self.calls.stop_timer(self)
        self.let_go()

    cdef int check_thread(self) except -1:
        loop = None if self.calls is None else self.calls.owner()
        if loop is not None and not loop.closed:
            loop._check_cancel()
        return 0

    def when(self):
        """Returns when the call is due, in seconds of `Loop.time`."""
        return self.at


@cython.no_gc_clear
cdef class Calls:
    """The queued calls and the timers of one loop. The loop takes out those that are due, and makes them."""

    def __cinit__(self):
        self.queued = []
        self.batch = []
        self.kept = []

    def __dealloc__(self):
        cyn_timers_free(&self.timers)

    cdef int add(self, Handle handle) except -1:
        with cython.critical_section(self):
            self.queued.append(handle)
        return 0

    cdef int begin(self) except -1:
        """Begins a batch of all queued calls, for `next`. Calls that are left of the last batch come first."""
        with cython.critical_section(self):
            if self.at < len(self.batch):
                self.queued = self.batch[self.at:] + self.queued
            self.batch = self.queued
            self.at = 0
            self.queued = []
        return 0

    cdef Handle next(self):
        """Takes out the next call of the batch, or returns None. A loop that runs inside a call begins a new batch."""
        if self.at >= len(self.batch):
            return None
        cdef Handle handle = <Handle> self.batch[self.at]
        self.batch[self.at] = None
        self.at += 1
        return handle

    cdef TimerHandle add_timer(self, double when, object callback, tuple args, int64_t earliest):
        cdef TimerHandle handle = TimerHandle.__new__(TimerHandle)
        handle.callback = callback
        handle.args = args
        self.put_timer(handle, when, earliest)
        return handle

    cdef int put_timer(self, TimerHandle handle, double when, int64_t earliest) except -1:
        """Sets a timer that is not set."""
        if not isfinite(when) or when > LATEST:
            raise _rules.bad_time(when)
        handle.calls = self
        handle.at = when
        # The first nanosecond at which Loop.time() has reached `when`: rounding must not make a timer due early.
        cdef int64_t due = <int64_t> ceil(max(when, 0.0) * 1e9)
        while due / 1e9 < when:
            due += 1
        if cyn_timers_add(&self.timers, &handle.timer, max(due, earliest)) < 0:
            raise MemoryError
        if self.kept_count < len(self.kept):
            self.kept[self.kept_count] = handle
        else:
            self.kept.append(handle)
            self.kept_count = len(self.kept) - 1  # which it was, unless the collector has emptied the list
        handle.kept_at = self.kept_count
        self.kept_count += 1
        return 0

    cdef int stop_timer(self, TimerHandle handle) except -1:
        """Takes a timer out, if it is set. It may be set again."""
        if cyn_timers_cancel(&self.timers, &handle.timer) > 0:
            self.forget(handle)
        return 0

    cdef TimerHandle due(self, int64_t now, uint64_t newer):
        """Takes out the next timer that is due, or returns None. Timers added after the mark `newer` are left out."""
        cdef cyn_timer *timer = cyn_timers_due(&self.timers, now, newer)
        if timer is NULL:
            return None
        # The timer is a member of its handle. The distance between the two is that in any handle, such as the first.
        cdef TimerHandle probe = <TimerHandle> self.kept[0]
        cdef Py_ssize_t offset = <char *> &probe.timer - <char *> <void *> probe
        cdef TimerHandle handle = <TimerHandle> <void *> (<char *> timer - offset)
        self.forget(handle)
        return handle

    cdef int forget(self, TimerHandle handle) except -1:
        """Takes a handle out of `kept`, and moves the last one to its place."""
        cdef Py_ssize_t size = len(self.kept)
        if handle.kept_at >= size:
            return 0  # the collector has emptied the list
        self.kept_count -= 1
        cdef TimerHandle last = <TimerHandle> self.kept[self.kept_count]
        self.kept[handle.kept_at] = last
        last.kept_at = handle.kept_at
        self.kept[self.kept_count] = None
        if size >= 64 and self.kept_count <= size >> 2:  # gives back memory when most of many timers are gone
            del self.kept[size >> 1:]
        return 0

    cdef int64_t next_due(self):
        return cyn_timers_next(&self.timers)

    cdef int clear(self) except -1:
        cyn_timers_free(&self.timers)
        self.kept = []
        self.kept_count = 0
        self.queued = []
        self.batch = []
        self.at = 0
        return 0


guard(TimerHandle)
