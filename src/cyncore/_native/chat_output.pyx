# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""ChatOutput: a queue of output, and when and how what was pushed leaves.

Facts that shape it:
- A handler may block after a push until its peer has answered. So output leaves at once, except where it is certain
  that the engine sends it later (see below).
- A program may change `producer_fifo`, or put another queue in its place, in any callback.
- A producer is asked for more only when there is room for it, and may do anything while it is asked.
- Other threads push, too. What they push is passed to the thread that runs the loop.

The way of an item, from top to bottom:

    put          which thread queues it
    put_here     when it leaves: now or later
    send_queue   why the queue is sent, and whether the channel is closed after that
    send_items   which items leave: producers are asked for theirs
    send_front   how bytes leave: in one system call, or through methods of the program's

When an item leaves:

    it is pushed                                     it leaves
    in another thread than the running loop's        when that thread, which is woken, has queued it (CROSS_THREAD)
    outside of a tick                                at once
    in a handler, while the next piece of input      with the first push for the last complete piece, or when the last
      is complete                                      found_terminator has returned (`is_held`, FLUSH_QUEUED)
    in a handler, with `gather_pushes`               at the end of the tick (FLUSH_QUEUED)
    in any other handler                             at once
    while earlier items wait for room                after these, when a write event comes (OUTPUT)

Whatever waits leaves earlier if the program does something that must come after it: see `flush` and its callers.
"""

import os
from collections import deque

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno

from .channel cimport BufferedChannel, count_sent
from .chat_input cimport (
    DEFAULT_SIZE,
    GATHER_PUSHES,
    GENERIC,
    INSTANCE_OVERRIDES,
    NEXT_COMPLETE,
    NOT_CALLED,
    OTHER_QUEUE,
    OWN_INITIATE,
    OWN_SEND,
    OWN_WRITE,
    ChatInput,
    Py_TYPE,
    check_overrides,
    piece_follows,
)
from .csrc cimport MSG_DONTWAIT, MSG_NOSIGNAL, cyn_send
from .fifo cimport MAX_PIECES, Fifo, put_last, starts_with_piece
from .internals cimport cyn_version_of_type
from .plain_socket cimport fileno_of
from .registry cimport NOT_OURS, SEND_NOW, SENT_LATER, Registry
from .traits cimport BUFFERED, SHADOWS, STATE, flags_of, traits_of
from .watcher cimport (
    CONNECTED,
    CROSS_THREAD,
    DIRECT,
    DISCONNECTED,
    FLUSH_QUEUED,
    LEAVING,
    OUTPUT,
    UNSENT,
)

from .. import _plain_chat, _rules


cdef inline bint _gathers_pushes(ChatOutput self) except -1:
    if self.overrides & INSTANCE_OVERRIDES:
        return _plain_chat.gathers_pushes(self)
    return self.overrides & GATHER_PUSHES != 0


cdef inline Py_ssize_t _out_size(ChatOutput self) except -2:
    """Returns how many bytes leave in one system call."""
    if self.overrides & INSTANCE_OVERRIDES:
        return self.size_setting("ac_out_buffer_size")
    return self.chat.out_size


cdef inline bint _is_to_wait(ChatOutput self, Py_ssize_t size) except -1:
    """Returns True if what a handler pushes now waits for more output. `size`: its bytes; 0: nobody knows."""
    cdef Py_ssize_t most = _out_size(self)
    if self.is_held and (size == 0 or self.fifo is None or self.fifo.waiting < 0 or self.fifo.waiting + size > most):
        self.send_held()  # with this item it could not leave in one system call
    if self.next_piece != NOT_CALLED and 0 < size <= most and not self.flags & OUTPUT and piece_follows(self):
        self.is_held = True
        return True
    return _gathers_pushes(self)


cdef inline int _send_later(ChatOutput self) except -1:
    """Makes sure that the item that was queued just now leaves before the loop waits for events."""
    if self.flags & OUTPUT and self.defines & BUFFERED:
        return 0  # a write event comes when there is room
    if self.flags & FLUSH_QUEUED:
        if self.fifo.waiting >= self.chat.out_size or self.fifo.length() >= MAX_PIECES:
            return self.send_queue(PROGRAM)  # it fills one system call already
        return 0
    if self.state(CONNECTED, "connected") and not self.overrides & OWN_INITIATE and self.loop is not None:
        self.loop.gather(self)
        self.flags |= FLUSH_QUEUED
        return 0
    return self.output_changed()


cdef inline bint _needs_no_queue(ChatOutput self, Py_ssize_t size) noexcept:
    """Returns True if so many bytes may go to the socket directly: nothing waits, and no program has a say."""
    return (
        self.fifo.is_empty() and 0 < size <= self.chat.out_size and not self.is_sending
        and self.flags & (DIRECT | CONNECTED | OUTPUT | LEAVING) == DIRECT | CONNECTED and not self.defines & STATE
        and not self.overrides & (OWN_SEND | OWN_INITIATE | INSTANCE_OVERRIDES) and fileno_of(self.sock) >= 0
    )


cdef int _queue_rest(ChatOutput self, object item, Py_ssize_t sent, int error) except -1:
    """Queues what the socket did not take of an item. `sent`: the bytes that it took; -1: it failed with `error`."""
    put_last(self.fifo, item)
    if sent >= 0:
        count_sent(self, sent)
        self.fifo.sent(sent)
        return self.output_changed()
    self.is_sending = True
    try:
        self.send_failed(error)
    finally:
        self.is_sending = False
        self.output_changed()
    return 0


cdef int _put_plain(ChatOutput self, object item) except -1:
    """Does what `put_here` does for a class, or a queue, that the C code cannot serve."""
    if _plain_chat.has_room(self, item):
        _plain_chat.put(self, item)
    return self.output_changed()


cdef int _send_by_initiate(ChatOutput self) except -1:
    """Calls the initiate_send of the class's own."""
    self.initiate_send()
    return self.output_changed()


