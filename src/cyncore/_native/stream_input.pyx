# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""StreamInput: what a stream receives, and how its handlers get it: as it comes, or in frames.

Facts that shape it:
- A handler may close, abort or pause its stream, change its framing, or run the loop. So nothing that was read from the
  loop's scratch before a call into Python is used after it.
- A session (TLS) may hold input that the kernel reports no event for.
- A hang-up may come together with the last bytes, and while the program has paused the stream.
"""

import os

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport (
    PyByteArray_AS_STRING,
    PyByteArray_FromStringAndSize,
    PyByteArray_GET_SIZE,
    PyByteArray_Resize,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from .channel cimport Channel, count_received
from .csrc cimport MSG_DONTWAIT, cyn_recv
from .plain_socket cimport fileno_of
from .registry cimport SCRATCH, Registry, tick_time
from .settings cimport (
    BATCH,
    FOUND,
    INCOMPLETE,
    NO_FRAMES,
    OTHER_FRAMES,
    TOO_LONG,
    Settings,
    find_frame,
    find_frames,
    frame,
    too_long,
)
from .stream_output cimport (
    CUT_NESTED,
    CUT_QUEUED,
    CUTTING,
    DISCARDED,
    EOF_RECEIVED,
    EOF_TOLD,
    GONE,
    LOST,
    NO_INPUT,
    READ_NEEDS_WRITE,
    STEPPING,
    TIMED,
    WANT_READ,
    WANT_WRITE,
    ZERO_RETURN,
    Extra,
    StreamOutput,
)
from .watcher cimport DIRECT, PAUSED

from .. import _framing
from .._rules import LimitExceeded

cdef extern from "Python.h":
    object PyObject_CallMethodOneArg(object self, object name, object argument)
    object PyMemoryView_FromMemory(char *memory, Py_ssize_t size, int flags)
    int PyBUF_WRITE

cdef int RECORDS = 8        # records of a session that are read for one event
cdef int HELD_RECORDS = 64  # records that are taken, at most, before close_notify is sent


cdef object scratch_view_of(Registry loop):
    """Returns the loop's scratch as a memoryview."""
    if loop.scratch_view is None:
        loop.scratch_view = PyMemoryView_FromMemory(loop.scratch, SCRATCH, PyBUF_WRITE)
    return loop.scratch_view


cdef inline int received_natively(StreamInput stream, const char *data, Py_ssize_t size) except -1:
    """Input came for handlers in Cython. `data` stays as it is until this returns."""
    if stream.settings.kind == NO_FRAMES and stream.held is None and not stream.life & CUTTING:
        if stream.life & TIMED:
            stream.note_input()
        stream.handle_bytes(data, size)
        return 0
    return stream.take_framed(data, size)


cdef hand *hand_of(StreamInput stream):
    """Returns the read whose frames the stream delivers now, or NULL."""
    cdef Registry loop = stream.its_loop()
    cdef hand *found = NULL
    if stream.life & CUTTING and loop is not None:
        found = <hand *> loop.in_hand
        while found is not NULL and found.stream is not <void *> stream:
            found = found.outer
    return found


