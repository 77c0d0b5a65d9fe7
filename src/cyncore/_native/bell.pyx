# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Bell: a pipe into which Python writes the number of each signal that comes, so that no wait sleeps through one.

Facts that shape it:
- Python runs the handler of a signal in the main thread, when that thread next runs Python code or asks for signals. A
  signal that comes between that question and the wait would be handled when the wait ends, which may be never. One that
  the kernel gives to another thread does not interrupt the wait either.
- What `signal.set_wakeup_fd` was given is one descriptor for the whole process. Setting it takes two system calls, so
  the loop does it once a run, and not at every wait. See docs/design.md, "Signals".
- An eventfd refuses the single byte that Python writes. So this is a pipe, beside the loop's own wake-up.
- The handler of a signal may raise KeyboardInterrupt between any two steps of Python code. Here none runs: a change and
  the note of it are not torn apart.
"""

import _signal  # what `signal` is made of; that module takes long to import
import os

cdef object _set = _signal.set_wakeup_fd
cdef object _close = os.close  # the last loops go when Python has emptied `os` already
cdef Py_ssize_t SIZE = 4096


cdef bint is_main_thread() except -1:
    """Returns True if this thread runs the handlers of signals. Asks by a call that Python refuses in either case."""
    try:
        _signal.signal(_signal.SIGINT, None)
    except ValueError:  # another thread, or an interpreter within another one
        return False
    except TypeError:  # None is no handler
        pass
    return True


cdef class Bell:
    """Both ends of the pipe. `hang` and `take_down` are for the main thread. OSError if it cannot be opened."""

    def __cinit__(self):
        self.reader = self.writer = -1
        self.others = -1
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.set_blocking(self.writer, False)

    def __dealloc__(self):
        self.close()

    cdef int leave_numbers_of(self, list owners) except -1:
        """Takes other numbers than those in ``owners``. Such a channel's was closed behind its back, which it is told
        as long as nobody else has its number.
        """
        cdef list taken = []
        try:
            while self.reader < len(owners) and owners[self.reader] is not None:
                taken.append(self.reader)
                self.reader = os.dup(self.reader)
            while self.writer < len(owners) and owners[self.writer] is not None:
                taken.append(self.writer)
                self.writer = os.dup(self.writer)
        finally:
            for end in taken:
                if end != self.reader and end != self.writer:
                    os.close(end)
        return 0

    cdef int hang(self) except -1:
        """From now on signals are written here."""
        self.others = _set(self.writer, warn_on_full_buffer=False)
        self.is_hung = True
        return 0

    cdef int take_down(self) except -1:
        """Ends `hang`, unless a handler has had the numbers written elsewhere meanwhile."""
        if not self.is_hung:
            return 0
        self.is_hung = False
        if self.others >= 0:
            self.empty()  # what came last is theirs, too
        try:
            found = _set(self.others, warn_on_full_buffer=False)
        except (OSError, ValueError):  # it has been closed
            found = _set(-1)
        if found != self.writer:
            try:
                _set(found, warn_on_full_buffer=False)
            except (OSError, ValueError):  # so has that of the handler
                _set(-1)
        return 0

    cdef int empty(self) except -1:
        """Takes the numbers out, and passes them on to where the program wants them."""
        while True:
            try:
                numbers = os.read(self.reader, SIZE)
            except OSError:  # it is empty; or closed, behind our back
                return 0
            if numbers and self.others >= 0:
                try:
                    os.write(self.others, numbers)
                except OSError:  # full or closed: a signal would not have got there either
                    pass
            if len(numbers) < SIZE:
                return 0

    cdef int forget(self) except -1:
        """The descriptors were closed behind our back, and may belong to other files by now."""
        self.reader = self.writer = -1
        return 0

    cdef int close(self) except -1:
        """Closes both ends. Does nothing the second time."""
        cdef int end
        for end in (self.reader, self.writer):
            if end >= 0:
                try:
                    _close(end)
                except OSError:  # it was closed behind our back
                    pass
        return self.forget()
