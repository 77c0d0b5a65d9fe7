# SPDX-License-Identifier: MIT
# cython: language_level=3, freethreading_compatible=True
"""Traits: what a class of channels defines of its own. Which predicates must be asked, and which events it handles.

A class is read once, and again when one of the names that matter has changed in it or in a base. From Python 3.12 on a
dict watcher reports such a change. Before, the class and each dict have a version number that changes with every
change, and the names are compared only if the numbers differ. So a class that counts something in an attribute costs
next to nothing. ``Endpoint.__setattr__`` notices a method that is set on a single channel.

Without the GIL loops in several threads share what is known of a class. It is read aside, and then taken over in one
step, in a critical section in which nothing waits (`take`). What is looked at outside of one is atomic: whether it is
current, and the flags. A change is counted before it is made, while the dict is locked; so the count is looked at
first, and then each dict under its lock.

`dispatcher` marks its handlers that only log "unhandled". They count as not defined.
"""

from types import FunctionType, MemberDescriptorType

import cython

from cpython.object cimport PyObject, PyTypeObject
from cpython.unicode cimport PyUnicode_CheckExact
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free

cdef extern from "Python.h":
    unsigned long Py_TPFLAGS_HEAPTYPE

from .internals cimport (
    CYN_DICT_FREED,
    CYN_DICTS_HAVE_VERSIONS,
    CYN_FREE_THREADS,
    cyn_add_count,
    cyn_call_if_for,
    cyn_dict_event,
    cyn_dict_holds,
    cyn_dict_version,
    cyn_guard,
    cyn_is_for,
    cyn_may_have_attributes,
    cyn_names,
    cyn_names_add,
    cyn_names_may_have,
    cyn_root_ready,
    cyn_see_count,
    cyn_set_count,
    cyn_set_int,
    cyn_type_dict,
    cyn_watch,
    cyn_watcher_add,
    vectorcallfunc,
)

Root = cyn_root_ready()

cdef cyn_names _followed  # the names of _all_names
cdef unsigned long _class_epoch = 1  # counts the changes of these names in watched dicts


cdef int _class_changes(cyn_dict_event event, PyObject *dict, PyObject *key, PyObject *value) noexcept:
    """Called when a watched dict of a class is about to change; without a key, all of the dict changes."""
    if event == CYN_DICT_FREED:
        return 0
    if key is NULL or not PyUnicode_CheckExact(<object> key) or cyn_names_may_have(&_followed, <object> key):
        cyn_add_count(&_class_epoch, 1)
    return 0

# A class is compared with the engine's own classes. Those build on this module, so it cannot name them. Each has an
# attribute that says its role, by which it is found among the bases of a class that is read.
cdef str _ROLE = "_cyncore_role"
cdef dict _roles = {"channel": None, "buffered": None, "outbox": None}
cdef int _unknown_roles = len(_roles)
cdef type _base = None                # the class with the role "channel"
cdef list _usual                      # what it has under each of _NAMES
cdef object _buffered_writable = object()
cdef type _outbox = None
cdef object _outbox_buffer = None

cdef dict _HANDLERS = {
    "handle_read": READS,
    "handle_read_event": READS | READ_EVENT,
    "handle_write": WRITES,
    "handle_write_event": WRITES | WRITE_EVENT,
    "handle_expt": URGENT,
    "handle_expt_event": URGENT,
    "handle_accept": ACCEPTS,
}
# The names that an instance may carry itself. `_own_flags` has the flags of each.
cdef object _mro_of = type.__dict__["__mro__"].__get__  # the attribute itself: a metaclass may have another one
OWN_NAMES = (*_HANDLERS, "readable", "writable")
cdef enum:
    _OWN_COUNT = 9
    _OWN_WRITABLE = 256  # the bit of `writable`, the last of OWN_NAMES
cdef unsigned[_OWN_COUNT] _own_flags
for _at, _name in enumerate(OWN_NAMES):
    _own_flags[_at] = {"readable": ASK_READ, "writable": ASK_WRITE, **_HANDLERS}[_name]
