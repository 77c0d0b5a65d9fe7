# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Plain sockets: instances of exactly `socket.socket`, on which the engine makes system calls itself.

The program must not notice this. So the class must be Python's own, with none of its methods replaced, and the
descriptor, which is read from the object without a call, must be what ``fileno()`` returns. Any other socket is used
through its methods.
"""

import _socket as _c_socket
import os
import socket as _socket

from cpython.object cimport PyObject_GenericSetAttr
from libc.errno cimport EAGAIN, EINTR

from .csrc cimport (
    CYN_PEER_TEXT,
    POLLIN,
    cyn_close,
    cyn_peer,
    cyn_peer_accept,
    cyn_peer_host,
    cyn_poll,
    pollfd,
)
from .internals cimport cyn_initialise, cyn_type_version

from .. import _patched

cdef extern from "Python.h":
    object PyObject_CallOneArg(object function, object argument)
    object PyUnicode_DecodeASCII(const char *text, Py_ssize_t size, const char *errors)

PLAIN_SOCKET = _patched.plain_socket()
cdef unsigned _plain_version = 0  # version of that class when its methods were checked last
cdef bint _is_own = False
cdef object _C_SOCKET = _c_socket.socket
cdef int AF_INET = _socket.AF_INET
cdef int AF_INET6 = getattr(_socket, "AF_INET6", -1)
# The members of the C class. The properties of the Python class make enumerations, which takes longer than accept(2).
cdef object _family_of, _type_of, _protocol_of, _set_blocking
cdef object _fileno_method = None
cdef list _first_values = None  # the names and values of the slots of a new socket; None: not known yet
if PLAIN_SOCKET is not None:
    _family_of = _C_SOCKET.family.__get__
    _type_of = _C_SOCKET.type.__get__
    _protocol_of = _C_SOCKET.proto.__get__
    _set_blocking = _C_SOCKET.setblocking
    _fileno_method = _C_SOCKET.fileno


cdef bint is_plain(object sock) except -1:
    """Returns True if the engine may make system calls in place of the methods of this socket."""
    return type(sock) is PLAIN_SOCKET and has_own_methods() and _is_as_known(sock)


cdef bint _is_as_known(object plain_socket) except -1:
    """Returns True if the descriptor that is read from the object is what its ``fileno()`` returns."""
    return fileno_of(plain_socket) == <int> PyObject_CallOneArg(_fileno_method, plain_socket)


cdef int stop_blocking(object plain_socket) except -1:
    _set_blocking(plain_socket, False)
    return 0


cdef bint has_own_methods() except -1:
    """Returns True if no method of `socket.socket` was replaced. Called when a channel gets a socket or accepts one."""
    global _plain_version, _is_own
    if _plain_version == 0 or _plain_version != cyn_type_version(<type> PLAIN_SOCKET):
        _is_own = _patched.has_own_methods(PLAIN_SOCKET)
        PLAIN_SOCKET.recv  # after a change, a class has a version only once something was looked up
        _plain_version = cyn_type_version(<type> PLAIN_SOCKET)
    return _is_own


cdef object _new_socket(object family, object kind, object protocol, int fd):
    """Returns ``socket.socket(family, kind, protocol, fd)``, in a fifth of the time.

    ``__init__`` of the Python class is not called. It only sets a few slots, whose values `_learn_values` has read.
    If no socket can be made, the descriptor is closed.
    """
    cdef type plain = PLAIN_SOCKET
    made = None
    try:
        made = plain.__new__(plain)
        cyn_initialise(_C_SOCKET, made, (family, kind, protocol, fd))
    except BaseException:
        if made is None or fileno_of(made) != fd:
            cyn_close(fd)  # no socket owns it
        raise
    for name, value in _first_values:
        PyObject_GenericSetAttr(made, name, value)
    return made


cdef int _learn_values(int family) except -1:
    """Reads the slots of a new socket into `_first_values`. OSError if no descriptor is left to make one."""
    global _first_values
    with PLAIN_SOCKET(family) as first:
        names = [name for name in PLAIN_SOCKET.__slots__ if name != "__weakref__"]
        _first_values = [(name, getattr(first, name)) for name in names if hasattr(first, name)]
    return 0


cdef object address_of(const cyn_peer *peer):
    """Returns the address as the socket module does: a tuple."""
    cdef char text[CYN_PEER_TEXT]
    cdef int size = cyn_peer_host(peer, text)
    host = PyUnicode_DecodeASCII(text, size, NULL)
    return (host, peer.port) if peer.family == AF_INET else (host, peer.port, peer.flow, peer.scope)


cdef bint is_readable(object plain_socket):
    cdef pollfd one
    one.fd = fileno_of(plain_socket)
    one.events = POLLIN
    one.revents = 0
    return cyn_poll(&one, 1, 0) > 0


cdef object accept_plain(object sock):
    """Does what ``sock.accept()`` of a plain socket does. Returns None if there is no connection to accept."""
    cdef cyn_peer peer
    cdef int fd, kind = _family_of(sock)
    if (kind != AF_INET and kind != AF_INET6) or _socket.socket is not PLAIN_SOCKET or not has_own_methods():
        return sock.accept()
    if _first_values is None:
        _learn_values(kind)
    fd = cyn_peer_accept(fileno_of(sock), &peer)
    if fd == -EAGAIN or fd == -EINTR:
        return None
    if fd < 0:
        raise OSError(-fd, os.strerror(-fd))
    made = _new_socket(kind, _type_of(sock), _protocol_of(sock), fd)
    return made, address_of(&peer)
