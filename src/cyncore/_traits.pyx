# SPDX-License-Identifier: MIT
# cython: language_level=3, freethreading_compatible=True
"""What a class of channels defines of its own: which predicates must be asked, which events it can handle.

A class is read once. Python gives every class a version tag that moves on when the class or a base of it is changed, so
that a method put there later is noticed by comparing two numbers. Methods put on a single channel are noticed by
``Channel.__setattr__``.

A default is a handler that only says "unhandled": `dispatcher` marks those, and they count as not defined.
"""

from types import FunctionType

from cpython.object cimport PyTypeObject

cdef extern from *:
    """
    static inline unsigned cyn_type_version(PyTypeObject *kind) {
    #if PY_VERSION_HEX < 0x030B0000
        /* 3.10 leaves the old number behind and clears a flag. */
        if (!PyType_HasFeature(kind, Py_TPFLAGS_VALID_VERSION_TAG)) return 0;
    #endif
        return kind->tp_version_tag;
    }
    """
    unsigned cyn_type_version(type kind)
    unsigned long Py_TPFLAGS_HEAPTYPE

# Set by _core, which defines the classes that everything is compared with.
_base = None
_buffered = None

cdef dict _HANDLERS = {
    "handle_read": READS,
    "handle_read_event": READS | READ_EVENT,
    "handle_write": WRITES,
    "handle_write_event": WRITES | WRITE_EVENT,
    "handle_expt": URGENT,
    "handle_expt_event": URGENT,
    "handle_accept": ACCEPTS,
}
cdef tuple _STATES = ("connected", "accepting", "connecting", "closing")
cdef str _ATTRIBUTE = "_cyncore_traits"
cdef dict _of_extension_types = {}  # they take no attributes, and live for ever
cdef unsigned long _revision = 0


def set_bases(base, buffered):
    """Tells which classes' own methods count as not defined."""
    global _base, _buffered
    _base = base
    _buffered = buffered


cdef unsigned long revision() noexcept:
    """Moves on whenever a class that was read before has changed."""
    return _revision


cdef bint _is_default(object method, str name):
    return method is None or method is getattr(_base, name, None) or getattr(method, "unhandled", None) is True


cdef object _plain(object method):
    """A method that may be called with the channel as its one argument without looking it up again, or None."""
    return method if type(method) is FunctionType else None


cdef class Traits:
    cdef int read_class(self) except -1:
        cdef unsigned flags = 0
        cdef type kind = self.kind
        for name, flag in _HANDLERS.items():
            if not _is_default(getattr(kind, name, None), name):
                flags |= flag
        if kind.readable is not _base.readable:
            flags |= ASK_READ
        if kind.writable is _buffered.writable:
            flags |= BUFFERED
        elif kind.writable is not _base.writable:
            flags |= ASK_WRITE
        for name in _STATES:
            if getattr(kind, name) is not getattr(_base, name):
                flags |= STATE
        self.flags = flags
        # Found in the class as they are, not through it: a staticmethod or a descriptor is left to be looked up.
        self.readable = _plain(_raw(kind, "readable"))
        self.writable = _plain(_raw(kind, "writable"))
        self.handle_read = _plain(_raw(kind, "handle_read"))
        self.handle_write = _plain(_raw(kind, "handle_write"))
        self.version = cyn_type_version(kind)
        return 0

    cdef bint is_current(self) noexcept:
        return self.version != 0 and self.version == cyn_type_version(self.kind)

    cdef int check(self) except -1:
        """Reads the class again if it has changed."""
        global _revision
        cdef unsigned before = self.flags
        if not self.is_current():
            self.read_class()
            if self.flags != before:
                _revision += 1
        return 0


cdef object _raw(type kind, str name):
    for base in kind.__mro__:
        if name in base.__dict__:
            return base.__dict__[name]
    return None


cdef Traits traits_of(type kind):
    """The traits of a class, kept in the class itself so that they live as long as it does."""
    cdef bint open_to_change = (<PyTypeObject *> kind).tp_flags & Py_TPFLAGS_HEAPTYPE
    cdef object kept = kind.__dict__.get(_ATTRIBUTE) if open_to_change else _of_extension_types.get(kind)
    cdef Traits traits
    if kept is None or (<Traits> kept).kind is not kind:  # of a class whose __dict__ was copied to make this one
        traits = Traits.__new__(Traits)
        traits.kind = kind
        if open_to_change:
            setattr(kind, _ATTRIBUTE, traits)
        else:
            _of_extension_types[kind] = traits
        traits.read_class()
        return traits
    traits = <Traits> kept
    traits.check()
    return traits


cdef unsigned traits_of_instance(object channel, unsigned flags) except? 0xFFFFFFFF:
    """`flags` of the channel's class, corrected by what the channel itself defines."""
    cdef dict own = channel.__dict__
    for name, flag in _HANDLERS.items():
        if name in own:
            flags |= flag
    if "readable" in own:
        flags |= ASK_READ
    if "writable" in own:
        flags = (flags | ASK_WRITE) & ~BUFFERED
    return flags