assert len(OWN_NAMES) == _OWN_COUNT
cdef tuple _STATES = ("connected", "accepting", "connecting", "closing")
cdef tuple _SET = ("__setattr__", "set_socket", "add_channel", "socket", "addr", "_fileno", "_map")
cdef frozenset _SHADOWED = frozenset({"socket", "_fileno", "_map"})
cdef str _ATTRIBUTE = "_cyncore_traits"
cdef dict _of_extension_types = {}  # traits of classes that take no attributes and live for ever
cdef unsigned long _revision = 0
cdef enum:  # places in _NAMES
    _HANDLE_READ = 0
    _HANDLE_WRITE = 2
    _READABLE = 7
    _WRITABLE = 8
    _FIRST_STATE = 9
    _FIRST_SET = 13
    _OUT_BUFFER = 20
    _LOOK_UP = 21
cdef object _MISSING = object()
cdef tuple _NAMES = ()
cdef type _extra_base = None  # of classes that derive from this one, _all_names are read
cdef tuple _all_names = ()  # _NAMES, and then the names that `follow` has added
cdef dict _places = {}  # the place of each name in _all_names
cdef int _watcher = -1


cdef int _begin() except -1:
    global _NAMES, _usual, _watcher
    _NAMES = (*OWN_NAMES, *_STATES, *_SET, "out_buffer", "__getattribute__")
    for name in _NAMES:
        cyn_names_add(&_followed, name)
        _places[name] = len(_places)
    _usual = [None] * len(_NAMES)
    _watcher = cyn_watcher_add(_class_changes)
    return 0


_begin()


cdef int follow(type base, object names) except -1:
    """Has classes that derive from `base` read again also when one of these names has changed."""
    global _extra_base, _all_names
    _extra_base = base
    _all_names = (*_NAMES, *(name for name in names if name not in _places))
    for name in _all_names:
        cyn_names_add(&_followed, name)
        _places.setdefault(name, len(_places))
    return 0


cdef int _find_roles(tuple mro) except -1:
    """Remembers those of these classes that are the engine's own, by their roles."""
    global _unknown_roles, _base, _usual, _buffered_writable, _outbox, _outbox_buffer
    for kind in mro:
        if (<PyTypeObject *> kind).tp_flags & Py_TPFLAGS_HEAPTYPE:
            continue  # a class of the program's, which may be made from a copy of ours
        role = cyn_type_dict(<type> kind).get(_ROLE)
        if type(role) is str and _roles.get(role, role) is None:
            _roles[role] = kind
            _unknown_roles -= 1
            if role == "channel":
                _base = kind
                _usual = [_raw(kind, name) for name in _NAMES]
            elif role == "buffered":
                _buffered_writable = _raw(kind, "writable")
            elif role == "outbox":
                _outbox = kind
                _outbox_buffer = _raw(kind, "out_buffer")
    return 0


cdef unsigned long revision() noexcept:
    """Returns a count that grows whenever the flags of a class have changed."""
    return cyn_see_count(&_revision)


cdef bint _is_default(object method, object usual):
    if method is None or method is usual:
        return True
    if type(method) is FunctionType and not cyn_may_have_attributes(method):
        return False
    return getattr(method, "unhandled", None) is True


cdef object _plain(object method):
    """Returns the method if it is a plain function, which is called without a look-up; else None.

    Without the GIL always None: another thread may put a new function there at the moment in which this one is taken.
    """
    return method if not CYN_FREE_THREADS and type(method) is FunctionType else None