cdef inline bint _joins_held(ChatOutput self, Py_ssize_t size) noexcept:
    """Returns True if so many bytes are certain to wait with others that are held back: `put_here` need not decide."""
    return (
        self.is_held and self.flags & (FLUSH_QUEUED | OUTPUT) == FLUSH_QUEUED and self.next_piece == NEXT_COMPLETE
        and self.loop.depth == self.input_depth and self.fifo is not None and size > 0
        and 0 <= self.fifo.waiting < self.chat.out_size - size and self.fifo.length() < MAX_PIECES - 1
        and self.overrides_version != 0 and self.overrides_version == cyn_version_of_type(Py_TYPE(self))
        and self.chat.max_outgoing < 0
        and not self.overrides & (GENERIC | OTHER_QUEUE | OWN_INITIATE | INSTANCE_OVERRIDES)
    )


cdef int without_loop(ChatOutput self) except -1:
    """Returns who sends the output of a channel that is in no loop. AttributeError if it was never initialised."""
    cdef bint has_queue = self.fifo is not None or self.other_queue is not None
    if self.map is None and self.sock is None and not has_queue and not flags_of(traits_of(type(self))) & SHADOWS:
        raise AttributeError(_rules.not_begun(self, "async_chat"))
    return SEND_NOW


cdef inline int put(ChatOutput self, object item, Py_ssize_t size) except -1:
    """Queues an item in the thread that runs the loop. `size`: its bytes; 0: it is a producer, or None."""
    cdef int turn = without_loop(self) if self.loop is None else self.loop.sending()
    if turn == SENT_LATER:
        if _joins_held(self, size):
            return put_last(self.fifo, item)
        return self.put_here(item, size, WAIT_IF_MORE)
    return self.put_outside(item, size, turn)


