# SPDX-License-Identifier: MIT

from cpython.object cimport PyTypeObject

from .channel cimport BufferedChannel
from .internals cimport cyn_version_of_type
from .traits cimport Traits

cdef extern from "Python.h":
    PyTypeObject *Py_TYPE(object one) noexcept

cdef enum:
    OWN_RECV = 1        # has a recv of its own
    OWN_SEND = 2        # has a send of its own
    OWN_INITIATE = 4    # has an initiate_send of its own
    OWN_READ = 8        # has a handle_read of its own
    OWN_WRITE = 16      # has a handle_write of its own
    PLAIN_COLLECT = 32  # collects into `incoming`
    OTHER_QUEUE = 64    # `producer_fifo` is an object of the program's
    GENERIC = 128        # has an attribute or a get_terminator in the way of what is done here
    INSTANCE_OVERRIDES = 256  # the instance has some of this, not its class
    GATHERS = 512       # what its handlers push leaves at the end of the tick

cdef enum:              # kinds of terminator
    UNSET = 0
    UNENDING = 1        # None and everything else that is false
    COUNTED = 2         # so many bytes more
    TEXT = 3            # bytes
    IMPOSSIBLE = 4

cdef enum:              # of the input that comes behind the piece whose found_terminator runs
    NOTHING = 0         # there is no such call
    SOMETHING = 1       # nobody has looked yet
    A_PIECE = 2         # a whole piece, whose found_terminator follows at once
    NO_PIECE = 3


cdef class ChatTraits:
    cdef type kind
    cdef Traits base               # of the same class: they tell when it is to be read again
    cdef unsigned long stamp       # theirs, when it was read; 0: never
    cdef unsigned overrides
    cdef object collect            # plain functions, or None: to be looked up
    cdef object found
    cdef object in_size            # an int: recv takes one
    cdef Py_ssize_t out_size
    cdef Py_ssize_t max_incoming, max_outgoing  # -1: none
    cdef int read_class(self) except -1


cdef class ChatInput(BufferedChannel):
    cdef ChatTraits chat
    cdef unsigned overrides
    cdef unsigned overrides_version     # of the class when `overrides` was found to hold; 0: to be looked at
    cdef unsigned long overrides_stamp  # of the chat's traits when `overrides` was taken from them; 0: to be taken
    cdef bytes in_data             # what was received and not handed on begins at in_at
    cdef Py_ssize_t in_at
    cdef Py_ssize_t in_end         # its size
    cdef Py_ssize_t collected      # bytes handed on since the last terminator; -1: the rest of the line is dropped
    cdef object collecting         # `incoming`, once there is one
    cdef object terminator_value              # `terminator`
    cdef bytes terminator_bytes          # the same, as bytes to be searched for
    cdef int terminator_kind
    cdef Py_ssize_t terminator_size     # its length, or the bytes that are left
    cdef Py_ssize_t next_at        # where its terminator begins behind in_at, NOWHERE or UNKNOWN
    cdef int behind                # what comes next,
    cdef int depth                 # in a tick as deep as this
    cdef bint is_held              # was something pushed that waits for that?
    cdef signed char gathers       # `gather_pushes` of the instance; -1: as the class says

    cdef int look_again(self) except -1
    cdef Py_ssize_t size_of(self, str name, Py_ssize_t usual) except -2
    cdef int set_terminator_value(self, object value) except -1
    cdef int empty(self) except -1
    cdef object received(self)
    cdef int take_in(self) except -1
    cdef int too_much(self, str what, Py_ssize_t most) except -1
    cdef int look_behind(self) except -1
    cdef int look_ahead(self) noexcept
    cdef int send_held(self) except -1


cdef inline bint piece_follows(ChatInput channel) noexcept:
    """Is it certain that found_terminator is called again as soon as the present call of it returns?

    Not in a loop that runs within it, which may last.
    """
    if channel.behind == SOMETHING:
        channel.look_ahead()
    return channel.behind == A_PIECE and channel.loop is not None and channel.loop.depth == channel.depth


cdef inline int refresh(ChatInput channel) except -1:
    """Reads the class again if it has changed, or the channel has another one. No two classes share a version."""
    if channel.overrides_version != 0 and channel.overrides_version == cyn_version_of_type(Py_TYPE(channel)):
        return 0
    return channel.look_again()
