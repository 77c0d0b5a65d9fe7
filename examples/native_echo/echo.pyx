# SPDX-License-Identifier: MIT
# cython: language_level=3, freethreading_compatible=True
"""An echo whose handler is C: what comes in goes out again, and no Python code runs for it."""

import cyncore

from cyncore.capi cimport NativeStream


cdef class EchoBytes(NativeStream):
    cdef int handle_bytes(self, const char *data, Py_ssize_t size) except? -1:
        return self.write_bytes(data, size)


class Echo(EchoBytes, cyncore.Stream):
    idle_deadline = 300
    write_deadline = 60

    def handle_full(self):  # the peer sends faster than it reads
        self.pause_reading()

    def handle_drained(self):
        self.resume_reading()
