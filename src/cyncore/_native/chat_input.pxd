# SPDX-License-Identifier: MIT

from cpython.object cimport PyTypeObject

from .channel cimport BufferedChannel
from .internals cimport cyn_version_of_type
from .traits cimport Traits

cdef extern from "Python.h":
    PyTypeObject *Py_TYPE(object one) noexcept

cdef enum:
    DEFAULT_SIZE = 65536  # bytes that one call reads or sends where the class does not set a number

cdef enum:  # bits of `overrides`: what the class, or the channel itself, defines
    # Methods that are called instead of the engine's.
    OWN_RECV = 1 << 0             # recv
    OWN_SEND = 1 << 1             # send
    OWN_INITIATE = 1 << 2         # initiate_send
    OWN_READ = 1 << 3             # handle_read
    OWN_WRITE = 1 << 4            # handle_write
    # Settings of the class, or of the channel.
    PLAIN_COLLECT = 1 << 5        # collect_incoming_data is _collect_incoming_data
    GATHER_PUSHES = 1 << 6        # gather_pushes is true
    # What the fast paths cannot serve.
    OTHER_QUEUE = 1 << 7          # producer_fifo is an object of the program's
    GENERIC = 1 << 8              # an attribute, or get_terminator, is the program's: `_plain_chat` serves the channel
    INSTANCE_OVERRIDES = 1 << 9   # some of these names are attributes of the channel itself: each use looks them up

cdef enum:  # values of `terminator_kind`
    UNSET = 0       # set_terminator was not called
    UNENDING = 1    # None, 0 or empty: the input has no end
    COUNTED = 2     # a number of bytes that are still to come
    TEXT = 3        # bytes to search for
    IMPOSSIBLE = 4  # of another type, which is an error when input comes

cdef enum:  # values of `next_piece`
    NOT_CALLED = 0        # no found_terminator is running
    NOT_SEARCHED = 1      # nobody has searched the input behind the piece yet
    NEXT_COMPLETE = 2     # a complete piece comes next, so that its found_terminator is called at once
    NEXT_INCOMPLETE = 3   # none does

cdef enum:  # values of `piece_size` below zero
    DROPPED = -1  # the piece is longer than max_incoming: its rest is dropped


cdef class ChatTraits:
    """What a class of chats defines of its own."""

    cdef type kind
    cdef Traits base               # the traits of the same class, which notice when it has changed
    cdef unsigned long stamp       # of `base` when the class was read; 0: never
    cdef unsigned overrides
    cdef object collect_function   # collect_incoming_data and found_terminator, if they are plain functions
    cdef object found_function     # None: they are looked up at every call
    cdef object in_size            # ac_in_buffer_size, as an int object for recv
    cdef Py_ssize_t out_size       # ac_out_buffer_size
    cdef Py_ssize_t max_incoming   # -1: no limit
    cdef Py_ssize_t max_outgoing   # -1: no limit
    cdef int read_class(self) except -1


cdef class ChatInput(BufferedChannel):
    # What the class, and the channel itself, define.
    cdef ChatTraits chat
    cdef unsigned overrides
    cdef unsigned overrides_version     # of the class when `overrides` was checked last; 0: to be checked
    cdef unsigned long overrides_stamp  # of `chat` when `overrides` was copied from it; 0: to be copied
    cdef signed char gather_override    # gather_pushes of the channel itself, 0 or 1; -1: it has none

    # What was received and not delivered yet: in_data[in_at:in_end].
    cdef bytes in_data
    cdef Py_ssize_t in_at
    cdef Py_ssize_t in_end              # the size of in_data
    cdef Py_ssize_t piece_size          # bytes delivered since the last terminator, or DROPPED
    cdef object parts                   # `incoming`; None: not used yet

    cdef object terminator_value        # `terminator`
    cdef bytes terminator_bytes         # the same, of kind TEXT
    cdef int terminator_kind
    cdef Py_ssize_t terminator_size     # of kind TEXT its length, of kind COUNTED the bytes still to come

    # What comes behind the piece whose found_terminator is running.
    cdef int next_piece
    cdef Py_ssize_t next_terminator     # where its terminator begins, counted from in_at, or NOWHERE, or UNKNOWN
    cdef int input_depth                # loop.depth of the tick that delivers
    cdef bint is_held                   # output is held back until the next found_terminator

    cdef int read_overrides(self) except -1
    cdef Py_ssize_t size_setting(self, str name) except -2
    cdef Py_ssize_t limit_setting(self, str name) except -2
    cdef int set_terminator_value(self, object value) except -1
    cdef int forget_input(self) except -1
    cdef object receive(self)
    cdef int read_input(self) except -1
    cdef int limit_exceeded(self, str what, Py_ssize_t limit) except -1
    cdef int input_changed(self) except -1
    cdef int find_next_piece(self) noexcept
    cdef int send_held(self) except -1


cdef frozenset FOLLOWED  # names of class attributes whose change means that the class has to be read again


cdef inline bint piece_follows(ChatInput channel) noexcept:
    """Returns True if found_terminator is certain to be called again as soon as the present call returns.

    It is not in a loop that runs inside that call, since such a loop may run for long.
    """
    if channel.next_piece == NOT_SEARCHED:
        channel.find_next_piece()
    return (
        channel.next_piece == NEXT_COMPLETE and channel.loop is not None and channel.loop.depth == channel.input_depth
    )


cdef inline int check_overrides(ChatInput channel) except -1:
    """Reads the class again if it has changed, or the channel has another one. No two classes share a version."""
    if channel.overrides_version != 0 and channel.overrides_version == cyn_version_of_type(Py_TYPE(channel)):
        return 0
    return channel.read_overrides()
