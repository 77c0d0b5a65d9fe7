# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""StreamOutput: what a stream has to send, when that leaves, and how its connection ends.

Facts that shape it:
- What handlers write waits for the end of the tick, so that it leaves in one system call a stream.
- A handler may close or abort its stream, or run the loop. After every call into Python the state is looked at again.
- Other threads write, too. What they write is passed to the thread that runs the loop.
- A session (TLS) must be given output again as it was when the kernel had no room for it.

The way of what is written, from top to bottom:

    write          which thread queues it
    put_output     the queue, the marks, the limit
    flush_later    when it leaves: at the end of the tick
    send_waiting   what leaves: bytes, or a part that sends itself
    send_plain     how bytes leave: copied together, or as they are; send_session does the same for TLS
"""

import os
from collections import deque

import cython

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, EPIPE, errno
from libc.stdlib cimport malloc
from libc.string cimport memcpy

from .channel cimport Channel, count_sent
from .csrc cimport MSG_DONTWAIT, MSG_NOSIGNAL, cyn_clock, cyn_send
from .plain_socket cimport fileno_of
from .registry cimport ARENA, NOT_OURS, SCRATCH, SEND_NOW, SENT_LATER, Registry, registry_of
from .settings cimport Settings, settings_of
from .watcher cimport CONNECTED, CONNECTING, DIRECT, FLUSH_QUEUED, OUTPUT, Watcher

from .. import _rules

cdef extern from "Python.h":
    object PyObject_CallOneArg(object function, object argument)

cdef Py_ssize_t OFFERED = 65536  # bytes that a session is given at once

cdef object EXITS = _rules.EXITS
cdef object LimitExceeded = _rules.LimitExceeded
cdef object IN_ARENA = object()  # as `head`: what waits is in the loop's arena, `waiting` bytes from `head_sent` on


cdef inline bint can_flush(StreamOutput stream) noexcept:
    return stream.life & (READY | STEPPING | GONE) == READY and not stream.flags & OUTPUT


cdef class StreamOutput(Channel):
    """The part of a stream that sends, and that ends it."""

    cdef Registry its_loop(self):
        if self.loop is not None:
            return self.loop
        return None if self.map is None else registry_of(self.map)

    cdef int check_thread(self, str what) except -1:
        """RuntimeError, in debug mode, if another thread runs the loop."""
        cdef Registry loop = self.its_loop()
        if loop is not None and loop.debug and not loop.is_closed:
            loop.check(what)
        return 0

    def _check_thread(self, what):
        self.check_thread(what)

    cdef Extra extras(self):
        cdef Extra made
        if self.extra is None:
            made = Extra.__new__(Extra)
            with cython.critical_section(self):  # two threads may both be the first to write
                if self.extra is None:
                    self.extra = made
        return self.extra

    cdef object crossing(self):
        """What other threads have written, and the loop's thread has not queued yet."""
        cdef Extra extra = self.extras()
        if extra.crossing is None:
            made = deque()
            with cython.critical_section(self):
                if extra.crossing is None:
                    extra.crossing = made
        return extra.crossing

    cdef object its_socket(self):
        return self.sock

    cdef Settings its_settings(self):
        if self.settings is None:
            self.settings = settings_of(self)
        return self.settings

    # Its end

    cdef int end(self, object error) except -1:
        cdef Registry loop = self.its_loop()
        cdef Extra extra = self.extra
        cdef int fd = self.fileno
        if self.life & GONE:
            return 0
        drop_arena(self)
        self.life = self.life & ~(STEPPING | READY | FULL | READ_NEEDS_WRITE | WRITE_NEEDS_READ) | GONE
        self.flags &= ~(CONNECTED | CONNECTING | OUTPUT | FLUSH_QUEUED)
        parts = _parts(self)
        self.head = self.rest = None
        self.head_sent = self.waiting = 0
        sock = self.sock
        self.fileno = -1
        if fd >= 0:
            self.leave(self.map, fd)
        if extra is not None:
            extra.step = extra.retry = extra.crossing = extra.failure = None
            if extra.linger is not None:
                extra.linger.cancel()
                extra.linger = None
            if extra.deadlines is not None:
                if extra.deadlines.calls is not None:
                    extra.deadlines.calls.stop_timer(extra.deadlines)
                extra.deadlines = None
            extra.session = extra.session_read = extra.session_write = extra.session_pending = None
        if sock is not None:
            try:
                self._close_socket(sock)
            except OSError as failure:  # it was closed behind our back
                error = failure if error is None else error
        for part in parts:
            part.close()
        self._gone()
        if loop is not None and not loop.is_closed:
            loop.queue(self._tell_close, (error,))
        return 0

    cdef int end_if_over(self) except -1:
        if self.life & (EOF_TOLD | EOF_SENT) == EOF_TOLD | EOF_SENT:
            self.end(None if self.head is None else BrokenPipeError(EPIPE, os.strerror(EPIPE)))
        return 0

    def _lost(self, error):
        """No more output can be sent. The peer may have said why before: what has come is read first."""
        self.lost(error)

    cdef int lost(self, object error) except -1:
        cdef Registry loop = self.its_loop()
        if self.life & (LOST | GONE):
            return 0
        self.life |= LOST
        self.extras().failure = error
        self.flags &= ~OUTPUT
        drop_arena(self)
        parts = _parts(self)
        self.head = self.rest = None
        self.head_sent = self.waiting = 0
        for part in parts:
            part.close()
        self.arm()
        if loop is None or loop.is_closed:
            return self.end(error)
        loop.queue(self._read_last, ())
        return 0

    def _close_socket(self, sock):
        sock.close()

    def _tell_close(self, error):
        try:
            self.handle_close(error)
        except BaseException as failure:
            self.caught(failure)

    cdef int caught(self, object error) except -1:
        """A handler has raised ``error``, which is being handled."""
        cdef Registry loop = self.its_loop()
        if isinstance(error, EXITS):
            raise error
        if loop is not None:
            loop.figures.errors += 1
        self._fail(error)
        return 0

    cdef int failed(self, object error) except -1:
        return self.caught(error)

    # Writing

    def write(self, data):
        """Queues ``data`` (bytes, bytearray or memoryview), to be sent at the end of the tick. Any thread.

        TypeError for anything else. RuntimeError after `write_eof`. Dropped after `close`, or when the connection is
        gone.
        """
        cdef Py_ssize_t size
        cdef int turn
        if not PyBytes_CheckExact(data):
            data = _rules.check_bytes(data)
        if self.life & NO_WRITING:
            if self.life & EOF_WANTED:
                raise RuntimeError(f"{self!r}: write() after write_eof()")
            return
        size = PyBytes_GET_SIZE(data)
        if size == 0:
            return
        if self.loop is None:
            self.put_early(data, size)
            return
        turn = self.loop.sending()
        if turn == SENT_LATER and (self.extra is None or self.extra.crossing is None):
            self.put_output(data, size, True)
            return
        self.put_outside(data, size, turn)

    cdef int write_bytes(self, const char *data, Py_ssize_t size) except -1:
        """Does what `write` does, for ``size`` bytes at ``data``, which are copied."""
        cdef Registry loop = self.loop
        cdef Py_ssize_t at
        if (
            0 < size <= SCRATCH and loop is not None
            and self.life & (READY | STEPPING | NO_WRITING) == READY
            and (self.extra is None or self.extra.session is None and self.extra.crossing is None)
            and loop.is_sending_later()
        ):
            at = loop.arena_used
            if at + size <= ARENA and loop.arena is not NULL:
                if self.head is None or self.head is IN_ARENA and self.head_sent + self.waiting == at:
                    return put_in_arena(self, loop, at, data, size)
            elif loop.arena is NULL:
                loop.arena = <char *> malloc(ARENA)  # for the next one; without it there are objects
        elif size < 0:
            raise ValueError(f"{self!r}: write_bytes() of {size} bytes")
        StreamOutput.write(self, PyBytes_FromStringAndSize(data, size))
        return 0

    cdef int leave_arena(self) except -1:
        """Makes bytes of what this stream has in the loop's arena."""
        data = PyBytes_FromStringAndSize(self.loop.arena + self.head_sent, self.waiting)
        drop_arena(self)
        self.head = data
        return 0

    cdef int leave_lists(self) except -1:
        if self.head is IN_ARENA:
            try:
                self.leave_arena()
            except MemoryError:
                drop_arena(self)
                self.waiting = 0
                Watcher.leave_lists(self)
                raise
        return Watcher.leave_lists(self)

    def writelines(self, pieces):
        """Queues each of ``pieces``, an iterable of bytes. Any thread. Raises what `write` raises."""
        self.write(b"".join(pieces))

    def write_eof(self):
        """Ends the output when everything queued is sent; reading goes on. Does nothing the second time."""
        if self.life & NO_WRITING:
            return
        self.check_thread("write_eof")
        self.take_crossing()
        self.life |= EOF_WANTED
        self.flush_later()

    def _queue_part(self, part):
        if self.life & EOF_WANTED:
            raise RuntimeError(f"{self!r}: output after write_eof()")
        if self.life & NO_WRITING:
            part.close()
            return
        self.take_crossing()
        self.put_output(part, 0, False)

    def _queue_end(self, part):
        self.put_output(part, 0, False)

    cdef int put_output(self, object data, Py_ssize_t size, bint in_tick) except -1:
        """Queues output. `in_tick`: this thread is known to be in a tick of the loop."""
        if self.head is None:
            self.head = data
            if self.life & TIMED:
                self.extra.output_at = cyn_clock() / 1e9
        elif self.rest is None:
            if self.head is IN_ARENA:
                self.leave_arena()
            self.rest = [data]
            self.rest_at = 0
        else:
            self.rest.append(data)
        self.waiting += size
        if self.waiting > self.its_settings().high or self.settings.most >= 0:
            self.over_marks()
        if not self.flags & (FLUSH_QUEUED | OUTPUT):
            return self.flush_later(in_tick)
        return 0

    cdef int over_marks(self) except -1:
        if 0 <= self.settings.most < self.waiting:
            return self.end(LimitExceeded(f"{self!r}: more than {self.settings.most} bytes wait to be sent"))
        if self.waiting > self.settings.high and not self.life & FULL:
            self.life |= FULL
            loop = self.its_loop()
            if loop is not None:
                (<Registry> loop).queue(self._tell_full, ())
        return 0

    def _tell_full(self):
        if self.life & (FULL | FULL_TOLD | CLOSE_WANTED | GONE) != FULL:
            return
        self.life |= FULL_TOLD
        try:
            self.handle_full()
        except BaseException as error:
            self.caught(error)

    cdef int put_early(self, object data, Py_ssize_t size) except -1:
        """Queues output before there is a connection."""
        cdef Registry loop = self.its_loop()
        if loop is None or loop.is_closed:
            return self.put_output(data, size, False)
        return self.put_outside(data, size, loop.sending())

    cdef int put_outside(self, object data, Py_ssize_t size, int turn) except -1:
        """Queues output where this thread is not in a tick of the loop, or another thread has written."""
        cdef Registry loop = self.its_loop()
        if turn == NOT_OURS:
            self.crossing().append(data)
            loop.call_soon_threadsafe(self._take_crossing)
            return 0
        cdef bint at_once = turn == SEND_NOW and can_flush(self)
        if at_once:
            self.flags |= FLUSH_QUEUED  # below, so that no call is queued for it, which would end the wait of a host
        try:
            try:
                self.take_crossing()
                if not self.life & NO_WRITING:
                    self.put_output(data, size, False)
            finally:
                if at_once or (turn == SEND_NOW and can_flush(self)):
                    try:
                        self.flush(True)
                    except BaseException as error:
                        self.caught(error)
        finally:
            if turn == SEND_NOW:
                loop.sent()
        return 0

    def _take_crossing(self):
        try:
            self.take_crossing()
        except BaseException as error:
            self.caught(error)

    cdef int take_crossing(self) except -1:
        """Queues what other threads have written."""
        cdef object crossing
        if self.extra is None or self.extra.crossing is None:
            return 0
        crossing = self.extra.crossing
        while crossing:
            data = crossing.popleft()
            if self.life & NO_WRITING:
                continue
            self.put_output(data, PyBytes_GET_SIZE(data), False)
        return 0

    cdef int flush_later(self, bint in_tick=False) except -1:
        """Has what waits sent before the loop waits next."""
        cdef Registry loop = self.loop
        if self.life & (READY | STEPPING | GONE) != READY or self.flags & FLUSH_QUEUED or loop is None:
            return 0
        self.flags |= FLUSH_QUEUED
        if in_tick or loop.is_sending_later():
            loop.gather(self)
        else:
            loop.call_soon_threadsafe(self._flush_queued)
        return 0

    def _flush_queued(self):
        if self.flags & FLUSH_QUEUED:
            try:
                self.flush(True)
            except BaseException as error:
                self.caught(error)

    cdef int flush(self, bint at_end) except -1:
        self.flags &= ~FLUSH_QUEUED
        if self.life & (READY | STEPPING | GONE) != READY:
            if self.head is IN_ARENA:
                self.leave_arena()
            return 0
        if self.head is not IN_ARENA or not flush_arena(self):
            self.send_waiting()
        if self.flags & OUTPUT or self.life & (CLOSE_WANTED | WRITE_NEEDS_READ):
            self.arm()
        return 0

    cdef int flush_leaving(self) except -1:
        return 0

    cdef int send_waiting(self) except -1:
        """Sends what the socket takes now."""
        cdef bint has_room = True
        if self.life & (READY | STEPPING | GONE | LOST) != READY:
            return 0
        while has_room and self.head is not None:
            if not PyBytes_CheckExact(self.head):
                has_room = send_arena(self) if self.head is IN_ARENA else self.send_part()
            elif self.extra is not None and self.extra.session is not None:
                has_room = self.send_session()
            else:
                has_room = self.send_plain()
            if self.life & (READY | STEPPING | GONE | LOST) != READY:
                return 0
            if self.life & FULL and self.waiting <= self.settings.low:
                self.life &= ~FULL
                if self.life & (FULL_TOLD | CLOSE_WANTED) == FULL_TOLD:
                    self.life &= ~FULL_TOLD
                    self.handle_drained()
                if self.life & (READY | STEPPING | GONE) != READY:
                    return 0
        if self.head is not None:
            self.flags |= OUTPUT
            return 0
        if self.flags & OUTPUT:
            self.flags &= ~OUTPUT
            self.arm()
        if self.life & (CLOSE_WANTED | EOF_WANTED):
            return self.output_done()
        return 0

    cdef int output_done(self) except -1:
        """Everything was sent: closes, or ends the output, where that is wanted."""
        if self.life & CLOSE_WANTED:
            self._finish()
            return 0
        if not self.life & EOF_SENT:
            self.life |= EOF_SENT
            self._send_eof()
            return self.end_if_over()
        return 0

    cdef int send_plain(self) except -1:
        """Offers bytes of the queue to the socket. Returns 0 if it takes no more now, or the connection is gone."""
        cdef const char *data = PyBytes_AS_STRING(self.head) + self.head_sent
        cdef Py_ssize_t size = PyBytes_GET_SIZE(self.head) - self.head_sent, sent
        cdef int error
        if self.rest is not None and size < SCRATCH and self.loop is not None:  # None: it was taken out by hand
            size = self.join_pieces(size)
            data = self.loop.scratch
        if not self.flags & DIRECT:
            return self.send_by_method(PyBytes_FromStringAndSize(data, size))
        sent = cyn_send(fileno_of(self.sock), data, size, MSG_DONTWAIT | MSG_NOSIGNAL)
        if sent < 0:
            error = errno
            if error == EINTR:
                return 1
            if error != EAGAIN:
                self.lost(OSError(error, os.strerror(error)))
            return 0
        self.sent(sent)
        return sent == size

    cdef int send_by_method(self, bytes data) except -1:
        cdef object head = self.head
        cdef Py_ssize_t sent, before = self.head_sent
        try:
            sent = self.sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self.lost(error)
            return 0
        if self.head is not head or self.head_sent != before:
            return 0  # its method has ended the stream, or has run the loop, which has sent this
        sent = min(max(sent, 0), PyBytes_GET_SIZE(data))  # it may say anything
        self.sent(sent)
        return sent == PyBytes_GET_SIZE(data)

    cdef Py_ssize_t join_pieces(self, Py_ssize_t size) except -1:
        """Copies what waits into the loop's scratch, as many whole pieces as fit behind the head. Returns the size."""
        cdef char *scratch = self.loop.scratch
        cdef Py_ssize_t at, count, total = size
        memcpy(scratch, PyBytes_AS_STRING(self.head) + self.head_sent, size)
        for at in range(self.rest_at, len(self.rest)):
            piece = self.rest[at]
            if not PyBytes_CheckExact(piece):
                break
            count = PyBytes_GET_SIZE(piece)
            if total + count > SCRATCH:
                break
            memcpy(scratch + total, PyBytes_AS_STRING(piece), count)
            total += count
        return total

    cdef int send_session(self) except -1:
        """Does what `send_plain` does, through the session."""
        cdef Extra extra = self.extra
        cdef Py_ssize_t size, sent
        if extra.retry is None:
            size = PyBytes_GET_SIZE(self.head) - self.head_sent
            if size >= OFFERED:
                extra.retry = memoryview(self.head)[self.head_sent:self.head_sent + OFFERED]
            elif self.rest is not None and self.loop is not None:
                size = self.join_pieces(size)
                extra.retry = PyBytes_FromStringAndSize(self.loop.scratch, size)
            elif self.head_sent:
                extra.retry = memoryview(self.head)[self.head_sent:]
            else:
                extra.retry = self.head
        try:
            sent = PyObject_CallOneArg(extra.session_write, extra.retry)
        except OSError as failure:
            if failure.errno == WANT_READ:
                self.life |= WRITE_NEEDS_READ
            elif failure.errno != WANT_WRITE:
                self._session_failed(failure)
            return 0
        if extra.retry is None:
            return 0  # the handler of a signal has ended the stream meanwhile, or has run the loop, which has sent this
        extra.retry = None
        self.sent(sent)
        return 1

    cdef int send_part(self) except -1:
        """Sends of the part of a file that is next. Returns 0 if it is not done yet, or the connection is gone."""
        part = self.head
        if not part.send(self):
            return 0
        if self.head is part:
            self.next_head()
        return not self.life & GONE

    cdef int sent(self, Py_ssize_t count) except -1:
        """Takes so many bytes from the front of the queue."""
        cdef Py_ssize_t size
        self.waiting -= count
        count_sent(self, count)
        if self.life & TIMED:
            self.note_progress(count, self.head is None)
        if self.rest is None:
            if count + self.head_sent == PyBytes_GET_SIZE(self.head):
                self.head = None
                self.head_sent = 0
            else:
                self.head_sent += count
            return 0
        count += self.head_sent
        while self.head is not None and PyBytes_CheckExact(self.head):
            size = PyBytes_GET_SIZE(self.head)
            if count < size:
                break
            count -= size
            self.next_head()
        self.head_sent = count
        return 0

    cdef int note_progress(self, Py_ssize_t count, bint is_all) except -1:
        self.extra.progress += count
        if is_all or self.extra.progress >= SCRATCH:
            self.extra.progress = 0
            self.extra.output_at = cyn_clock() / 1e9
        return 0

    cdef Py_ssize_t output_waiting(self) except -1:
        return self.waiting

    cdef int next_head(self) except -1:
        self.head_sent = 0
        if self.rest is None:
            self.head = None
            return 0
        self.head = self.rest[self.rest_at]
        self.rest[self.rest_at] = None
        self.rest_at += 1
        if self.rest_at == <unsigned> len(self.rest):
            self.rest = None
        elif self.rest_at >= 1024:
            del self.rest[:self.rest_at]
            self.rest_at = 0
        return 0


