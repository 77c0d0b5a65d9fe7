# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Endpoint: the socket of a channel, the state of its connection, its place in a map, and what it wants.

Facts that shape it:
- A class may define any method, an instance may carry any method, and a program may put one there at any time.
  `traits` reads the class; ``__setattr__`` sees what is put on an instance.
- The state (`connected` and its like) is four bits here, but a class may have it as a plain attribute instead; then it
  is looked up as Python would.
- A handler may close its own channel or give it another socket. After every call into Python the socket is compared.
- Two threads may hold the same Python socket and one of them close it, so the descriptor is asked of the socket object
  at each use: a closed one answers -1, and no byte goes to whoever got the number next.
"""

import os

from cpython.object cimport PyObject, PyObject_GenericGetAttr, PyObject_GenericSetAttr
from libc.errno cimport EINVAL, ENOTCONN
from libc.limits cimport INT_MAX

from .csrc cimport (
    CYN_PRI,
    CYN_READ,
    CYN_WRITE,
    cyn_peer_find,
)
from .internals cimport cyn_call_one, cyn_names, cyn_names_add, cyn_names_may_have
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
    traits_of,
    traits_of_instance,
)
from .watcher cimport (
    ACCEPTING,
    ASKING,
    BRAKES,
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
    Watcher,
    detach,
    take_out,
)

from .traits import OWN_NAMES

cdef extern from "Python.h":
    int generic_delete "PyObject_GenericSetAttr"(object owner, object name, PyObject *nothing) except -1
    object PyObject_CallMethodNoArgs(object self, object name)

cdef enum:  # what to do when an attribute is set; a smaller number is the bit of a handler or predicate
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
cdef cyn_names _watched  # these names, and those that `watch` was told

cdef str _MADE_UP = "_cyncore_made_up"  # the attribute for what a mock says its descriptor is


cdef int watch(object names) except -1:
    """From now on `attribute_changed` is called when an attribute of one of these names is set or deleted."""
    for name in names:
        cyn_names_add(&_watched, name)
    return 0


watch(WATCHED_NAMES)


cdef object _made_up(object channel):
    """Returns what a mock uses as its descriptor, or None, without calling a ``__getattr__`` of the class."""
    try:
        return PyObject_GenericGetAttr(channel, _MADE_UP)
    except AttributeError:
        return None


cdef bint _is_descriptor(object key) except -1:
    return isinstance(key, int) and 0 <= key <= INT_MAX


cdef class Endpoint(Watcher):
    """The socket of a channel, its state and its place in a map; see `Channel`."""

    def __setattr__(self, name, value):
        PyObject_GenericSetAttr(self, name, value)
        if self.polled_index >= 0 and not self.flags & (DIRTY | ASKING):
            self.dirty_add()  # its predicates may depend on this attribute
        if cyn_names_may_have(&_watched, name):
            self.attribute_changed(name, True)

    def __delattr__(self, name):
        generic_delete(self, name, NULL)
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
        return self.flags & CONNECTED != 0

    @connected.setter
    def connected(self, value):
        if self.flags & UNSENT and not value:
            self.flush_leaving()  # the program may rely on it that what it pushed was sent
        self.set_state(CONNECTED, bool(value))

    @property
    def accepting(self):
        """True for a listener."""
        return self.flags & ACCEPTING != 0

    @accepting.setter
    def accepting(self, value):
        self.set_state(ACCEPTING, bool(value))

    @property
    def connecting(self):
        """True from `connect` until the connection is made or has failed."""
        return self.flags & CONNECTING != 0

    @connecting.setter
    def connecting(self, value):
        self.set_state(CONNECTING, bool(value))

    @property
    def closing(self):
        """For programs to use; the loop does not look at it."""
        return self.flags & CLOSING != 0

    @closing.setter
    def closing(self, value):
        self.set_state(CLOSING, bool(value))

    # A class may have attributes of its own with these names (`SHADOWS`). Then `sock` and `map` are None, `fileno` is
    # -1, and the class's attributes are used.

    cdef object its_socket(self):
        if self.sock is None and traits_of(type(self)).flags & SHADOWS:
            return self.socket
        return self.sock

    cdef object its_map(self):
        if self.map is None and traits_of(type(self)).flags & SHADOWS:
            return self._map
        return self.map

    cdef object method_of_socket(self, str name):
        cdef object sock = self.its_socket()
        method = getattr(sock, name, None)
        if method is None:
            raise AttributeError(f"{self!r}: {type(self).__qualname__}.socket is {sock!r}, which has no {name}()")
        return method

    cdef bint is_as_before(self, object sock) except -1:
        """Returns True if it still has this socket, and is not closed."""
        return self.its_socket() is sock and (self.fileno >= 0 or self._fileno is not None)

    cdef int renew(self) except -1:
        """Tells the kernel everything again, after the channel got another socket."""
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
            self.flush(False)  # what was pushed comes before what the program does with the socket
        return self.sock

    @socket.setter
    def socket(self, value):
        if self.flags & UNSENT:
            self.flush_leaving()
        cdef object before = self.sock
        self.sock = value
        if is_plain(value):
            self.flags |= DIRECT
        else:
            self.flags &= ~DIRECT
        if self.loop is not None and value is not None and value is not before:
            # Another open file description may be behind the same number, of which the kernel was told nothing.
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
            PyObject_GenericSetAttr(self, _MADE_UP, value)  # a mock's, used as a key of the map

    @property
    def _map(self):
        return self.map

    @_map.setter
    def _map(self, value):
        self.map = value

    @property
    def addr(self):
        """What was given to bind or connect, or the address of the peer that was accepted; None: neither."""
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
        """Takes ``sock`` (anything with ``fileno()``) as the channel's own and adds the channel to ``map``."""
        self.socket = sock
        self._fileno = sock.fileno()
        self.add_channel(map)

    def _take(self, sock, map):
        """Takes a connected socket in one step. Returns False if the class or the socket may override one of the steps:
        the caller must then take them one by one.
        """
        cdef Registry loop
        cdef int found
        if type(sock) is not PLAIN_SOCKET or self.flags & OWN_STEPS or traits_of(type(self)).flags & (OWN_SET | STATE):
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
        """Takes the address of the peer of `sock` as `addr`. OSError where it has none."""
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

        Without a descriptor it is put into the map under None, and the loop passes it over. ValueError where the
        channel is in another loop; OSError (EBADF) where its descriptor is not open.
        """
        if map is None:
            map = self.its_map()
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
        if self.flags & UNSENT:
            self.flush_leaving()
        cdef int fd = self.fileno
        if map is None:
            map = self.its_map()
        if fd >= 0:
            self.fileno = -1
            self.leave(map, fd)
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
        """Reads what the class and the instance define, and joins or leaves the polled channels."""
        if self.loop is None:
            return 0
        self.defines = self.traits.flags
        if self.flags & INSTANCE:
            self.defines = traits_of_instance(self.own, self.defines)
        if self.sock is None or self.defines & SHADOWS:
            self.move_socket()
        if self.defines & (ASK_READ | ASK_WRITE | ASK_STATE):
            return self.polled_add()
        return self.polled_remove()

    cdef unsigned ask(self) except? 0xFFFFFFFF:
        """Asks only the predicates that the class or the instance defines."""
        cdef unsigned answers = CYN_READ
        self.flags |= ASKING  # what a predicate sets on its own channel is no reason to ask it again
        try:
            if self.defines & ASK_READ and not self.call(self.traits.readable, "readable"):
                answers = 0
            if self.defines & ASK_WRITE and self.call(self.traits.writable, "writable"):
                answers |= CYN_WRITE
            if self.defines & ASK_STATE:  # in bits that no event uses: if one of them changes, interest() may change
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
        """Calls a handler or predicate: the function that traits has found in the class, or the instance's own."""
        if method is None or self.flags & INSTANCE:
            return PyObject_CallMethodNoArgs(self, name)
        return cyn_call_one(method, self)

    cdef int flush(self, bint at_end) except -1:
        """Sends what was gathered. `at_end`: at the end of a tick, where the channel may also be closed after it."""
        self.flags &= ~FLUSH_QUEUED
        return 0

    cdef int flush_leaving(self) except -1:
        self.flags |= LEAVING
        try:
            self.flush(False)
        except Exception:  # a producer may raise anything; the channel is closed all the same
            self.flags &= ~LEAVING
            self.handle_error()
        finally:
            self.flags &= ~LEAVING
        return 0


cdef object _property = Endpoint.socket
