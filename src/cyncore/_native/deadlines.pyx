# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Deadlines: the times that a stream may take, watched by one timer of the loop.

Nothing happens at an event: the stream notes when input came and output moved. At the moment for which the timer was
set the next moment is computed from that, and the timer set again. The deadlines of a stream are the timer, so that to
set it makes no object, and to stop it drops none.
"""

import cython

from libc.math cimport INFINITY

from .calls cimport TimerHandle
from .csrc cimport cyn_clock
from .registry cimport Registry
from .settings cimport (
    CONNECT_LIMIT,
    FIRST_BYTE_LIMIT,
    HANDSHAKE_LIMIT,
    IDLE_LIMIT,
    KINDS,
    LIFE_LIMIT,
    WRITE_LIMIT,
    Limits,
    limits_of_stream,
    settings_of,
)
from .stream_output cimport GONE, OWN_DEADLINES, TIMED, Extra, StreamOutput
from .watcher cimport CONNECTED

from .. import _rules

cdef tuple EXITS = _rules.EXITS
cdef tuple TOLD = (  # which of those that have passed is told first
    (LIFE_LIMIT, "life"),
    (CONNECT_LIMIT, "connect"),
    (HANDSHAKE_LIMIT, "handshake"),
    (FIRST_BYTE_LIMIT, "first_byte"),
    (IDLE_LIMIT, "idle"),
    (WRITE_LIMIT, "write"),
)


cdef bint has_output(StreamOutput stream) except -1:
    """Does anything wait to be sent: bytes, a part of a file, or what a pipe holds for the stream?"""
    if stream.head is not None:
        return True
    pipe = (<object> stream)._pipe
    return pipe is not None and pipe.waits_for(stream)


@cython.no_gc_clear
cdef class Deadlines(TimerHandle):
    """Those of one stream."""

    def __repr__(self):
        return f"<cyncore.Deadlines of {self.stream!r}>"

    cdef int run(self) except -1:
        return self.look()

    cdef int start(self, int phase) except -1:
        """The stream begins to connect, to shake hands, or is open."""
        cdef StreamOutput stream = self.stream
        cdef Extra extra
        if phase == self.phase == HANDSHAKE:  # the TLS handshake follows the PROXY header, and shares its time
            return 0
        self.phase = phase
        self.begun = self.first_byte = self.idle = self.write = cyn_clock() / 1e9
        if phase == OPEN:
            extra = stream.extras()
            extra.input_at = 0.0
            stream.life |= TIMED
        return self.set()

    cdef int set(self) except -1:
        """Sets the timer for the next moment, by what the attributes say."""
        cdef double earliest
        cdef Registry loop = self.stream.its_loop()
        if self.calls is not None:
            self.calls.stop_timer(self)
        self.find(0.0, &earliest)
        if earliest != INFINITY and loop is not None:
            loop.set_timer(self, earliest)
        return 0

    cdef unsigned find(self, double now, double *earliest) except? 0xFFFFFFFF:
        """Returns which have passed at `now`. `earliest`: when the first passes, as far as is known; or INFINITY."""
        cdef StreamOutput stream = self.stream
        cdef Limits limits = self.limits
        cdef unsigned kinds = limits.kinds, passed = 0
        cdef double moment[KINDS]
        cdef double input_at
        cdef Extra extra
        cdef bint waits
        cdef int kind
        if self.phase == OPEN:
            extra = stream.extras()
            input_at = extra.input_at
            kinds &= ~(1 << CONNECT_LIMIT | 1 << HANDSHAKE_LIMIT)
            if input_at > 0.0:
                kinds &= ~(1 << FIRST_BYTE_LIMIT)
            moment[FIRST_BYTE_LIMIT] = self.first_byte
            if kinds & (1 << IDLE_LIMIT | 1 << WRITE_LIMIT):
                waits = has_output(stream)
                if waits:  # the peer is being served: whether it takes what waits is for "write" to say
                    if kinds & 1 << IDLE_LIMIT:
                        self.idle = cyn_clock() / 1e9
                    moment[WRITE_LIMIT] = max(self.write, extra.output_at)
                else:
                    moment[WRITE_LIMIT] = cyn_clock() / 1e9
                moment[IDLE_LIMIT] = max(self.idle, input_at)
        else:
            kinds &= 1 << LIFE_LIMIT | 1 << (CONNECT_LIMIT if self.phase == CONNECT else HANDSHAKE_LIMIT)
            moment[CONNECT_LIMIT] = moment[HANDSHAKE_LIMIT] = self.begun
        moment[LIFE_LIMIT] = self.life
        earliest[0] = INFINITY
        for kind in range(KINDS):
            if kinds & <unsigned> 1 << kind:
                moment[kind] += limits.seconds[kind]
                if not moment[kind] >= earliest[0]:  # what is no number comes first, for the loop to refuse
                    earliest[0] = moment[kind]
                if moment[kind] <= now:
                    passed |= <unsigned> 1 << kind
        return passed

    cdef int look(self) except -1:
        """The timer is due: tells of what has passed, and sets it for what comes next."""
        cdef StreamOutput stream = self.stream
        cdef Registry loop = stream.its_loop()
        cdef double earliest, now = cyn_clock() / 1e9
        cdef unsigned passed = self.find(now, &earliest)
        if loop is None:
            return 0  # it was taken out of the map by hand, and given another one
        if passed and not self.is_patient:  # a handler may have blocked for long: the events of this tick come first
            self.is_patient = True
            loop.set_timer(self, now)
            return 0
        self.is_patient = False
        if passed:
            for kind, name in TOLD:
                if not passed & <unsigned> 1 << <int> kind:
                    continue
                if stream.life & GONE:
                    return 0
                self.began_again(kind, now)
                try:
                    stream.handle_timeout(name)
                except BaseException as error:
                    stream.caught(error)
        if not stream.life & GONE:
            self.set()
        return 0

    cdef int began_again(self, int kind, double now) except -1:
        if kind == LIFE_LIMIT:
            self.life = now
        elif kind == FIRST_BYTE_LIMIT:
            self.first_byte = now
        elif kind == IDLE_LIMIT:
            self.idle = now
        elif kind == WRITE_LIMIT:
            self.write = now
        else:
            self.begun = now
        return 0


cdef Limits limits_for(StreamOutput stream):
    """What counts for a stream: that of its class, unless it has set an attribute itself."""
    cdef Limits found = None
    if not stream.life & OWN_DEADLINES:
        if stream.settings is not None:
            found = stream.settings.limits
        else:  # it begins to connect
            try:
                found = settings_of(stream).limits
            except EXITS:
                raise
            except BaseException:  # something of the class is wrong, which `_open` will say
                found = None
    return limits_of_stream(stream) if found is None else found


cdef int start_deadlines(StreamOutput stream, int phase) except -1:
    """A phase of the life of the stream begins."""
    cdef Extra extra = stream.extra
    cdef Deadlines deadlines
    cdef Limits limits
    if extra is None or extra.deadlines is None:
        limits = limits_for(stream)
        if not limits.kinds:
            return 0
        deadlines = Deadlines.__new__(Deadlines)
        deadlines.stream = stream
        deadlines.limits = limits
        deadlines.life = cyn_clock() / 1e9
        stream.extras().deadlines = deadlines
    else:
        deadlines = <Deadlines> extra.deadlines
    return deadlines.start(phase)


cdef int deadline_changed(StreamOutput stream) except -1:
    """The stream has set, or deleted, an attribute of its own."""
    cdef Deadlines deadlines
    stream.life |= OWN_DEADLINES
    if stream.life & GONE or stream.its_loop() is None:
        return 0
    if stream.extra is not None and stream.extra.deadlines is not None:
        deadlines = <Deadlines> stream.extra.deadlines
        deadlines.limits = limits_of_stream(stream)
        return deadlines.set()
    if stream.flags & CONNECTED:
        return start_deadlines(stream, OPEN)
    return 0


cdef int phase_named(str name) except -1:
    return CONNECT if name == "connect" else HANDSHAKE if name == "handshake" else OPEN