# Output without objects: see IN_ARENA. These are functions, which the compiler can put where they are used.

cdef inline int drop_arena(StreamOutput stream) noexcept:
    """Gives the place in the loop's arena back. The last stream that does so empties the arena."""
    cdef Registry loop = stream.loop
    if stream.head is IN_ARENA:
        stream.head = None
        stream.head_sent = 0
        loop.arena_users -= 1
        if loop.arena_users == 0:
            loop.arena_used = 0
    return 0


cdef inline int put_in_arena(
    StreamOutput stream, Registry loop, Py_ssize_t at, const char *data, Py_ssize_t size
) except -1:
    """Queues output in the loop's arena, at `at`, which is behind what this stream has there."""
    memcpy(loop.arena + at, data, size)
    loop.arena_used = at + size
    if stream.head is None:
        stream.head = IN_ARENA
        stream.head_sent = at
        loop.arena_users += 1
        if stream.life & TIMED:
            stream.extra.output_at = cyn_clock() / 1e9
    if not stream.flags & FLUSH_QUEUED:
        stream.flags |= FLUSH_QUEUED
        loop.gather(stream)
    stream.waiting += size
    if stream.waiting > stream.settings.high or stream.settings.most >= 0:
        stream.over_marks()
    return 0


cdef inline int send_arena(StreamOutput stream) except -1:
    """Does what `send_plain` does, with what is in the loop's arena. What is not sent leaves the arena."""
    cdef Registry loop = stream.loop
    cdef Py_ssize_t sent
    cdef int error
    if not stream.flags & DIRECT or stream.extra is not None and stream.extra.session is not None:
        stream.leave_arena()
        return 1
    sent = cyn_send(fileno_of(stream.sock), loop.arena + stream.head_sent, stream.waiting, MSG_DONTWAIT | MSG_NOSIGNAL)
    if sent < 0:
        error = errno
        if error == EINTR:
            return 1
        if error != EAGAIN:
            stream.lost(OSError(error, os.strerror(error)))
        else:
            stream.leave_arena()
        return 0
    stream.head_sent += sent
    stream.waiting -= sent
    stream.sent_size += sent
    stream.active = loop.figures.stamp
    if stream.life & TIMED:
        stream.note_progress(sent, stream.waiting == 0)
    if stream.waiting:
        stream.leave_arena()
        return 0
    drop_arena(stream)
    return 1


cdef inline bint flush_arena(StreamOutput stream) except -1:
    """Sends what is in the loop's arena. Returns False if there is more to be done than that."""
    if stream.life & (STEPPING | LOST | FULL | CLOSE_WANTED | EOF_WANTED):
        return False
    if not send_arena(stream):
        if stream.head is not None:
            stream.flags |= OUTPUT
        return True
    return stream.head is None


cdef list _parts(StreamOutput stream):
    """Returns the parts of files that are queued."""
    cdef list found = []
    if stream.head is not None and stream.head is not IN_ARENA and not PyBytes_CheckExact(stream.head):
        found.append(stream.head)
    if stream.rest is not None:
        found += [item for item in stream.rest if item is not None and not PyBytes_CheckExact(item)]
    return found
