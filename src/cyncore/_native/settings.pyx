# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Settings: what a class of streams says in its attributes, and how the frames in its input are found.

Facts that shape it:
- A class, or one stream, may set an attribute at any time. The settings of a class are kept with the version of the
  class, and a stream that sets one itself gets settings of its own.
- A frame may come in any number of parts. A search does not begin again with what an earlier one has seen.
"""

import cython

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp

from .internals cimport cyn_type_version
from .traits cimport Traits, traits_of

from .. import _framing
from .._rules import LimitExceeded, number

cdef object Lines = _framing.Lines
cdef object Prefixed = _framing.Prefixed
cdef object Exactly = _framing.Exactly


cdef tuple DEADLINES = (
    *("connect_deadline", "handshake_deadline", "first_byte_deadline"),
    *("idle_deadline", "write_deadline", "life_deadline"),
)
cdef Limits NO_LIMITS = Limits.__new__(Limits)


cdef class Limits:
    """The deadlines of a class, or of one stream."""


cdef Limits limits_of_stream(object stream):
    """Asks the stream itself. TypeError for what is no number."""
    return limits_from([getattr(stream, name) for name in DEADLINES])


cdef Limits limits_of_class(type kind):
    """Returns None where only a stream can tell, such as of a property."""
    cdef list values = [getattr(kind, name, None) for name in DEADLINES]
    for value in values:
        if value is not None and type(value) is not int and type(value) is not float:
            return None
    return limits_from(values)


cdef Limits limits_from(list values):
    cdef Limits found = NO_LIMITS
    cdef int kind
    for kind in range(KINDS):
        if values[kind] is not None:
            if found is NO_LIMITS:
                found = Limits.__new__(Limits)
            found.seconds[kind] = number(DEADLINES[kind], values[kind])
            found.kinds |= <unsigned> 1 << kind
    return found


cdef class Settings:

    cdef int read(self, object owner) except -1:
        """Reads them from a stream, or from its class: all but `is_native`, which is set before."""
        self.high = owner.high_water
        self.low = owner.low_water
        most = owner.max_output
        self.most = -1 if most is None else most
        self.has_buffer = getattr(owner, "get_buffer", None) is not None
        self.has_batches = not self.is_native and getattr(owner, "handle_frames", None) is not None
        self.reads_specially = self.has_buffer or self.is_native or self.has_batches
        return self.set_framing(owner.framing)

    cdef int set_framing(self, object framing) except -1:
        self.framing = framing
        if framing is None:
            self.kind = NO_FRAMES
        elif type(framing) is Lines and framing.end:
            self.kind = LINES
            self.end = framing.end
            self.limit = framing.limit
        elif type(framing) is Prefixed and 1 <= framing.size <= 8:
            self.kind = PREFIXED
            self.count = framing.size
            self.limit = framing.limit
            self.is_little = framing.order == "little"
        elif type(framing) is Exactly and framing.count > 0:
            self.kind = EXACTLY
            self.count = framing.count
        else:  # also one that was changed after it was made: `find` says what is wrong with it
            _framing.check(framing)
            self.kind = OTHER_FRAMES
        return 0


cdef Settings settings_of(object stream):
    """Returns the settings of the stream's class, read again if the class has changed. They are kept in its traits."""
    cdef type kind = type(stream)
    cdef Traits traits = traits_of(kind)
    cdef Settings found
    with cython.critical_section(traits):
        found = traits.settings
    if found is None or found.version == 0 or found.version != cyn_type_version(kind):
        found = Settings.__new__(Settings)
        found.is_native = has_native_handlers(kind)
        found.read(stream)
        found.limits = limits_of_class(kind)
        stream._check_class()
        found.version = cyn_type_version(kind)  # looking attributes up has given the class a version
        kept = found
        with cython.critical_section(traits):  # loops in other threads share it; with the GIL this is nothing
            kept, traits.settings = traits.settings, kept  # the one before ends outside of it
    return found


