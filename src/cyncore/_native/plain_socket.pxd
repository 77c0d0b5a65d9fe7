# SPDX-License-Identifier: MIT
from .csrc cimport cyn_peer

cdef bint is_plain(object sock) except -1
cdef int stop_blocking(object plain_socket) except -1
cdef object accept_plain(object plain_socket)
cdef bint is_readable(object plain_socket)
cdef object address_of(const cyn_peer *peer)

cdef object PLAIN_SOCKET  # Python's own class, or None where it is not as this file knows it


cdef extern from *:
    """
    #ifndef CYN_SOCKET_FD
    #define CYN_SOCKET_FD
    /* A plain socket has its descriptor as its first member; where one had not, it would not count as DIRECT. */
    static inline __attribute__((unused)) int cyn_socket_fd(PyObject *sock) {
        return *(int *)((char *)sock + sizeof(PyObject));
    }
    #endif
    """
    int cyn_socket_fd(object plain_socket) noexcept


cdef inline int fileno_of(object plain_socket) noexcept:
    """The descriptor of a plain socket, -1 where it is closed: its ``fileno()`` without a call."""
    return cyn_socket_fd(plain_socket)
