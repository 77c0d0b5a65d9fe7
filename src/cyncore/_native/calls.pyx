# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Calls to be made: soon, from another thread, or at a time.

The queue is one list, so that calls keep the order in which they were asked for, whichever thread asked. A tick takes
the list as it stands; under the GIL an append and that swap are atomic, and in a free-threaded build a critical section
makes them so. The timer heap holds plain C pointers, which the garbage collector cannot see: `kept` holds the same
handles in a list that it can, each knowing its place there. The list keeps its length when timers go, as one that
shrinks and grows by one allocates each time: None fills it up.
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

cdef double LATEST = _rules.LATEST


@cython.no_gc_clear
cdef class Handle:
    """A call that is queued. The ``call_`` methods of a loop make it."""

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
    """A call at a time. ``call_later`` and ``call_at`` of a loop make it."""

    def __cinit__(self):
        self.timer.place = CYN_TIMER_IDLE

    def __dealloc__(self):
        # The collector may empty `kept` first. With no_gc_clear, `calls` is still there: the heap must not point here.
        if self.calls is not None:
            cyn_timers_cancel(&self.calls.timers, &self.timer)

    def cancel(self):
        """Cancels the call, and drops the callback and its arguments. Does nothing the second time. O(log n)."""
        if self.calls is not None and cyn_timers_cancel(&self.calls.timers, &self.timer) > 0:
            self.calls.forget(self)
        self.let_go()

    def when(self):
        """The time of the call, in seconds of `Loop.time`."""
        return self.at


@cython.no_gc_clear
cdef class Calls:
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
        """Makes what is queued the batch that `next` returns one by one, after what an earlier batch has left."""
        with cython.critical_section(self):
            if self.at < len(self.batch):
                self.queued = self.batch[self.at:] + self.queued
            self.batch = self.queued
            self.at = 0
            self.queued = []
        return 0

    cdef Handle next(self):
        """The next call of the batch, or None. A loop that runs inside a call begins a batch of its own."""
        if self.at >= len(self.batch):
            return None
        cdef Handle handle = <Handle> self.batch[self.at]
        self.batch[self.at] = None
        self.at += 1
        return handle

    cdef TimerHandle add_timer(self, double when, object callback, tuple args, int64_t earliest):
        cdef TimerHandle handle = TimerHandle.__new__(TimerHandle)
        if not isfinite(when) or when > LATEST:
            raise _rules.bad_time(when)
        handle.callback = callback
        handle.args = args
        handle.calls = self
        handle.at = when
        # The first nanosecond at which Loop.time() has reached `when`: rounding must not make a timer early.
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
        return handle

    cdef TimerHandle due(self, int64_t now, uint64_t newer):
        """Takes out the next timer that is due, or returns None. Timers added after the mark `newer` wait."""
        cdef cyn_timer *timer = cyn_timers_due(&self.timers, now, newer)
        if timer is NULL:
            return None
        # The timer is a member of its handle, and `kept` holds the handle: step back from one to the other.
        cdef TimerHandle probe = <TimerHandle> self.kept[0]
        cdef Py_ssize_t offset = <char *> &probe.timer - <char *> <void *> probe
        cdef TimerHandle handle = <TimerHandle> <void *> (<char *> timer - offset)
        self.forget(handle)
        return handle

    cdef int forget(self, TimerHandle handle) except -1:
        """Takes a handle out of `kept`; the last one moves to its place."""
        cdef Py_ssize_t size = len(self.kept)
        if handle.kept_at >= size:
            return 0  # emptied by the collector
        self.kept_count -= 1
        cdef TimerHandle last = <TimerHandle> self.kept[self.kept_count]
        self.kept[handle.kept_at] = last
        last.kept_at = handle.kept_at
        self.kept[self.kept_count] = None
        if size >= 64 and self.kept_count <= size >> 2:  # what a crowd of timers has left behind
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