cdef bint has_native_handlers(type kind) except -1:
    """Returns True if the class has a base in Cython that is not one of ours. TypeError if it would not be heard.

    Such a base has a table of C methods. An object has one table only, that of the base which has made it.
    """
    cdef list tables = [base for base in kind.__mro__ if "__pyx_vtable__" in base.__dict__]
    maker = kind
    while "__pyx_vtable__" not in maker.__dict__:
        maker = maker.__base__
    for base in tables:
        if base not in maker.__mro__:
            raise TypeError(
                f"{kind.__qualname__}: the handlers in Cython of {base.__qualname__} would never be called, but those "
                f"of {maker.__qualname__}: such a base is named first, and a class has one of them"
            )
    return maker.__dict__.get("_cyncore_role") != "stream"


# Frames

cdef int find_line(Settings settings, const char *data, Py_ssize_t size, Py_ssize_t searched, frame *found) noexcept:
    cdef Py_ssize_t width = PyBytes_GET_SIZE(settings.end), start = max(searched - width + 1, 0)
    cdef const char *end = PyBytes_AS_STRING(settings.end)
    cdef const char *at
    cdef Py_ssize_t place = start + width - 1
    at = NULL
    while place < size:  # the last byte of an end is rarer than its first, and memchr is faster than memmem
        at = <const char *> memchr(data + place, end[width - 1], size - place)
        if at is NULL or width == 1 or memcmp(at - width + 1, end, width - 1) == 0:
            break
        place = at - data + 1
        at = NULL
    if at is NULL:
        return TOO_LONG if size - width + 1 > settings.limit else INCOMPLETE
    found.begin = 0
    found.end = at - data - width + 1
    found.after = found.end + width
    return TOO_LONG if found.end > settings.limit else FOUND


cdef int find_prefixed(Settings settings, const char *data, Py_ssize_t size, frame *found) noexcept:
    cdef unsigned long long length = 0
    cdef Py_ssize_t at, width = settings.count
    if size < width:
        return INCOMPLETE
    for at in range(width):
        length = length << 8 | <unsigned char> data[width - 1 - at if settings.is_little else at]
    if length > <unsigned long long> settings.limit:
        found.length = length
        return TOO_LONG
    found.begin = width
    found.end = found.after = width + <Py_ssize_t> length
    return FOUND if <unsigned long long> (size - width) >= length else INCOMPLETE


cdef int find_frame(Settings settings, const char *data, Py_ssize_t size, Py_ssize_t searched, frame *found) noexcept:
    """Finds the frame at the beginning of ``data``. ``searched``: bytes in which an earlier call has found no end."""
    if settings.kind == LINES:
        return find_line(settings, data, size, searched, found)
    if settings.kind == PREFIXED:
        return find_prefixed(settings, data, size, found)
    found.begin = 0
    found.end = found.after = settings.count
    return FOUND if size >= settings.count else INCOMPLETE


cdef list find_frames(
    Settings settings, const char *data, Py_ssize_t size, Py_ssize_t *after, int *result, frame *found
):
    """Returns the whole frames at the beginning of ``data``, at most those of `BATCH` bytes. ``after``: where they end;
    ``result``: what `find_frame` says of what comes there.
    """
    cdef list frames = []
    cdef Py_ssize_t at = 0
    result[0] = INCOMPLETE
    while at < size:
        result[0] = find_frame(settings, data + at, size - at, 0, found)
        if result[0] != FOUND or (at and at + found.after > BATCH):
            break
        frames.append(PyBytes_FromStringAndSize(data + at + found.begin, found.end - found.begin))
        at += found.after
    after[0] = at
    return frames


cdef object too_long(object stream, Settings settings, frame *found):
    if settings.kind == LINES:
        return LimitExceeded(f"{stream!r}: a line is longer than {settings.limit} bytes")
    return LimitExceeded(f"{stream!r}: a frame of {found.length} bytes is longer than {settings.limit} bytes")
