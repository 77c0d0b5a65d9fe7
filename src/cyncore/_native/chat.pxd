# SPDX-License-Identifier: MIT

from .chat_output cimport ChatOutput


cdef class ChatChannel(ChatOutput):
    cdef bint can_write(self) except -1