cdef class StreamInput(StreamOutput):
    """The part of a stream that receives."""

    @property
    def unread(self):
        """The bytes that were received and given to no handler yet."""
        cdef hand *found = hand_of(self)
        held = b"" if self.held is None else bytes(self.held)
        if found is NULL:
            return held
        return PyBytes_FromStringAndSize(found.data + found.at, found.size - found.at) + held

    cdef int pending(self) except -1:
        cdef Extra extra = self.extra
        if extra is None or extra.session is None or self.life & (STEPPING | GONE):
            return 0
        return extra.session_pending()

    # Reading

    cdef int read_some(self) except -1:
        cdef Registry loop = self.loop
        cdef Py_ssize_t got
        cdef int error
        if self.flags & DIRECT:
            while True:
                got = cyn_recv(fileno_of(self.sock), loop.scratch, SCRATCH, MSG_DONTWAIT)
                if got >= 0:
                    break
                error = errno
                if error == EAGAIN:
                    return 0
                if error != EINTR:
                    return self.end(OSError(error, os.strerror(error)))
            if got == 0:
                return self.input_ended()
            count_received(self, loop, got)
            return self.received_bytes(PyBytes_FromStringAndSize(loop.scratch, got))
        try:
            data = self.sock.recv(SCRATCH)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as failure:
            return self.end(failure)
        if not data:
            return self.input_ended()
        count_received(self, loop, len(data))
        return 0 if self.life & GONE else self.received_bytes(data)  # GONE: a method of the program's has ended it

    cdef int discard_some(self) except -1:
        """Reads what nobody wants any more, because the stream closes."""
        cdef Registry loop = self.loop
        cdef Py_ssize_t got
        cdef int error
        if loop is None:
            return 0  # it was taken out of the map by hand
        if self.flags & DIRECT:
            got = cyn_recv(fileno_of(self.sock), loop.scratch, SCRATCH, MSG_DONTWAIT)
            if got < 0:
                error = errno
                return 0 if error == EAGAIN or error == EINTR else self.end(OSError(error, os.strerror(error)))
        else:
            try:
                if self.extra is not None and self.extra.session is not None:
                    got = self.extra.session_read(SCRATCH, scratch_view_of(loop))
                else:
                    got = len(self.sock.recv(SCRATCH))
            except OSError as failure:
                if isinstance(failure, (BlockingIOError, InterruptedError)) or failure.errno == WANT_READ:
                    return 0
                if failure.errno == WANT_WRITE:
                    self.life |= READ_NEEDS_WRITE
                    return self.arm()
                got = 0  # there is no input any more; whether output can leave, sending tells
        self.life |= DISCARDED
        if got > 0:
            count_received(self, loop, got)
        if got == 0:
            self.life |= EOF_RECEIVED
            if self.extra is not None and self.extra.linger is not None:
                return self.end(None)
            self.arm()
        return 0

    cdef int read_session(self) except -1:
        cdef Registry loop
        cdef Py_ssize_t got
        cdef int _record
        cdef Extra extra = self.extra
        for _record in range(RECORDS):
            loop = self.loop
            try:
                got = extra.session_read(SCRATCH, scratch_view_of(loop))
            except OSError as failure:
                return self.read_failed(failure)
            if got == 0:
                return self.input_ended()
            count_received(self, loop, got)
            if self.life & GONE:
                break  # the handler of a signal has ended it
            self.received_bytes(PyBytes_FromStringAndSize(loop.scratch, got))
            if self.life & NO_INPUT or self.flags & PAUSED or self.loop is None:
                break
            if extra.session is None or <int> extra.session_pending() == 0:
                return 0
        if not self.life & (GONE | STEPPING) and self.loop is not None:
            self.deliver_pending()
        return 0

    cdef int hold_session(self) except -1:
        """Takes the input that is there, for later: OpenSSL throws away what comes between close_notify and its answer
        if it looks for that answer, and CPython's ssl module has it look.
        """
        cdef Py_ssize_t got
        cdef int _record
        cdef Registry loop = self.loop
        for _record in range(HELD_RECORDS):
            if loop is None or self.life & GONE:
                break  # it was taken out of the map by hand, or the handler of a signal has ended it
            try:
                got = self.extra.session_read(SCRATCH, scratch_view_of(loop))
            except OSError as failure:
                if failure.errno == ZERO_RETURN:
                    self.life |= EOF_RECEIVED
                elif failure.errno != WANT_READ and failure.errno != WANT_WRITE:
                    self._session_failed(failure)
                break
            if got == 0:
                self.life |= EOF_RECEIVED
                break
            if self.held is None:
                self.held = bytearray()
            count_received(self, loop, got)
            self.held += PyBytes_FromStringAndSize(loop.scratch, got)
        self._cut_soon()
        return 0

    cdef int read_into_buffer(self) except -1:
        cdef Py_buffer buffer
        cdef Py_ssize_t got = 0
        cdef int error = 0
        target = self.get_buffer(SCRATCH)
        if self.life & NO_INPUT or self.flags & PAUSED or self.loop is None:
            return 0  # get_buffer has closed or paused the stream
        if self.extra is not None and self.extra.session is not None or not self.flags & DIRECT:
            with memoryview(target) as given, given.cast("B") as view:
                if not len(view):
                    raise ValueError(f"{self!r}: get_buffer returned an empty buffer")
                try:
                    if self.extra is not None and self.extra.session is not None:
                        got = self.extra.session_read(len(view), view)
                    else:
                        got = self.sock.recv_into(view)
                except OSError as failure:
                    return self.read_failed(failure)
        else:
            PyObject_GetBuffer(target, &buffer, PyBUF_WRITABLE)
            try:
                if buffer.len == 0:
                    raise ValueError(f"{self!r}: get_buffer returned an empty buffer")
                got = cyn_recv(fileno_of(self.sock), buffer.buf, buffer.len, MSG_DONTWAIT)
                error = errno
            finally:
                PyBuffer_Release(&buffer)
            if got < 0:
                if error == EAGAIN or error == EINTR:
                    return 0
                return self.end(OSError(error, os.strerror(error)))
        if got == 0:
            return self.input_ended()
        if self.loop is not None:
            count_received(self, self.loop, got)
        self.note_input()
        self.buffer_updated(got)
        if self.extra is not None and self.extra.session is not None and self.loop is not None:
            self.deliver_pending()
        return 0

    cdef int read_failed(self, object failure) except -1:
        if self.extra is None or self.extra.session is None:
            if isinstance(failure, (BlockingIOError, InterruptedError)):
                return 0
            return self.end(failure)
        if failure.errno == WANT_READ:
            return 0
        if failure.errno == ZERO_RETURN:
            return self.input_ended()
        if failure.errno == WANT_WRITE:
            self.life |= READ_NEEDS_WRITE
            return self.arm()
        self._session_failed(failure)
        return 0

    cdef int read_natively(self) except -1:
        """Reads for handlers in Cython: into memory that stays theirs until they return, whatever they do.

        A class that takes frames together is read for so, too: they are cut out of that memory.
        """
        cdef Registry loop = self.loop
        cdef char *lent
        cdef Py_ssize_t got
        cdef int error = 0
        if not self.flags & DIRECT:
            return self.read_some()
        lent = loop.lent
        loop.lent = NULL
        if lent is NULL:
            lent = <char *> malloc(SCRATCH)
            if lent is NULL:
                raise MemoryError
        try:
            got = cyn_recv(fileno_of(self.sock), lent, SCRATCH, MSG_DONTWAIT)
            if got > 0:
                count_received(self, loop, got)
                received_natively(self, lent, got)
            else:
                error = errno
        finally:
            if loop.lent is NULL:
                loop.lent = lent
            else:  # the handler has run the loop, which has read for another one
                free(lent)
        if got == 0:
            return self.input_ended()
        if got < 0 and error != EAGAIN and error != EINTR:
            return self.end(OSError(error, os.strerror(error)))
        return 0

    cdef int received_bytes(self, bytes data) except -1:
        """Input came."""
        if self.settings.is_native:
            return received_natively(self, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        if self.settings.kind == NO_FRAMES and self.held is None and not self.life & CUTTING:
            if self.life & TIMED:
                self.note_input()
            PyObject_CallMethodOneArg(self, "handle_data", data)
            return 0
        return self.take_framed(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    # Handlers in Cython

    cdef int handle_bytes(self, const char *data, Py_ssize_t size) except? -1:
        PyObject_CallMethodOneArg(self, "handle_data", PyBytes_FromStringAndSize(data, size))
        return 0

    cdef int handle_frame_bytes(self, const char *data, Py_ssize_t size) except? -1:
        PyObject_CallMethodOneArg(self, "handle_frame", PyBytes_FromStringAndSize(data, size))
        return 0

    cdef int note_input(self) except -1:
        if self.life & TIMED and self.loop is not None:
            self.extra.input_at = tick_time(self.loop) / 1e9
        return 0

    cdef int input_ended(self) except -1:
        self.life |= EOF_RECEIVED
        self.arm()
        return self.tell_eof()

    cdef int tell_eof(self) except -1:
        """Calls `handle_eof`, once, after everything that came before the end."""
        cdef unsigned later = CUTTING | CUT_QUEUED | EOF_TOLD | NO_INPUT
        if self.life & (EOF_RECEIVED | later) != EOF_RECEIVED or self.flags & PAUSED:
            return 0
        self.life |= EOF_TOLD
        try:
            self.handle_eof()
        finally:
            self.end_if_over()
        return 0

    def pause_reading(self):
        """Stops the input until `resume_reading`. Does nothing the second time."""
        Channel.pause_reading(self)

    def resume_reading(self):
        """Goes on with the input, first with what was received before. Does nothing if reading is not paused."""
        if not self.flags & PAUSED:
            return
        if self.held is not None or self.life & (EOF_RECEIVED | EOF_TOLD) == EOF_RECEIVED:
            self.cut_later()
        Channel.resume_reading(self)

    # Frames

    cdef int take_framed(self, const char *data, Py_ssize_t size) except -1:
        """Delivers the frames that are whole. `data` stays as it is, whatever handlers do."""
        cdef hand mine
        cdef Registry loop = self.loop
        cdef frame found
        cdef int result = INCOMPLETE
        cdef const char *begin
        cdef Settings settings
        cdef bint is_handling = False
        if self.settings.has_batches:
            return self.take_batch(data, size)
        if self.held is not None or self.life & CUTTING or self.settings.kind == OTHER_FRAMES or loop is None:
            self.hold(data, size)
            if self.life & CUTTING:  # not even more is to be piled up
                self.life |= CUT_NESTED
                return self.arm()
            return self.cut_held()
        self.life |= CUTTING
        mine.stream = <void *> self
        mine.data = data
        mine.at = 0
        mine.size = size
        mine.outer = <hand *> loop.in_hand
        loop.in_hand = &mine
        try:
            while mine.at < mine.size and not self.flags & PAUSED and not self.life & NO_INPUT:
                settings = self.settings
                if settings.kind == NO_FRAMES or settings.kind == OTHER_FRAMES:
                    break
                result = find_frame(settings, data + mine.at, size - mine.at, 0, &found)
                if result != FOUND:
                    break
                begin = data + mine.at + found.begin
                mine.at += found.after
                if self.life & TIMED:
                    self.note_input()
                is_handling = True
                if settings.is_native:
                    self.handle_frame_bytes(begin, found.end - found.begin)
                else:
                    PyObject_CallMethodOneArg(
                        self, "handle_frame", PyBytes_FromStringAndSize(begin, found.end - found.begin)
                    )
                is_handling = False
                result = INCOMPLETE
        finally:
            self.life &= ~CUTTING
            loop.in_hand = mine.outer
            if mine.at < mine.size:
                # A loop that a handler ran may have received more: it comes behind the rest of this.
                rest = PyByteArray_FromStringAndSize(data + mine.at, size - mine.at)
                if self.held is not None:
                    rest += self.held
                self.held = rest
                self.searched = 0
            if self.life & (CUT_NESTED | LOST):
                self.cut_ended()
            if is_handling:
                self.cut_later()  # what comes behind the frame whose handler has failed, if the stream lives on
        if result == TOO_LONG:
            return self.end(too_long(self, settings, &found))
        if self.held is not None:
            return self.cut_held()
        return self.tell_eof() if self.life & EOF_RECEIVED else 0

    cdef int cut_ended(self) except -1:
        """Frames were delivered, whose handlers have run the loop: goes on with what has happened in it."""
        if self.life & CUT_NESTED:
            self.life &= ~CUT_NESTED
            self.arm()
        cdef Registry loop = self.its_loop()
        if self.life & (LOST | GONE) == LOST and loop is not None and not loop.is_closed:
            loop.queue(self._read_last, ())
        return 0

    cdef int take_batch(self, const char *data, Py_ssize_t size) except -1:
        """Delivers the frames of one read as a list. What comes behind them is held before the handler is called."""
        cdef Settings settings = self.settings
        cdef Py_ssize_t at = 0
        cdef frame found
        cdef int result = INCOMPLETE
        cdef list frames
        if self.held is not None or self.life & CUTTING or settings.kind == OTHER_FRAMES:
            self.hold(data, size)
            if self.life & CUTTING:
                self.life |= CUT_NESTED
                return self.arm()
            return self.cut_held()
        frames = find_frames(settings, data, size, &at, &result, &found)
        if at < size:
            self.hold(data + at, size - at)
            self.searched = size - at if result == INCOMPLETE else 0
        if not frames:
            return self.end(too_long(self, settings, &found)) if result == TOO_LONG else 0
        self.deliver(frames, settings.kind)
        if self.held is not None:
            return self.cut_held()
        return self.tell_eof() if self.life & EOF_RECEIVED else 0

    cdef int hold(self, const char *data, Py_ssize_t size) except -1:
        """Keeps input for later, behind what is held already."""
        cdef Py_ssize_t before
        if self.held is None:
            self.held = PyByteArray_FromStringAndSize(data, size)
            self.searched = 0
            return 0
        before = PyByteArray_GET_SIZE(self.held)
        PyByteArray_Resize(self.held, before + size)
        memcpy(PyByteArray_AS_STRING(self.held) + before, data, size)
        return 0

    cdef int cut_held(self) except -1:
        """Delivers what is held, in frames where there are some, and then the end of the input."""
        cdef int kind
        if self.life & CUTTING:
            return 0
        while not self.flags & PAUSED and not self.life & NO_INPUT and self.held is not None:
            kind = self.settings.kind
            piece = self.take_held()
            if piece is None:
                break
            self.deliver(piece, kind)
        return self.tell_eof()

    cdef int deliver(self, object piece, int kind) except -1:
        """Calls the handler for ``piece``, which was taken out of the input: data, a frame, or a list of frames."""
        cdef bint is_handling = True
        self.life |= CUTTING
        try:
            self.note_input()
            if self.settings.is_native:
                self.deliver_natively(piece, kind)
            elif kind == NO_FRAMES:
                PyObject_CallMethodOneArg(self, "handle_data", piece)
            elif type(piece) is list:
                PyObject_CallMethodOneArg(self, "handle_frames", piece)
            else:
                PyObject_CallMethodOneArg(self, "handle_frame", piece)
            is_handling = False
        finally:
            self.life &= ~CUTTING
            if self.life & (CUT_NESTED | LOST):
                self.cut_ended()
            if is_handling:
                self.cut_later()  # what comes behind it, if the stream lives on
        return 0

    cdef object take_held(self):
        """Takes out of `held` what is to be delivered next. Returns None if there is nothing yet."""
        cdef frame found
        cdef Py_ssize_t at = 0
        cdef list frames = [] if self.settings.has_batches and self.settings.kind != NO_FRAMES else None
        piece = None
        self.life |= CUTTING  # the program may look for frames itself
        try:
            while self.find_held(at, &found) and (at == 0 or at + found.after <= BATCH):
                piece = PyBytes_FromStringAndSize(
                    PyByteArray_AS_STRING(self.held) + at + found.begin, found.end - found.begin
                )
                at += found.after
                self.searched = 0
                if frames is None:
                    break
                frames.append(piece)
        finally:
            self.life &= ~CUTTING
        if self.held is not None and at >= PyByteArray_GET_SIZE(self.held):
            self.held = None
        elif self.held is not None and at:
            del self.held[:at]
        return frames if frames else piece

    cdef int deliver_natively(self, bytes piece, int kind) except -1:
        """Hands what was held to a handler in Cython: a copy, as a handler may run the loop, which then takes more."""
        if kind == NO_FRAMES:
            self.handle_bytes(PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece))
        else:
            self.handle_frame_bytes(PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece))
        return 0

    cdef bint find_held(self, Py_ssize_t at, frame *found) except -1:
        """Finds what is to be delivered next of `held`, behind ``at`` bytes. Returns False if there is nothing yet.

        What is wrong behind other frames counts when these were delivered, and it is looked for again.
        """
        cdef Settings settings = self.settings
        cdef Py_ssize_t size
        cdef int result
        if self.held is None:
            return False
        size = PyByteArray_GET_SIZE(self.held) - at
        if size <= 0:
            return False
        if settings.kind == NO_FRAMES:
            found.begin = 0
            found.end = found.after = size
            return at == 0
        if settings.kind == OTHER_FRAMES:
            try:
                place = _framing.find(settings.framing, self.held, at, at + self.searched)
            except Exception as error:
                if at:
                    return False
                if not isinstance(error, LimitExceeded):
                    raise
                self.end(LimitExceeded(f"{self!r}: {error}"))
                return False
            if self.held is None:
                return False
            result = INCOMPLETE if place is None else FOUND
            if place is not None:
                found.begin, found.end, found.after = place[0] - at, place[1] - at, place[2] - at
                size = 0 if self.held is None else PyByteArray_GET_SIZE(self.held) - at
                # compared again: they may be of a class of the program's, which compares as it likes
                if not 0 <= found.begin <= found.end <= found.after <= size or found.after == 0:
                    raise _framing.cannot_be(settings.framing, *place)
        else:
            result = find_frame(settings, PyByteArray_AS_STRING(self.held) + at, size, self.searched, found)
        if result == TOO_LONG and not at:
            self.end(too_long(self, settings, found))
        elif result == INCOMPLETE:
            self.searched = size
        return result == FOUND

    cdef int cut_later(self) except -1:
        cdef Registry loop = self.its_loop()
        if not self.life & (CUT_QUEUED | GONE) and loop is not None:
            self.life |= CUT_QUEUED
            loop.queue(self._cut_again, ())
        return 0

    def _cut_again(self):
        self.life &= ~CUT_QUEUED
        if self.life & GONE:
            return
        try:
            self.cut_held()
        except BaseException as error:
            self.caught(error)
        self.arm()

    def _take_unread(self):
        """Forgets what was received and given to no handler: a pipe has taken it."""
        cdef hand *found = hand_of(self)
        if found is not NULL:
            found.at = found.size
        self.held = None

    def _cut_soon(self):
        """Delivers what is held, in the next tick."""
        if self.held is not None or self.life & (EOF_RECEIVED | EOF_TOLD) == EOF_RECEIVED:
            self.cut_later()
