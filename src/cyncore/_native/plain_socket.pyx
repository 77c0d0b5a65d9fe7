# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Plain sockets: what holds for Python's own class of them, and for no other.

A channel on such a socket makes its system calls itself. That is allowed only where nobody could tell: the class must
be Python's own, with none of its methods replaced, and the descriptor, which is read from the object without a call,
must be the one that ``fileno()`` answers. Everything else is used through its methods.
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
cdef unsigned _plain_version = 0  # of that class when its methods were looked at last
cdef bint _is_own = False
cdef object _C_SOCKET = _c_socket.socket
cdef int AF_INET = _socket.AF_INET
cdef int AF_INET6 = getattr(_socket, "AF_INET6", -1)
# The members themselves: the Python class makes enumerations of them, which takes longer than accept(2).
cdef object _family_of, _type_of, _protocol_of, _set_blocking
cdef object _fileno_method = None
cdef list _first_values = None  # of the slots of a new socket
if PLAIN_SOCKET is not None:
    _family_of = _C_SOCKET.family.__get__
    _type_of = _C_SOCKET.type.__get__
    _protocol_of = _C_SOCKET.proto.__get__
    _set_blocking = _C_SOCKET.setblocking
    _fileno_method = _C_SOCKET.fileno


cdef bint is_plain(object sock) except -1:
    """May system calls be made in place of its methods?"""
    return type(sock) is PLAIN_SOCKET and has_own_methods() and _is_as_known(sock)


cdef bint _is_as_known(object plain_socket) except -1:
    """Is the descriptor where it is looked for in a plain socket?"""
    return fileno_of(plain_socket) == <int> PyObject_CallOneArg(_fileno_method, plain_socket)


cdef int stop_blocking(object plain_socket) except -1:
    _set_blocking(plain_socket, False)
    return 0


cdef bint has_own_methods() except -1:
    """Are the methods of plain sockets Python's own? Asked when a channel gets a socket, and at every accept."""
    global _plain_version, _is_own
    if _plain_version == 0 or _plain_version != cyn_type_version(<type> PLAIN_SOCKET):
        _is_own = _patched.has_own_methods(PLAIN_SOCKET)
        PLAIN_SOCKET.recv  # a class that was changed has a version once something was looked up in it
        _plain_version = cyn_type_version(<type> PLAIN_SOCKET)
    return _is_own


cdef object _new_socket(object family, object kind, object protocol, int fd):
    """``socket.socket(family, kind, protocol, fd)`` in a fifth of its time.

    The Python class adds a few slots to the C class, and its ``__init__`` gives them their first values: those that
    `_learn_values` has seen. The descriptor is the socket's, or closed where that could not be made.
    """
    cdef type plain = PLAIN_SOCKET
    made = None
    try:
        made = plain.__new__(plain)
        cyn_initialise(_C_SOCKET, made, (family, kind, protocol, fd))
    except BaseException:
        if made is None or fileno_of(made) != fd:
            cyn_close(fd)  # nobody else will
        raise
    for name, value in _first_values:
        PyObject_GenericSetAttr(made, name, value)
    return made


cdef int _learn_values(int family) except -1:
    """OSError where there is no descriptor left for a socket."""
    global _first_values
    with PLAIN_SOCKET(family) as first:
        names = [name for name in PLAIN_SOCKET.__slots__ if name != "__weakref__"]
        _first_values = [(name, getattr(first, name)) for name in names if hasattr(first, name)]
    return 0


cdef object address_of(const cyn_peer *peer):
    """As the socket module writes it."""
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
    """``sock.accept()`` of a listener that does not block; None where there is no connection to accept."""
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
