# SPDX-License-Identifier: MIT
# cython: language_level=3, freethreading_compatible=True
"""Streams in Cython for test_native.py, which has this compiled."""

from cyncore.capi cimport NativeStream


cdef class EchoBytes(NativeStream):
    cdef int handle_bytes(self, const char *data, Py_ssize_t size) except? -1:
        return self.write_bytes(data, size)


cdef class EchoFrames(NativeStream):
    """Answers each frame with the same, in brackets. What is no frame goes to handle_data."""

    cdef int handle_frame_bytes(self, const char *data, Py_ssize_t size) except? -1:
        self.write_bytes(b"[", 1)
        self.write_bytes(data, size)
        return self.write_bytes(b"]", 1)


cdef class Scripted(NativeStream):
    """Calls `act` with each piece of input, and keeps it in `pieces` as it is after that."""

    cdef public object act
    cdef public list pieces

    def __cinit__(self):
        self.pieces = []

    cdef int handle_bytes(self, const char *data, Py_ssize_t size) except? -1:
        if self.act is not None:
            self.act(data[:size])
        self.pieces.append(data[:size])
        return 0

    cdef int handle_frame_bytes(self, const char *data, Py_ssize_t size) except? -1:
        return Scripted.handle_bytes(self, data, size)

    def put(self, bytes data, size=None):
        self.write_bytes(data, len(data) if size is None else size)


cdef class Refusing(NativeStream):
    """Returns the value of an error without one."""

    cdef public int calls

    cdef int handle_bytes(self, const char *data, Py_ssize_t size) except? -1:
        self.calls += 1
        return -1
