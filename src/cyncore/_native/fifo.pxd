# SPDX-License-Identifier: MIT

from cpython.bytes cimport PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_SIZE
from cpython.object cimport PyObject

cdef extern from "Python.h":
    PyObject *PyList_GET_ITEM(object items, Py_ssize_t at) noexcept

cdef enum:
    PIECES = 64  # items that one system call sends


cdef class Fifo:
    cdef list items
    cdef Py_ssize_t head           # of the first that is still to be sent
    cdef Py_ssize_t offset         # bytes of it that were sent
    cdef Py_ssize_t waiting        # bytes in all, those of producers excepted; -1: to be counted
    cdef Py_ssize_t others         # items that are no bytes, or empty
    cdef void *channel             # whose it is,
    cdef void **place              # and where that remembers it: each of the two tells the other when it goes
    cdef int drop(self, Py_ssize_t count) except -1
    cdef Py_ssize_t offer(self, int fd, Py_ssize_t most, Py_ssize_t *offered) noexcept
    cdef int sent(self, Py_ssize_t count) except -1
    cdef Py_ssize_t count_waiting(self) except -1
    cdef list tidy(self)
    cdef int changed(self) except -1
    cdef int notify(self) except -1
    cdef int put_first(self, object item) except -1
    cdef int wipe(self) except -1
    cdef int put_in_place_of(self, object item, Py_ssize_t at, object data, object rest) except -1
    cdef Py_ssize_t index_of(self, Py_ssize_t at, str what) except -1

    cdef inline Py_ssize_t length(self) noexcept:
        return PyList_GET_SIZE(self.items) - self.head

    cdef inline bint is_empty(self) noexcept:
        return self.head >= PyList_GET_SIZE(self.items)

    cdef inline bint is_one_piece(self) noexcept:
        """Just bytes, and none of them sent?"""
        return (
            PyList_GET_SIZE(self.items) == self.head + 1 and self.waiting >= 0 and self.others == 0 and self.offset == 0
        )


cdef inline bint is_piece(object item) noexcept:
    """Is it bytes to be sent as they are?"""
    return PyBytes_CheckExact(item) and PyBytes_GET_SIZE(item) > 0


cdef inline int put_last(Fifo fifo, object item) except -1:
    fifo.items.append(item)
    if not is_piece(item):
        fifo.others += 1
    elif fifo.waiting >= 0:
        fifo.waiting += PyBytes_GET_SIZE(item)
    return 0