cdef class ChatOutput(ChatInput):
    """The part of `asynchat.async_chat` that sends."""

    def __dealloc__(self):
        # Through the pointer: the collector may have cleared `fifo` already, while a program still holds the queue.
        if self.fifo_at is not NULL:
            (<Fifo> self.fifo_at).channel = NULL
            (<Fifo> self.fifo_at).owner_pointer = NULL

    # What a program calls

    def push(self, data):
        """Sends ``data`` (bytes, bytearray or memoryview). A bytearray and a memoryview are copied.

        The data leave at once, or, where several pieces of input came together, with what `found_terminator` pushes for
        the last one; with `gather_pushes`, when all handlers of this tick have returned. What the socket does not take
        waits. Any thread may call this: while the loop runs in another thread, that thread sends the data.

        TypeError for any other type. If more than `max_outgoing` bytes would wait, ``data`` is dropped, and
        `handle_error` is called with `LimitExceeded` being handled.
        """
        if not PyBytes_CheckExact(data):
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(f"push() sends bytes, a bytearray or a memoryview, not {type(data)!r}")
            data = bytes(data)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        if size:
            put(self, data, size)

    def push_with_producer(self, producer):
        """Queues an object whose ``more()`` returns the next bytes to send, and empty bytes at its end.

        When they leave, and in which thread, is as for `push`.
        """
        put(self, producer, 0)

    def close_when_done(self):
        """Calls `handle_close` when everything pushed so far is sent. Any thread may call this."""
        put(self, None, 0)

    def initiate_send(self):
        """Sends what the socket takes now of the queue: at most `ac_out_buffer_size` bytes, in one system call."""
        self.send_queue(PROGRAM)

    def handle_write(self):
        """Sends more of the queue."""
        self.initiate_send()

    def send(self, data):
        """Sends what the socket takes now of ``data`` (bytes-like), before what is queued. Returns the number of bytes.

        For the rest as `dispatcher.send`.
        """
        if self.flags & UNSENT:
            self.flush(False)  # the program has pushed that before
        check_overrides(self)
        if self.overrides & OWN_SEND:
            return super(ChatOutput, self).send(data)  # the program may have replaced that of `dispatcher`
        return self.send_some(data)

    def refill_buffer(self):
        """Asks the producers at the front of the queue, so that it begins with bytes if they have any."""
        check_overrides(self)
        if self.other_queue is None and not self.overrides & GENERIC:
            failed = self.refill(1)
            if failed is not None:
                raise failed
            self.output_changed()

    # When, and how, it leaves

    cdef int put_outside(self, object item, Py_ssize_t size, int turn) except -1:
        """Does what `put` does outside of a tick."""
        cdef Registry loop = self.loop
        if turn == NOT_OURS:
            return self.cross_thread_put(item, size)
        try:  # sending() has seen to it that no other thread runs the loop until sent()
            self.cross_thread_take(NO_WAIT)  # what another thread pushed before comes first
            return self.put_here(item, size, NO_WAIT)
        finally:
            if loop is not None:
                loop.sent()

    cdef int put_here(self, object item, Py_ssize_t size, Wait wait) except -1:
        """Queues an item, and sends it unless it is to wait for more output."""
        cdef Py_ssize_t sent
        check_overrides(self)
        if self.overrides & (GENERIC | OTHER_QUEUE):
            return _put_plain(self, item)
        if size and (self.chat.max_outgoing >= 0 or self.overrides & INSTANCE_OVERRIDES):
            if not self.has_room_for(size):
                return 0
        if wait == WAIT_IF_MORE and not (_gathers_pushes(self) if item is None else _is_to_wait(self, size)):
            wait = NO_WAIT
        if self.fifo is None:
            self.make_queue()
        if wait == NO_WAIT and _needs_no_queue(self, size):
            sent = cyn_send(fileno_of(self.sock), PyBytes_AS_STRING(item), <size_t> size, MSG_DONTWAIT | MSG_NOSIGNAL)
            if sent == size:
                count_sent(self, sent)
                return 0
            return _queue_rest(self, item, sent, errno)
        put_last(self.fifo, item)
        if self.overrides & OWN_INITIATE and item is not None:
            return _send_by_initiate(self)
        if wait != NO_WAIT:
            return _send_later(self)
        return self.output_changed() if item is None else self.send_queue(PROGRAM)

    cdef int send_queue(self, Why why) except -1:
        """Sends the queue, or what one system call takes of it, and closes the channel where a None says so."""
        cdef bint closes = False
        self.flags &= ~FLUSH_QUEUED
        check_overrides(self)
        if self.is_sending:
            return 0  # a send() or a producer of the program's has called this: the call in progress goes on
        self.is_sending = True
        try:
            if self.overrides & (GENERIC | OTHER_QUEUE) or (self.fifo is not None and not self.fifo.is_empty()):
                closes = self.send_items(why)
        finally:
            self.is_sending = False
            self.output_changed()  # even if the program raised something: what is left has to be sent
        if closes and not self.flags & LEAVING:
            self.handle_close()
        return 0

    cdef bint send_items(self, Why why) except -1:
        """Sends the first items of the queue. Returns True if a None came next: the channel is to be closed."""
        cdef Fifo fifo
        cdef object failed = None
        # What was queued for later was queued while there was a connection, whatever `connected` says now.
        cdef bint connected = why == TICK_END or why == BEFORE_ACTION
        cdef bint closes = not connected or (why == TICK_END and _gathers_pushes(self))
        cdef bint was_open = self.fileno >= 0
        cdef Py_ssize_t most
        cdef int rc
        if self.overrides & (GENERIC | OTHER_QUEUE):
            return _plain_chat.send(self, _plain_chat.Sending(self.flags & LEAVING != 0), connected, closes)
        if not connected and not self.state(CONNECTED, "connected"):
            return False
        most = _out_size(self)
        if most <= 0:
            most = DEFAULT_SIZE
        fifo = self.fifo  # only now, since attributes of the program's may have put another queue in its place
        if fifo is None:
            return False
        if not fifo.is_all_pieces() and (not self.flags & OUTPUT or why == ROOM or not starts_with_piece(fifo)):
            failed = self.refill(most)  # before a write event, a producer is asked only if nothing waits before it
            if was_open and self.fileno < 0:  # a producer has closed the channel
                if failed is not None:
                    raise failed
                return False
        if self.fifo is fifo and starts_with_piece(fifo):
            rc = self.send_front(most)
            while rc > 0 and why == BEFORE_ACTION and failed is None and self.fifo is fifo and starts_with_piece(fifo):
                rc = self.send_front(DEFAULT_SIZE)
            if rc < 0 or not _gathers_pushes(self):
                closes = False  # the close waits for a write event, since there may be more to read before
        if failed is not None:
            raise failed
        if not closes or self.fifo is not fifo or fifo.is_empty() or fifo.first() is not None:
            return False
        fifo.drop(1)
        return True

    cdef int send_front(self, Py_ssize_t most) except -2:
        """Sends bytes at the front of the queue, `most` at most.

        Returns 1 if the socket took all that it was offered, 0 if it took less, and -1 if it failed and the program has
        been told.
        """
        cdef Py_ssize_t offered, sent
        cdef int fd = -1
        if self.flags & DIRECT and not self.overrides & OWN_SEND:
            fd = fileno_of(self.sock)
        if fd < 0:
            return _send_by_methods(self, most)
        sent = self.fifo.offer(fd, most, &offered)
        if sent < 0:
            return self.send_failed(errno)
        count_sent(self, sent)
        self.fifo.sent(sent)
        return sent == offered

    cdef int send_failed(self, int error) except -2:
        """Tells the program of an error of the socket. Returns what `send_front` does: 0 if there is no room."""
        if error == EAGAIN or error == EINTR:
            return 0
        if self.flags & LEAVING:
            return -1
        if error in DISCONNECTED:
            self.handle_close()
            return -1
        try:
            raise OSError(error, os.strerror(error))
        except OSError:
            self.handle_error()
        return -1

    # What makes it leave, other than a push

    cdef int on_room(self) except -1:
        check_overrides(self)
        if self.overrides & OWN_WRITE:
            BufferedChannel.on_room(self)
        elif self.overrides & OWN_INITIATE:
            return _send_by_initiate(self)
        else:
            return self.send_queue(ROOM)
        return self.output_changed()

    cdef int flush(self, bint at_end) except -1:
        """Sends what waits for the end of the tick or comes from other threads.

        `at_end`: the tick has ended. Otherwise the program is about to do something that comes after its output.
        """
        self.flags &= ~FLUSH_QUEUED
        if self.flags & CROSS_THREAD:
            self.cross_thread_queue()
        if self.fifo is not None and self.loop is not None and self.loop.is_copy():
            self.fifo.wipe()  # the process was forked, and the parent sends it
            return self.output_changed()
        return self.send_queue(TICK_END if at_end else BEFORE_ACTION)

    cdef int send_held(self) except -1:
        self.is_held = False
        if not self.flags & FLUSH_QUEUED or _gathers_pushes(self):
            return 0  # it has left already, or waits for the end of the tick
        return self.send_queue(TICK_END)

    # What other threads push

    cdef int cross_thread_put(self, object item, Py_ssize_t size) except -1:
        """Passes an item to the thread that runs the loop, and wakes it. Called in any other thread."""
        cdef Registry loop = self.loop
        cdef Py_ssize_t limit = self.limit_setting("max_outgoing")
        cdef Py_ssize_t waiting = self.cross_thread_size
        if self.fifo is not None and self.fifo.waiting > 0:
            waiting += self.fifo.waiting
        if limit >= 0 and size and waiting + size > limit:
            if not self.cross_thread_refused:
                self.cross_thread_refused = True
                loop.call_soon_threadsafe(_refuse_cross_thread, self, limit)
            return 0
        if self.cross_thread_items is None:
            self.cross_thread_items = deque()
        self.cross_thread_size += size
        self.cross_thread_items.append(item)
        if not self.flags & CROSS_THREAD:
            self.flags |= CROSS_THREAD
            loop.call_soon_threadsafe(_take_cross_thread, self)
        return 0

    cdef int cross_thread_take(self, Wait wait) except -1:
        """Queues what other threads have pushed, and sends it unless it is to wait."""
        self.flags &= ~CROSS_THREAD
        self.cross_thread_size = 0
        while self.cross_thread_items:
            item = self.cross_thread_items.popleft()
            self.put_here(item, PyBytes_GET_SIZE(item) if PyBytes_CheckExact(item) else 0, wait)
        return 0

    cdef int cross_thread_queue(self) except -1:
        """Queues what other threads have pushed, for a flush that sends it."""
        self.flags &= ~CROSS_THREAD
        self.cross_thread_size = 0
        queue = self.producer_fifo
        while self.cross_thread_items:
            queue.append(self.cross_thread_items.popleft())
        return 0

    # The queue

    @property
    def producer_fifo(self):
        """What is queued to be sent, as a deque: bytes, producers, and None where the channel is to be closed."""
        if self.flags & FLUSH_QUEUED:
            self.flush(False)  # a program that looks at it, or clears it, relies on its pushes having left
        if self.other_queue is not None:
            return self.other_queue
        if self.fifo is None:
            self.make_queue()
        return self.fifo

    @producer_fifo.setter
    def producer_fifo(self, value):
        if self.flags & UNSENT:
            self.flush(False)
        if value is None:
            value = Fifo()  # programs assign None to empty the queue
        self.set_queue(value if isinstance(value, Fifo) else None)
        if isinstance(value, Fifo):
            value = None
        self.other_queue = value
        self.overrides_stamp = self.overrides_version = 0
        self.classify()
        self.output_changed()

    cdef int set_queue(self, Fifo fifo) except -1:
        if self.fifo_at is not NULL:
            (<Fifo> self.fifo_at).channel = NULL
            (<Fifo> self.fifo_at).owner_pointer = NULL
        self.fifo = fifo
        self.fifo_at = <void *> fifo if fifo is not None else NULL
        if fifo is not None:
            if fifo.owner_pointer is not NULL:
                fifo.owner_pointer[0] = NULL  # it was another channel's until now
            fifo.channel = <void *> self
            fifo.owner_pointer = &self.fifo_at
        return 0

    cdef Py_ssize_t output_waiting(self) except -1:
        cdef Py_ssize_t size = self.cross_thread_size
        if self.fifo is not None:
            size += self.fifo.count_waiting()
        return size

    cdef int make_queue(self) except -1:
        return self.set_queue(Fifo.__new__(Fifo))

    cdef int read_overrides(self) except -1:
        ChatInput.read_overrides(self)
        if self.other_queue is not None:
            self.overrides |= OTHER_QUEUE
        return 0

    cdef bint has_output(self) except -1:
        return self.output_left()

    cdef bint output_left(self) except -1:
        if self.overrides & GENERIC:
            return bool(self.producer_fifo)
        if self.other_queue is not None:
            return bool(self.other_queue)
        return self.fifo is not None and not self.fifo.is_empty()

    cdef int output_changed(self) except -1:
        cdef bint left = self.output_left()
        if left != (self.flags & OUTPUT != 0):
            self.set_state(OUTPUT, left)
        return 0

    cdef bint has_room_for(self, Py_ssize_t size) except -1:
        """Returns True if so many bytes more may be queued. If not, the program has been told."""
        if self.fifo is None:
            self.make_queue()
        cdef Fifo fifo = self.fifo
        cdef Py_ssize_t limit = self.chat.max_outgoing
        if self.overrides & INSTANCE_OVERRIDES:
            limit = self.limit_setting("max_outgoing")
        if limit >= 0 and fifo.count_waiting() + size > limit:
            self.send_queue(PROGRAM)
            if self.fifo is not fifo or fifo.count_waiting() + size > limit:
                self.limit_exceeded("output that waits, max_outgoing", limit)
                return False
        return True

    # Producers

    cdef object refill(self, Py_ssize_t most):
        """Asks producers until the queue begins with `most` bytes, or with all that there are, or with a None.

        Returns what a producer raised, or None. The caller raises it when what comes before that producer has left.
        """
        cdef Fifo fifo = self.fifo
        cdef Py_ssize_t at
        cdef bint was_open = self.fileno >= 0
        try:
            while fifo is not None and self.fifo is fifo and (self.fileno >= 0 or not was_open):
                at = fifo.find_producer(most)
                if at < 0 or fifo.items[at] is None:
                    break
                self.refill_step(at, most)
        except BaseException as error:
            return error
        return None

    cdef int refill_step(self, Py_ssize_t at, Py_ssize_t most) except -1:
        """Takes the item at that place one step nearer to bytes. Every call of its methods may change the queue."""
        cdef Fifo fifo = self.fifo
        cdef object item = fifo.items[at], data, rest = None
        fifo.waiting = -1
        if isinstance(item, str):
            if not self.use_encoding:
                raise TypeError(f"{self!r}: str is queued to be sent, and use_encoding is not set: {item!r}")
            data = bytes(item.encode(self.encoding))
        elif isinstance(item, (bytes, bytearray, memoryview)):
            data = bytes(item)
        else:
            try:
                data = item[:most]
            except TypeError:
                data = item.more()
                rest = item  # to be asked again, unless this was its end
                if data is None or not len(data):
                    data = rest = None
            else:
                rest = item[most:]
                if not len(rest):
                    rest = None
        if data is not None and not isinstance(data, (bytes, bytearray, memoryview, str)):
            data = bytes(memoryview(data))
        if data is not None and not len(data):
            data = None
        if self.fifo is fifo:
            fifo.replace_item(item, at, data, rest)
        return 0