cdef class Traits:
    """What one class of channels defines of its own, as flags, with the functions that are called most often."""

    def __cinit__(self):
        self.epoch_now = &_class_epoch if _watcher >= 0 else NULL

    def __dealloc__(self):
        free(self.versions)

    cdef int read_class(self) except -1:
        """Sets the flags and functions from what `read_names` has found."""
        cdef unsigned flags = 0
        cdef Py_ssize_t at
        cdef list found = self.found
        cdef Traits base = self.base
        if base is not None:  # the class inherits everything
            self.flags = <int> flags_of(base)
            self.readable, self.writable = base.readable, base.writable
            self.handle_read, self.handle_write = base.handle_read, base.handle_write
            self.base = None
            return 0
        cdef list usual = _usual
        for at in range(_OWN_COUNT - 2):
            if not _is_default(found[at], usual[at]):
                flags |= _own_flags[at]
        if found[_READABLE] is not usual[_READABLE]:
            flags |= ASK_READ
        if found[_WRITABLE] is _buffered_writable:
            flags |= BUFFERED
        elif found[_WRITABLE] is not usual[_WRITABLE]:
            flags |= ASK_WRITE
        for at in range(_FIRST_STATE, _FIRST_SET):
            if found[at] is not usual[at]:
                flags |= STATE | ASK_STATE if _is_computed(found[at]) else STATE
        for at in range(_FIRST_SET, _OUT_BUFFER):
            if found[at] is not usual[at]:
                flags |= OWN_SET | SHADOWS if _NAMES[at] in _SHADOWED else OWN_SET
        if flags & BUFFERED and _outbox is not None and found[_OUT_BUFFER] is not _outbox_buffer:
            if issubclass(self.kind, _outbox):
                flags = (flags & ~BUFFERED) | ASK_WRITE | OWN_OUT
        if found[_LOOK_UP] is not None:  # it may answer with anything, so that everything is looked up through it
            flags |= READS | READ_EVENT | ASK_READ
            if flags & (WRITES | BUFFERED):
                flags = (flags & ~BUFFERED) | WRITE_EVENT | ASK_WRITE
            self.flags = <int> flags
            self.readable = self.writable = self.handle_read = self.handle_write = None
            return 0
        self.flags = <int> flags
        self.readable = _plain(found[_READABLE])
        self.writable = _plain(found[_WRITABLE])
        self.handle_read = _plain(found[_HANDLE_READ])
        self.handle_write = _plain(found[_HANDLE_WRITE])
        return 0

    cdef int read_names(self) except -1:
        """Remembers what the class and its bases have under the names that matter.

        If the next base was read already, what it has is taken over.
        """
        cdef type kind = self.kind
        cdef Py_ssize_t at
        cdef Traits base = None
        cdef tuple mro = _mro_of(kind)
        cdef tuple base_mro = None, base_names = None
        if (
            _base is not None and kind is not _base and mro[1] is not _base and issubclass(mro[1], _base)
            and len(_mro_of(mro[1])) < len(mro)  # the mro() of a metaclass may go in a circle
        ):
            base = traits_of(<type> mro[1])
            with cython.critical_section(base):
                base_mro, base_names = base.mro, base.names
            if base_mro != mro[1:]:
                base = None
        if _unknown_roles:
            _find_roles(mro[:-1] if base is None else (kind,))  # the bases were read before
        self.names = _NAMES if _extra_base is None or not issubclass(kind, _extra_base) else _all_names
        self.base = None
        if base is not None and base_names is self.names:
            self.take_base(base)
        else:
            self.nothing = [_MISSING] * len(self.names)
            self.dicts = [cyn_type_dict(<type> one) for one in mro[:-1]]
            if _watcher >= 0:  # before they are read, so that no change comes between
                for own in self.dicts:
                    _follow_dict(own)
            self.held = [[dict.get(name, _MISSING) for name in self.names] for dict in map(_unchanging, self.dicts)]
            self.found = [
                next((held[at] for held in self.held if held[at] is not _MISSING), None)
                for at in range(len(self.names))
            ]
        self.mro = mro
        self.mro_now = <unsigned long> <void *> mro
        free(self.versions)
        self.versions = <uint64_t *> calloc(len(self.dicts) + 1, sizeof(uint64_t))
        if self.versions is NULL:
            raise MemoryError
        for at in range(len(self.dicts)):
            self.versions[at] = cyn_dict_version(self.dicts[at])
        return 0

    cdef int take_base(self, Traits base) except -1:
        """Takes over what the base has, except for names in the class's own dict."""
        cdef dict own = cyn_type_dict(self.kind)
        cdef dict now
        cdef list base_dicts, base_held, base_found, held
        if _watcher >= 0:
            _follow_dict(own)
        now = _unchanging(own)
        with cython.critical_section(base):
            self.nothing, base_dicts, base_held, base_found = base.nothing, base.dicts, base.held, base.found
        held = self.nothing
        self.found = base_found
        for name in now:
            place = _places.get(name)
            if place is not None and place < len(held):
                if held is self.nothing:
                    held, self.found = list(held), list(base_found)
                held[place] = self.found[place] = now[name]
        if held is self.nothing:
            self.base = base
        self.dicts = [own, *base_dicts]
        self.held = [held, *base_held]
        return 0

    cdef int note_version(self, unsigned version, unsigned long epoch) noexcept:
        cyn_set_int(<int *> &self.version, <int> version)
        cyn_set_count(&self.epoch, epoch)
        return 0

    cdef bint is_same(self) except -1:
        """Returns True if the class still has what was read. Then `is_current` is True until the next change."""
        cdef Py_ssize_t at
        cdef uint64_t version
        cdef unsigned long epoch = cyn_see_count(&_class_epoch)  # first, so that a change meanwhile is noticed later
        cdef unsigned class_version = cyn_type_version(self.kind)
        cdef tuple mro, names
        cdef list dicts, held
        with cython.critical_section(self):
            mro, names, dicts, held = self.mro, self.names, self.dicts, self.held
        if <void *> mro is not cyn_type_mro(self.kind):
            return False
        for at in range(len(dicts)):
            version = cyn_dict_version(dicts[at])
            if CYN_DICTS_HAVE_VERSIONS and self.versions[at] == version:
                continue
            if not _holds(dicts[at], names, held[at]):
                return False
            if CYN_DICTS_HAVE_VERSIONS:
                self.versions[at] = version
        with cython.critical_section(self):
            if self.held is held:  # else another thread has read it again meanwhile
                self.note_version(class_version, epoch)
        return True

    cdef int read(self) except -1:
        cdef unsigned long epoch = cyn_see_count(&_class_epoch)  # first, as above
        cdef unsigned version = cyn_type_version(self.kind)
        self.read_names()
        self.read_class()
        self.note_version(version, epoch)
        return 0

    cdef int check(self) except -1:
        """Reads the class again if one of the names that matter has changed."""
        cdef Traits fresh
        if is_current(self) or self.is_same():
            return 0
        fresh = Traits.__new__(Traits)
        fresh.kind = self.kind
        fresh.read()  # a metaclass may raise: then this is not current, and it is read again at its next use
        return self.take(fresh)

    cdef int take(self, Traits fresh) except -1:
        """Takes over what was read, and says at the end that it is current. What was there before is left in `fresh`.

        So no object ends, and nothing else waits or runs, in the critical section.
        """
        cdef int before
        with cython.critical_section(self):
            if fresh.epoch < self.epoch:
                return 0  # another thread has read it later
            before = self.flags
            cyn_set_int(&self.flags, fresh.flags)
            self.mro, fresh.mro = fresh.mro, self.mro
            self.names, fresh.names = fresh.names, self.names
            self.dicts, fresh.dicts = fresh.dicts, self.dicts
            self.held, fresh.held = fresh.held, self.held
            self.nothing, fresh.nothing = fresh.nothing, self.nothing
            self.found, fresh.found = fresh.found, self.found
            self.versions, fresh.versions = fresh.versions, self.versions
            if not CYN_FREE_THREADS:  # else they are None
                self.readable, fresh.readable = fresh.readable, self.readable
                self.writable, fresh.writable = fresh.writable, self.writable
                self.handle_read, fresh.handle_read = fresh.handle_read, self.handle_read
                self.handle_write, fresh.handle_write = fresh.handle_write, self.handle_write
            cyn_add_count(&self.stamp, 1)
            if before != fresh.flags:
                cyn_add_count(&_revision, 1)
            cyn_set_count(&self.mro_now, fresh.mro_now)
            self.note_version(fresh.version, fresh.epoch)
        return 0


