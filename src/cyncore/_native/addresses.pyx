# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Addresses: those of datagrams, as tuples and as the kernel has them.

Facts that shape it:
- Every datagram comes with an address. To make its tuple takes longer than to receive it, and a peer that is busy sends
  many. So the tuples of the last ones are kept, found by a hash of the name that the kernel gives.
- Most answers are sent to a tuple that was received just before. Such a tuple is found by where it is in memory, which
  is unique while a reference to it is kept here.
- A tuple never changes, and neither do the str and the ints in one that was made here, or was compared with such a one.
"""

import os

from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from cpython.tuple cimport PyTuple_CheckExact, PyTuple_GET_SIZE
from libc.string cimport memcmp, memcpy, memset

from .csrc cimport CYN_PEER_TEXT, cyn_name_hash, cyn_name_make, cyn_name_peer, cyn_peer_host
from .plain_socket cimport AF_INET, AF_INET6, address_of

from .. import _destination

cdef extern from "Python.h":
    object PyUnicode_DecodeASCII(const char *text, Py_ssize_t size, const char *errors)
    const char *PyUnicode_AsUTF8(object text) except NULL

cdef enum:
    PATH_AT = 2  # where the path is in a sockaddr_un, and in its size


cdef class Addresses:
    """The addresses that a loop has received from, or sent to, lately."""

    def __dealloc__(self):
        cdef int at
        for at in range(KNOWN):
            Py_XDECREF(<PyObject *> self.by_name[at].address)

    cdef object find(self, const cyn_name *name):
        """Returns the address that the kernel has given: a tuple, or of a Unix socket a path; None if it has none."""
        cdef known *place
        if not 0 < name.size <= INTERNET or (name.any.sa_family != AF_INET and name.any.sa_family != AF_INET6):
            return address_of_name(name)
        place = &self.by_name[cyn_name_hash(name) >> (64 - KNOWN_BITS)]
        if place.size == name.size and memcmp(place.name, &name.any, name.size) == 0:
            return <object> <PyObject *> place.address
        return self.remember(name, address_of_name(name))

    cdef object remember(self, const cyn_name *name, object address):
        cdef Py_ssize_t at = cyn_name_hash(name) >> (64 - KNOWN_BITS)
        cdef known *place = &self.by_name[at]
        before = <PyObject *> place.address
        Py_INCREF(address)
        place.address = <void *> <PyObject *> address
        place.size = name.size
        memcpy(place.name, &name.any, name.size)
        self.by_object[place_of(address)] = <uint16_t> at
        Py_XDECREF(before)
        return address

    cdef const known *place(self, object address) noexcept:
        """Returns what is known of this very object, or NULL."""
        cdef const known *place = &self.by_name[self.by_object[place_of(address)]]
        return place if place.address is <void *> <PyObject *> address else NULL

    cdef int read(self, cyn_name *name, int family, object address) except -1:
        """Reads an address that is not known. TypeError and ValueError as `_destination.checked` has them."""
        if self.last is address and self.last is not None and self.last_family == family:
            name[0] = self.last_name
            return 0
        if family != AF_INET and family != AF_INET6:
            return read_path(name, family, _destination.checked(family, address))
        if not is_plain_address(address) or not make_name(name, family, address):
            address_now = _destination.checked(family, address)
            if not make_name(name, family, address_now):
                raise ValueError(f"{address!r} is no address in digits of the family of this socket")
        if is_plain_address(address) and address == address_of_name(name):
            self.remember(name, address)
        else:
            self.last = address if PyTuple_CheckExact(address) else None
            self.last_name = name[0]
            self.last_family = family
        return 0

    cdef object destination(self, const cyn_peer *told):
        """Returns (host, interface) for what the kernel has told of the address that a datagram was sent to."""
        cdef char text[CYN_PEER_TEXT]
        if told.family == 0:
            return None
        if self.told_object is None or memcmp(told, &self.told, sizeof(cyn_peer)) != 0:
            self.told = told[0]
            host = PyUnicode_DecodeASCII(text, cyn_peer_host(told, text), NULL)
            self.told_object = (host, told.scope)
        return self.told_object


cdef inline Py_ssize_t place_of(object address) noexcept:
    return (<size_t> <PyObject *> address >> 4) * <size_t> 0x9E3779B1 >> 8 & (KNOWN - 1)


cdef bint is_plain_address(object address):
    """Returns True for (host, port) of a str and an int, and the two numbers of IPv6 behind it."""
    if not PyTuple_CheckExact(address) or not (PyTuple_GET_SIZE(address) == 2 or PyTuple_GET_SIZE(address) == 4):
        return False
    for number in address[1:]:
        if type(number) is not int or not 0 <= number <= 0xFFFFFFFF:
            return False
    if PyTuple_GET_SIZE(address) == 4 and address[2] > _destination.FLOW_MOST:
        return False
    return type(address[0]) is str and address[1] <= 65535


cdef bint make_name(cyn_name *name, int family, tuple address) except -1:
    cdef cyn_peer rest
    memset(&rest, 0, sizeof(rest))
    rest.port = address[1]
    if len(address) > 2:
        if family == AF_INET:
            return False
        rest.flow, rest.scope = address[2:]
    host = address[0]
    if "\0" in host or "%" in host:
        host = host.partition("%")[0]  # the number of the interface is in the address, or `checked` puts it there
        if len(address) < 4 or "\0" in host:
            return False
    return cyn_name_make(name, family, PyUnicode_AsUTF8(host), &rest)


cdef int read_path(cyn_name *name, int family, object path) except -1:
    """Makes the name of a Unix socket. A path that begins with a zero byte is an abstract one."""
    cdef bytes text = os.fsencode(path)
    cdef Py_ssize_t size = len(text)
    if size == 0 or size > <Py_ssize_t> sizeof(name.path.sun_path) - (text[0] != 0):
        raise ValueError(f"a path of a Unix socket has 1 to {sizeof(name.path.sun_path) - 1} bytes: {path!r}")
    memset(&name.path, 0, sizeof(name.path))
    name.any.sa_family = <unsigned short> family
    memcpy(name.path.sun_path, <char *> text, size)
    name.size = <unsigned> (PATH_AT + size + (text[0] != 0))
    return 0


cdef object address_of_name(const cyn_name *name):
    cdef cyn_peer peer
    cdef Py_ssize_t size
    if name.size <= PATH_AT:
        return None
    if cyn_name_peer(name, &peer):
        return address_of(&peer)
    size = min(<Py_ssize_t> name.size - PATH_AT, <Py_ssize_t> sizeof(name.path.sun_path))  # of 108 bytes it says 109
    text = <bytes> name.path.sun_path[:size]
    if text[0] == 0:
        return text  # as the socket module has it
    size = text.find(b"\0")
    return os.fsdecode(text if size < 0 else text[:size])


cdef int read_source(cyn_peer *source, int family, object given) except -1:
    """Reads (host, interface), as `Addresses.destination` makes it. TypeError and ValueError for what is none."""
    cdef bytes host
    memset(source, 0, sizeof(source[0]))
    if not isinstance(given, tuple) or len(given) != 2 or (family != AF_INET and family != AF_INET6):
        raise TypeError(f"the source of a datagram is (host, interface), not {given!r}")
    host = _destination.packed(family, given[0])
    source.scope = given[1]
    source.family = <uint16_t> family
    memcpy(source.host, <char *> host, len(host))
    return 0