def _take_cross_thread(ChatOutput channel not None):
    """Called by the loop, in its thread, after other threads have pushed."""
    cdef Registry loop = channel.loop
    cdef int turn = SEND_NOW if loop is None else loop.sending()
    if turn == NOT_OURS:
        loop.call_soon_threadsafe(_take_cross_thread, channel)  # the channel is in the map of another loop now
        return
    try:
        channel.cross_thread_take(WAIT_ALWAYS if turn == SENT_LATER else NO_WAIT)
    except Exception:
        channel.handle_error()
    finally:
        if loop is not None and turn == SEND_NOW:
            loop.sent()


def _refuse_cross_thread(ChatOutput channel not None, Py_ssize_t limit):
    """Called by the loop, in its thread, after another thread has pushed more than may wait."""
    channel.cross_thread_refused = False
    channel.limit_exceeded("output that waits, max_outgoing", limit)


cdef int _send_by_methods(ChatOutput self, Py_ssize_t most) except -2:
    """Does what `send_front` does, by the class's own `send`, or by the methods of what stands for a socket.

    A `send` of the class's own gets an item at a time.
    """
    cdef Fifo fifo = self.fifo
    cdef Py_ssize_t total = 0, sent
    while total < most and self.fifo is fifo and not fifo.is_empty():
        item = fifo.first()
        if not PyBytes_CheckExact(item) or PyBytes_GET_SIZE(item) == 0:
            break
        data = item if not fifo.offset and PyBytes_GET_SIZE(item) <= most else item[fifo.offset:fifo.offset + most]
        if not self.overrides & OWN_SEND and PyBytes_GET_SIZE(data) < most:
            data = fifo.join(data, most)
        try:
            count = self.send(data) if self.overrides & OWN_SEND else self.send_some(data)
        except OSError as error:
            if _plain_chat.wants_more(error):
                return 0
            if not self.flags & LEAVING:
                self.handle_error()
            return -1
        if not count or self.fifo is not fifo or fifo.is_empty() or fifo.first() is not item:
            return 0  # it has closed the channel, or changed the queue
        sent = min(<Py_ssize_t> count, PyBytes_GET_SIZE(data))
        fifo.sent(sent)
        if sent < PyBytes_GET_SIZE(data):
            return 0
        total += sent
    return 1