cdef dict _unchanging(dict own):
    """Returns what a class's dict has between two changes by other threads."""
    return own.copy() if CYN_FREE_THREADS else own


cdef int _holds(dict own, tuple names, list held) except -1:
    """Compares a class's dict with what it had under these names, and not while another thread changes it."""
    with cython.critical_section(own):
        return cyn_dict_holds(own, names, held, _MISSING)


cdef int _follow_dict(dict own) except -1:
    """Has its changes counted."""
    with cython.critical_section(own):
        return cyn_watch(_watcher, own)


cdef bint _is_computed(object attribute):
    """Returns True if the attribute is computed, so that it may change without an assignment. A slot is not."""
    return hasattr(type(attribute), "__get__") and type(attribute) is not MemberDescriptorType


cdef object _raw(type kind, str name):
    for base in kind.__mro__:
        if name in base.__dict__:
            return base.__dict__[name]
    return None


cdef Traits traits_of(type kind):
    """Returns the traits of a class. They are kept in the class itself, and live as long as it does."""
    cdef bint open_to_change = (<PyTypeObject *> kind).tp_flags & Py_TPFLAGS_HEAPTYPE
    cdef dict own = cyn_type_dict(kind)
    cdef object kept = own.get(_ATTRIBUTE) if open_to_change else _of_extension_types.get(kind)
    cdef Traits traits
    if type(kept) is not Traits or (<Traits> kept).kind is not kind:  # they came with a copy of another __dict__
        traits = Traits.__new__(Traits)
        traits.kind = kind
        traits.stamp = 1
        traits.read()
        if not open_to_change:
            _of_extension_types[kind] = traits
        elif CYN_FREE_THREADS:
            setattr(kind, _ATTRIBUTE, traits)
        else:
            own[_ATTRIBUTE] = traits  # setattr would make Python's caches of the class invalid for nothing
        return traits
    traits = <Traits> kept
    traits.check()
    return traits


