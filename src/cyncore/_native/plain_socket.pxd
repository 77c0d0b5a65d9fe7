# SPDX-License-Identifier: MIT
from .csrc cimport cyn_peer
from .internals cimport cyn_socket_fd

cdef bint is_plain(object sock) except -1
cdef int stop_blocking(object plain_socket) except -1
cdef object accept_plain(object plain_socket)
cdef bint is_readable(object plain_socket)
cdef object address_of(const cyn_peer *peer)

cdef int AF_INET, AF_INET6  # the latter is -1 where there is none
cdef object PLAIN_SOCKET  # Python's own class; None if it is not as this module expects


cdef inline int fileno_of(object plain_socket) noexcept:
    """Returns the descriptor of a plain socket, or -1 if it is closed, without calling its ``fileno()``."""
    return cyn_socket_fd(plain_socket)
