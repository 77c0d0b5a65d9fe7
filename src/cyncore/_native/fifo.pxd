# SPDX-License-Identifier: MIT

from cpython.bytes cimport PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_SIZE
from cpython.object cimport PyObject

cdef extern from "Python.h":
    PyObject *PyList_GET_ITEM(object items, Py_ssize_t at) noexcept

cdef enum:
    MAX_PIECES = 64  # items that one system call sends


cdef class Fifo:
    cdef list items
    cdef Py_ssize_t head           # the place of the first item; those before it are None
    cdef Py_ssize_t offset         # bytes of the first item that are sent already
    cdef Py_ssize_t waiting        # bytes in all pieces; -1: they have to be counted
    cdef Py_ssize_t others         # items that are no pieces
    cdef void *channel             # the channel whose queue it is, or NULL,
    cdef void **owner_pointer      # and that channel's pointer to it, set to NULL when the queue is deallocated
    cdef int drop(self, Py_ssize_t count) except -1
    cdef Py_ssize_t offer(self, int fd, Py_ssize_t most, Py_ssize_t *offered) noexcept
    cdef bytes join(self, bytes first, Py_ssize_t most)
    cdef int sent(self, Py_ssize_t count) except -1
    cdef Py_ssize_t count_waiting(self) except -1
    cdef Py_ssize_t find_producer(self, Py_ssize_t most) except -2
    cdef list compact(self)
    cdef int changed(self) except -1
    cdef int notify(self) except -1
    cdef int put_first(self, object item) except -1
    cdef int wipe(self) except -1
    cdef int replace_item(self, object item, Py_ssize_t at, object data, object rest) except -1
    cdef Py_ssize_t index_of(self, Py_ssize_t at, str what) except -1

    cdef inline Py_ssize_t length(self) noexcept:
        return PyList_GET_SIZE(self.items) - self.head

    cdef inline bint is_empty(self) noexcept:
        return self.head >= PyList_GET_SIZE(self.items)

    cdef inline object first(self):
        return self.items[self.head]

    cdef inline bint is_all_pieces(self) noexcept:
        return self.waiting >= 0 and self.others == 0


cdef inline bint is_piece(object item) noexcept:
    """Returns True for bytes that can be sent as they are: bytes that are not empty."""
    return PyBytes_CheckExact(item) and PyBytes_GET_SIZE(item) > 0


cdef inline bint starts_with_piece(Fifo fifo) noexcept:
    return not fifo.is_empty() and is_piece(<object> PyList_GET_ITEM(fifo.items, fifo.head))


cdef inline int put_last(Fifo fifo, object item) except -1:
    fifo.items.append(item)
    if not is_piece(item):
        fifo.others += 1
    elif fifo.waiting >= 0:
        fifo.waiting += PyBytes_GET_SIZE(item)
    return 0