cdef unsigned traits_of_instance(unsigned own, unsigned flags) noexcept:
    """Returns the flags of a class with those of what an instance carries: `own` has a bit for each of OWN_NAMES."""
    cdef int at
    for at in range(_OWN_COUNT):
        if own >> at & 1:
            flags |= _own_flags[at]
    return flags & ~BUFFERED if own & _OWN_WRITABLE else flags


# The methods of extension classes: none is called for an object of another class

cdef vectorcallfunc[3] _calls  # what the guards below call, by the ways in which methods are called


cdef PyObject *_without(PyObject *method, PyObject *const *arguments, size_t count, PyObject *names) noexcept:
    if cyn_is_for(method, arguments, count):
        return _calls[0](method, arguments, count, names)
    return cyn_call_if_for(method, arguments, count, names, _calls[0])


cdef PyObject *_with_one(PyObject *method, PyObject *const *arguments, size_t count, PyObject *names) noexcept:
    if cyn_is_for(method, arguments, count):
        return _calls[1](method, arguments, count, names)
    return cyn_call_if_for(method, arguments, count, names, _calls[1])


cdef PyObject *_with_any(PyObject *method, PyObject *const *arguments, size_t count, PyObject *names) noexcept:
    if cyn_is_for(method, arguments, count):
        return _calls[2](method, arguments, count, names)
    return cyn_call_if_for(method, arguments, count, names, _calls[2])


cdef vectorcallfunc[3] _guards
_guards[:] = [_without, _with_one, _with_any]


def guard(type kind):
    """Has the methods of an extension class and of its bases refuse a self of another class, by a TypeError."""
    for base in kind.__mro__[:-1]:
        for member in vars(base).values():
            cyn_guard(member, base, _guards, _calls)
