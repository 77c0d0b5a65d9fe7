# SPDX-License-Identifier: MIT
# cython: language_level=3, freethreading_compatible=True
"""What a class of channels defines of its own: which predicates must be asked, which events it can handle.

A class is read once. Python gives every class a version tag that moves on when the class or a base of it is changed, so
that a method put there later is noticed by comparing two numbers. Methods put on a single channel are noticed by
``Channel.__setattr__``.

A default is a handler that only says "unhandled": `dispatcher` marks those, and they count as not defined.
"""

from types import FunctionType, MemberDescriptorType

from cpython.object cimport PyTypeObject

cdef extern from "Python.h":
    unsigned long Py_TPFLAGS_HEAPTYPE

cdef extern from *:
    """
    /* What Cython makes for a class without a base calls tp_alloc alone; in Python 3.11 and 3.12 it is object.__new__
     * that lets an instance keep its attributes beside itself instead of in a dict, where the interpreter finds them
     * sooner. So Channel has a base, and the base's __new__ is object's. */
    static PyObject *cyn_root_new(PyTypeObject *kind, PyObject *arguments, PyObject *names) {
        (void)arguments, (void)names;
        PyObject *none = PyTuple_New(0);
        if (!none) return NULL;
        PyObject *made = PyBaseObject_Type.tp_new(kind, none, NULL);
        Py_DECREF(none);
        return made;
    }
    static PyTypeObject cyn_root = {
        PyVarObject_HEAD_INIT(NULL, 0)
        .tp_name = "cyncore._traits.Root",
        .tp_basicsize = sizeof(PyObject),
        .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
        .tp_new = cyn_root_new,
    };
    static PyObject *cyn_root_ready(void) {
        if (PyType_Ready(&cyn_root) < 0) return NULL;
        Py_INCREF((PyObject *)&cyn_root);
        return (PyObject *)&cyn_root;
    }
    """
    object cyn_root_ready()

Root = cyn_root_ready()

# Set by _core, which defines the classes that everything is compared with.
_base = None
_buffered = None
_outbox = None  # set by _outbox

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
cdef tuple _SET = ("__setattr__", "set_socket", "add_channel", "socket", "addr", "_fileno", "_map")
cdef frozenset _SHADOWED = frozenset({"socket", "_fileno", "_map"})
cdef str _ATTRIBUTE = "_cyncore_traits"
cdef dict _of_extension_types = {}  # they take no attributes, and live for ever
cdef unsigned long _revision = 0


def set_bases(base, buffered):
    """Tells which classes' own methods count as not defined."""
    global _base, _buffered
    _base = base
    _buffered = buffered


def set_outbox(kind):
    """Tells the class whose `out_buffer` is the engine's own."""
    global _outbox
    _outbox = kind


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
        if flags & BUFFERED and _outbox is not None and issubclass(kind, _outbox):
            if kind.out_buffer is not _outbox.out_buffer:
                flags = (flags & ~BUFFERED) | ASK_WRITE | OWN_OUT
        for name in _STATES:
            if getattr(kind, name) is not getattr(_base, name):
                flags |= STATE | ASK_STATE if _is_computed(_raw(kind, name)) else STATE
        for name in _SET:
            if getattr(kind, name) is not getattr(_base, name):
                flags |= OWN_SET | SHADOWS if name in _SHADOWED else OWN_SET
        self.flags = flags
        # Found in the class as they are, not through it: a staticmethod or a descriptor is left to be looked up.
        self.readable = _plain(_raw(kind, "readable"))
        self.writable = _plain(_raw(kind, "writable"))
        self.handle_read = _plain(_raw(kind, "handle_read"))
        self.handle_write = _plain(_raw(kind, "handle_write"))
        self.version = cyn_type_version(kind)
        return 0

    cdef int check(self) except -1:
        """Reads the class again if it has changed."""
        global _revision
        cdef unsigned before = self.flags
        if not is_current(self):
            self.read_class()
            if self.flags != before:
                _revision += 1
        return 0


cdef bint _is_computed(object attribute):
    """May it say something else though nobody has set it? A slot may not."""
    return hasattr(type(attribute), "__get__") and type(attribute) is not MemberDescriptorType


cdef object _raw(type kind, str name):
    for base in kind.__mro__:
        if name in base.__dict__:
            return base.__dict__[name]
    return None


cdef Traits traits_of(type kind):
    """The traits of a class, kept in the class itself so that they live as long as it does."""
    cdef bint open_to_change = (<PyTypeObject *> kind).tp_flags & Py_TPFLAGS_HEAPTYPE
    cdef object kept = getattr(kind, _ATTRIBUTE, None) if open_to_change else _of_extension_types.get(kind)
    cdef Traits traits
    if type(kept) is not Traits or (<Traits> kept).kind is not kind:  # a base's, or of a copied __dict__
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
