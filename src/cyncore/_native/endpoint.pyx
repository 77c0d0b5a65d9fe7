# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Endpoint: the socket of a channel, the state of its connection, its place in a map, and its interest.

Facts that shape it:
- A program may define any method in its class, or set one on an instance, at any time. `traits` reads the class, and
  ``__setattr__`` notices what is set on an instance.
- The state (`connected`, `accepting`, `connecting`, `closing`) is four flags here. A class may have one of these as an
  attribute of its own; then it is looked up as Python does.
- A handler may close its own channel or give it another socket. After every call into Python the socket is compared.
- Another thread may close the Python socket at any time. So the descriptor is read from the socket object at each use:
  it is -1 when closed, and no byte goes to another file that got the same number.
"""

import os

from cpython.object cimport PyObject_GenericGetAttr, PyObject_GenericSetAttr, PyTypeObject
from libc.errno cimport EINVAL, ENOTCONN
from libc.limits cimport INT_MAX

from .csrc cimport (
    CYN_PRI,
    CYN_READ,
    CYN_WRITE,
    cyn_peer_find,
)
from .internals cimport cyn_call_one, cyn_delete, cyn_names, cyn_names_add, cyn_names_may_have, cyn_type_setter
from .plain_socket cimport PLAIN_SOCKET, address_of, fileno_of, is_plain, stop_blocking
from .registry cimport Registry, registry_for
from .traits cimport (
    ASK_READ,
    ASK_STATE,
    ASK_WRITE,
    BUFFERED,
    OWN_SET,
    SHADOWS,
    STATE,
    URGENT,
    WRITES,
    flags_of,
    traits_of,
    traits_of_instance,
)
from .watcher cimport (
    ACCEPTING,
    ASKING,
    BRAKES,
    CHECKED,
    CLOSING,
    CONNECTED,
    CONNECTING,
    DIRECT,
    DIRTY,
    FLUSH_QUEUED,
    HELD,
    INSTANCE,
    LEAVING,
    MUTED,
    NAMELESS,
    OUTPUT,
    OWN_STEPS,
    PAUSED,
    UNSENT,
    VALUED,
    Watcher,
    detach,
    take_out,
)

from .. import _rules
from .traits import OWN_NAMES

cdef extern from "Python.h":
    PyTypeObject *Py_TYPE(object one) noexcept
    object PyObject_CallMethodNoArgs(object self, object name)

cdef enum:  # what the name of a watched attribute is; a smaller number is its place in OWN_NAMES, and bit in `own`
    WATCH_STATE = 32
    WATCH_CLASS = 33
    WATCH_STEPS = 34
    WATCH_SOCKET = 35
cdef dict WATCHED_NAMES = {
    **{name: at for at, name in enumerate(OWN_NAMES)},
    **dict.fromkeys(("connected", "accepting", "connecting", "closing"), WATCH_STATE),
    **dict.fromkeys(("set_socket", "add_channel"), WATCH_STEPS),
    "__class__": WATCH_CLASS,
    "socket": WATCH_SOCKET,
}
cdef cyn_names _watched  # these names, and those that `watch` has added

cdef str _VALUE = "_cyncore_"  # what begins the name of the attribute that keeps a state which is no bool
cdef str _DELETED = "_cyncore_no_socket"  # an attribute: the socket was deleted, as mocks do before they put one back
cdef str _MADE_UP = "_cyncore_made_up"  # the attribute that keeps a `_fileno` which is no descriptor, as mocks assign


cdef int watch(object names) except -1:
    """Has `attribute_changed` called whenever an attribute with one of these names is set or deleted."""
    for name in names:
        cyn_names_add(&_watched, name)
    return 0


watch(WATCHED_NAMES)


cdef object _made_up(object channel):
    """Returns a `_fileno` that is no descriptor, or None. A ``__getattr__`` of the class is not called."""
    try:
        return PyObject_GenericGetAttr(channel, _MADE_UP)
    except AttributeError:
        return None


cdef bint _is_descriptor(object key) except -1:
    return isinstance(key, int) and 0 <= key <= INT_MAX


cdef int _assign_state(Endpoint self, unsigned flag, str name, object value) except -1:
    """Sets the flag. A value that is no bool is kept as well: a program may put a time or a reason there."""
    if type(value) is not bool:
        self.flags |= VALUED
        PyObject_GenericSetAttr(self, _VALUE + name, (bool(value), value))
    elif self.flags & VALUED:
        (<object> self).__dict__.pop(_VALUE + name, None)
    return self.set_state(flag, bool(value))


cdef object _state_value(Endpoint self, unsigned flag, str name):
    """Returns what the program has assigned, unless the flag has changed since, or else the flag."""
    cdef bint on = self.flags & flag != 0
    assigned = (<object> self).__dict__.get(_VALUE + name)
    return assigned[1] if assigned is not None and assigned[0] == on else on


cdef class Endpoint(Watcher):
    """A watcher with a socket: the half of `Channel` that is about state, not about events.

    It has the attributes and methods of `dispatcher` for the socket, the map and the predicates, and computes the
    interest from them. It relies on `traits` for what the class defines, and on `watcher` for the lists of the loop.
    """

    def __cinit__(self):
        if cyn_type_setter(Py_TYPE(self)) is not _setter:
            _adopt_setter(self)

    def __setattr__(self, name, value):
        PyObject_GenericSetAttr(self, name, value)
        if self.polled_index >= 0 and not self.flags & (DIRTY | ASKING):
            self.dirty_add()  # its predicates may depend on this attribute
        if cyn_names_may_have(&_watched, name):
            self.attribute_changed(name, True)

    def __delattr__(self, name):
        cyn_delete(self, name)
        if self.polled_index >= 0 and not self.flags & (DIRTY | ASKING):
            self.dirty_add()
        if cyn_names_may_have(&_watched, name):
            self.attribute_changed(name, False)

    cdef int attribute_changed(self, object name, bint is_set) except -1:
        cdef object found = WATCHED_NAMES.get(name)
        cdef int watch
        if found is None:
            return 0
        watch = found
        if watch < WATCH_STATE:
            self.own = self.own | 1 << watch if is_set else self.own & ~(1 << watch)
            self.flags &= ~(MUTED | INSTANCE)
            if self.own:
                self.flags |= INSTANCE
            if self.loop is not None:
                self.classify()
                self.interest_changed()
        elif watch == WATCH_STATE:
            if self.loop is not None and self.defines & STATE:
                self.flags &= ~MUTED
                self.interest_changed()
        elif watch == WATCH_CLASS:
            if cyn_type_setter(Py_TYPE(self)) is not _setter:
                _adopt_setter(self)
            if self.loop is not None:
                self.reclass()
        elif watch == WATCH_STEPS:
            self.flags |= OWN_STEPS
        elif self.loop is not None and self.defines & SHADOWS and self.its_socket() is not None:
            self.renew()  # as the setter of the property does
        return 0

    # State

    cdef bint state(self, unsigned flag, str name) except -1:
        if self.defines & STATE:
            return bool(getattr(self, name))
        return self.flags & flag != 0

    cdef int set_state(self, unsigned flag, bint on) except -1:
        cdef unsigned before = self.flags
        if on:
            self.flags |= flag
        else:
            self.flags &= ~flag
        self.flags &= ~MUTED
        if self.loop is not None and self.flags != before:
            self.interest_changed()
        return 0

    @property
    def connected(self):
        """True while there is a connection."""
        return self.flags & CONNECTED != 0 if not self.flags & VALUED else _state_value(self, CONNECTED, "connected")

    @connected.setter
    def connected(self, value):
        if self.flags & UNSENT and not value:
            self.flush_leaving()  # what was pushed while it was connected is sent first
        _assign_state(self, CONNECTED, "connected", value)

    @connected.deleter
    def connected(self):
        if self.flags & UNSENT:
            self.flush_leaving()
        _assign_state(self, CONNECTED, "connected", False)

    @property
    def accepting(self):
        """True for a listener."""
        return self.flags & ACCEPTING != 0 if not self.flags & VALUED else _state_value(self, ACCEPTING, "accepting")

    @accepting.setter
    def accepting(self, value):
        _assign_state(self, ACCEPTING, "accepting", value)

    @accepting.deleter
    def accepting(self):
        _assign_state(self, ACCEPTING, "accepting", False)

    @property
    def connecting(self):
        """True from `connect` until the connection is made or has failed."""
        return self.flags & CONNECTING != 0 if not self.flags & VALUED else _state_value(self, CONNECTING, "connecting")

    @connecting.setter
    def connecting(self, value):
        _assign_state(self, CONNECTING, "connecting", value)

    @connecting.deleter
    def connecting(self):
        _assign_state(self, CONNECTING, "connecting", False)

    @property
    def closing(self):
        """For programs to use; the loop does not look at it."""
        return self.flags & CLOSING != 0 if not self.flags & VALUED else _state_value(self, CLOSING, "closing")

    @closing.setter
    def closing(self, value):
        _assign_state(self, CLOSING, "closing", value)

    @closing.deleter
    def closing(self):
        _assign_state(self, CLOSING, "closing", False)

    # A class may have attributes of its own named `socket`, `_fileno` or `_map` (`SHADOWS`). Then the field here is not
    # set (None, or -1), and the class's attribute is used.

    cdef object its_socket(self):
        if self.sock is None and flags_of(traits_of(type(self))) & SHADOWS:
            return self.socket
        return self.sock

    cdef object its_map(self):
        if self.map is None and flags_of(traits_of(type(self))) & SHADOWS:
            return self._map
        return self.map

    cdef object method_of_socket(self, str name):
        cdef object sock = self.its_socket()
        method = getattr(sock, name, None)
        if method is None:
            raise _rules.no_socket(self, sock, name)
        return method

    cdef bint is_as_before(self, object sock) except -1:
        """Returns True if it still has this socket, and is not closed."""
        return self.its_socket() is sock and (self.fileno >= 0 or self._fileno is not None)

    cdef int renew(self) except -1:
        """Registers the descriptor anew, after the channel got another socket."""
        if self.loop is None:
            return 0  # an attribute of the class's own, which was asked for it, has taken it out
        self.loop.renew(self.key_fd, self)
        self.flags &= ~(HELD | MUTED)
        return self.interest_changed()

    cdef int move_socket(self) except -1:
        """Moves the socket to where the class keeps it now: its own attribute `socket` was added or removed."""
        cdef object sock = self.sock
        if sock is None and not self.defines & SHADOWS:
            sock = self.__dict__.get("socket")
            if sock is not None:
                self.socket = sock
        elif sock is not None and self.defines & SHADOWS and type(self).socket is not _property:
            self.sock = None
            self.flags &= ~DIRECT
            try:
                PyObject_GenericSetAttr(self, "socket", sock)
            except AttributeError:
                pass  # the attribute cannot be set, because the class computes it
        return 0

    @property
    def socket(self):
        """The socket, or what stands for one, or None."""
        if self.flags & UNSENT:
            self.flush(False)  # what was pushed leaves before the program uses the socket
        if self.sock is None and self.flags & VALUED and _DELETED in (<object> self).__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute 'socket'")
        return self.sock

    @socket.deleter
    def socket(self):
        self.socket  # noqa - it cannot be deleted twice
        self.socket = None
        self.flags |= VALUED
        PyObject_GenericSetAttr(self, _DELETED, True)

    @socket.setter
    def socket(self, value):
        if self.flags & UNSENT:
            self.flush_leaving()
        if self.flags & VALUED:
            (<object> self).__dict__.pop(_DELETED, None)
        cdef object before = self.sock
        self.sock = value
        if is_plain(value):
            self.flags |= DIRECT
        else:
            self.flags &= ~DIRECT
        if self.loop is not None and value is not None and value is not before:
            # The same number may be another open file description now, of which the kernel was told nothing.
            self.renew()

    @property
    def _fileno(self):
        return _made_up(self) if self.fileno < 0 else self.fileno

    @_fileno.setter
    def _fileno(self, value):
        if value is None or isinstance(value, int):
            self.fileno = -1 if value is None else value
        else:
            self.fileno = -1
        if self.fileno < 0 and (value is not None or _made_up(self) is not None):
            PyObject_GenericSetAttr(self, _MADE_UP, value)  # a mock's: it is only used as the key in the map

    @property
    def _map(self):
        return self.map

    @_map.setter
    def _map(self, value):
        self.map = value

    @property
    def addr(self):
        """The address given to bind or connect, or that of the accepted peer; None if there is neither."""
        if self.peer.family:
            self.address = address_of(&self.peer)
            self.peer.family = 0
        return self.address

    @addr.setter
    def addr(self, value):
        self.peer.family = 0
        self.address = value

    @addr.deleter
    def addr(self):
        self.peer.family = 0
        self.address = None

    def _disconnect(self):
        """Clears connected, connecting and accepting. Returns False if the class overrides these attributes: the caller
        must then assign each of them.
        """
        if self.loop is None or self.defines & (OWN_SET | STATE):
            return False
        if self.flags & UNSENT:
            self.flush_leaving()
        self.flags &= ~(CONNECTED | ACCEPTING | CONNECTING | MUTED)
        self.interest_changed()
        return True

    def set_socket(self, sock, map=None):
        """Makes ``sock`` (any object with ``fileno()``) the channel's socket, and adds the channel to ``map``."""
        self.socket = sock
        self._fileno = sock.fileno()
        self.add_channel(map)

    def _take(self, sock, map):
        """Takes a connected socket in one step. Returns False if the class or the socket may override one of the steps:
        the caller must then make them one by one.
        """
        cdef Registry loop
        cdef int found
        if type(sock) is not PLAIN_SOCKET or self.flags & OWN_STEPS:
            return False
        if flags_of(traits_of(type(self))) & (OWN_SET | STATE):
            return False
        if self.sock is not None or self.fileno >= 0 or self.loop is not None:
            return False
        stop_blocking(sock)
        PyObject_GenericSetAttr(self, "socket", sock)
        if not self.flags & DIRECT:
            return False
        self.map = map
        self.flags |= CONNECTED
        self.fileno = fileno_of(sock)
        try:
            if self.fileno < 0:
                raise ValueError(f"{self!r} has no file descriptor to add")
            loop = registry_for(map)
            found = cyn_peer_find(self.fileno, &self.peer)
            if found == 0:
                self.address = sock.getpeername()
            elif found == -ENOTCONN or found == -EINVAL:
                self.flags &= ~CONNECTED
            elif found < 0:
                raise OSError(-found, os.strerror(-found))
            self.put(loop, self.fileno)
        except BaseException:
            self.fileno = -1
            raise
        return True

    def _find_peer(self, sock):
        """Sets `addr` to the address of the peer of `sock`. OSError if it has none."""
        cdef int found = 0
        if sock is self.sock and self.flags & DIRECT and self.loop is not None and not self.defines & OWN_SET:
            found = cyn_peer_find(fileno_of(sock), &self.peer)
            if found < 0:
                raise OSError(-found, os.strerror(-found))
        if found == 0:
            self.addr = sock.getpeername()

    # The map

    def add_channel(self, map=None):
        """Joins ``map`` (None: the channel's own) and its loop. Any thread.

        A channel without a descriptor is put into the map under None, which the loop ignores. ValueError if the channel
        is in another loop; OSError (EBADF) if its descriptor is not open.
        """
        if map is None:
            map = self.its_map()
            if map is None:
                raise AttributeError(_rules.not_begun(self))
            if type(map) is not dict and not hasattr(map, "__setitem__"):
                raise TypeError(f"{type(self).__qualname__}._map is {map!r}: a map of channels must be a dict, "
                                "or behave like one")
        if self.fileno >= 0:
            self.join(map, self.fileno)
            return
        key = self._fileno
        if _is_descriptor(key):
            self.join(map, key)
            return
        if key is None:
            self.flags |= NAMELESS
        map[key] = self

    cdef int join(self, object map, int fd) except -1:
        cdef Registry loop = self.loop
        if loop is None or loop.map is not map:
            loop = registry_for(map)
        if self.loop is not None and self.loop is not loop:
            if self.loop.map.get(self.key_fd) is self:
                raise ValueError(f"{self!r} fd {self.key_fd} is in {self.loop!r} already: del_channel() comes first")
            self.leave_loop()
        self.put(loop, fd)
        if self.flags & NAMELESS:
            self.flags &= ~NAMELESS
            if map.get(None) is self:
                del map[None]
        return 0

    def del_channel(self, map=None):
        """Leaves ``map`` (None: the channel's own) and its loop, before the descriptor is closed. Any thread."""
        if self.flags & CHECKED and self.loop is not None:
            self.loop.check_caller("del_channel", self)
        if self.flags & UNSENT:
            self.flush_leaving()
        cdef int fd = self.fileno
        if map is None:
            map = self.its_map()
        if fd >= 0:
            self.fileno = -1
            self.leave(map, fd)
            if self.defines & OWN_SET:
                self._fileno = None  # for a __setattr__ of the program's
            return
        key = self._fileno
        if _is_descriptor(key):
            self.leave(map, key)
        elif map is not None and map.get(key) is self:
            del map[key]
        self._fileno = None

    cdef int leave(self, object map, int fd) except -1:
        cdef Registry loop = self.loop
        entry = map.get(fd) if map is not None else None
        if entry is not None and (entry is self or not isinstance(entry, Endpoint)):
            if loop is not None and loop.map is map:
                take_out(loop, fd)
            else:
                del map[fd]
        elif loop is not None and self.key_fd == fd and loop.map is map:
            detach(loop, fd)
        return 0

    # What is wanted

    def readable(self):
        """Returns True if the channel wants to read. A class may define it; docs/design.md says when it is asked."""
        return True

    def writable(self):
        """Returns True if the channel wants to write. A class may define it; docs/design.md says when it is asked."""
        return True

    def pause_reading(self):
        """Stops read events until `resume_reading`; input waits in the kernel. Does nothing the second time."""
        if self.loop is not None:
            self.loop.check("pause_reading")
        self.set_state(PAUSED, True)

    def resume_reading(self):
        """Allows read events again. Does nothing if reading is not paused."""
        if self.loop is not None:
            self.loop.check("resume_reading")
        self.set_state(PAUSED, False)

    cdef int classify(self) except -1:
        """Notes what the class and the instance define, and joins or leaves the polled channels accordingly."""
        if self.loop is None:
            return 0
        self.defines = flags_of(self.traits)
        if self.flags & INSTANCE:
            self.defines = traits_of_instance(self.own, self.defines)
        if self.sock is None or self.defines & SHADOWS:
            self.move_socket()
            if self.loop is None:
                return 0  # the class's own attribute has taken it out
        if self.defines & (ASK_READ | ASK_WRITE | ASK_STATE):
            return self.polled_add()
        return self.polled_remove()

    cdef unsigned ask(self) except? 0xFFFFFFFF:
        """Calls only those predicates that the class or the instance defines."""
        cdef unsigned answers = CYN_READ
        self.flags |= ASKING  # an attribute that a predicate sets on its own channel does not make it dirty
        try:
            if self.defines & ASK_READ and not self.call(self.traits.readable, "readable"):
                answers = 0
            if self.defines & ASK_WRITE and self.call(self.traits.writable, "writable"):
                answers |= CYN_WRITE
            if self.defines & ASK_STATE:  # in bits of no event: if one of them changes, the answer counts as a new one
                for at, name in enumerate(("accepting", "connecting", "connected")):
                    answers |= <unsigned> bool(getattr(self, name)) << (8 + <unsigned> at)
        finally:
            self.flags &= ~ASKING
        return answers

    cdef unsigned interest(self) except? 0xFFFFFFFF:
        cdef unsigned defines = self.defines, flags = self.flags, wanted = CYN_READ
        cdef bint connecting
        if defines & ASK_READ:
            wanted = self.answers & CYN_READ
        if flags & BRAKES:
            wanted = 0
        if wanted and defines & URGENT:
            wanted |= CYN_PRI
        if defines & STATE:
            if self.state(ACCEPTING, "accepting"):
                return wanted
        elif flags & ACCEPTING:
            return wanted
        if defines & STATE:
            connecting = self.state(CONNECTING, "connecting") and not self.state(CONNECTED, "connected")
        else:
            connecting = flags & (CONNECTING | CONNECTED) == CONNECTING
        if defines & ASK_WRITE:
            if self.answers & CYN_WRITE and (connecting or defines & WRITES):
                wanted |= CYN_WRITE
        elif connecting or (flags & OUTPUT if defines & BUFFERED else defines & WRITES):
            wanted |= CYN_WRITE
        return wanted

    # Its handlers

    cdef object call(self, object method, str name):
        """Calls a handler or predicate: `method`, which traits found in the class, or the one the instance carries."""
        if method is None or self.flags & INSTANCE:
            return PyObject_CallMethodNoArgs(self, name)
        return cyn_call_one(method, self)

    cdef int flush(self, bint at_end) except -1:
        """Sends what was gathered. `at_end`: the tick ends, so the channel may also be closed when all is sent."""
        self.flags &= ~FLUSH_QUEUED
        return 0

    cdef int flush_leaving(self) except -1:
        """Flushes before the channel is closed. LEAVING keeps the flush from calling handle_close."""
        self.flags |= LEAVING
        try:
            self.flush(False)
        except Exception:  # a producer may raise anything, which does not keep the channel from being closed
            self.flags &= ~LEAVING  # handle_error runs as it does for any other error
            self.handle_error()
        finally:
            self.flags &= ~LEAVING
        return 0


cdef object _property = Endpoint.socket


# A `__setattr__` of the program's own

cdef void *_setter = cyn_type_setter(<PyTypeObject *> Endpoint)


cdef int _adopt_setter(Endpoint channel) except -1:
    from .._attributes import adopt

    adopt(type(channel), Endpoint)
    return 0
