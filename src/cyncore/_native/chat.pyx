# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""ChatChannel: the base of `asynchat.async_chat`. It joins `ChatInput` and `ChatOutput`.

This module has what needs both of them: emptying the buffers, and the interest of the channel.
"""

from collections import deque

from .channel cimport BufferedChannel
from .chat_input cimport FOLLOWED, GENERIC, OTHER_QUEUE, OWN_INITIATE, OWN_WRITE, check_overrides
from .chat_output cimport ChatOutput
from .csrc cimport CYN_WRITE
from .traits cimport ASK_WRITE, BUFFERED, STATE, WRITE_EVENT, follow
from .watcher cimport CONNECTED, CONNECTING

from .traits import guard


cdef class ChatChannel(ChatOutput):
    """The engine's part of `asynchat.async_chat`: both buffers, and the interest that follows from them."""

    _cyncore_chat_defaults = True  # marks the class with which chat_input compares all others

    # The buffers

    def _start_buffers(self):
        """Empties the buffers, and makes those for which the class has attributes of its own."""
        self.forget_input()
        if self.fifo is not None:
            self.producer_fifo = None
        self.other_queue = None
        self.overrides_stamp = self.overrides_version = 0
        check_overrides(self)
        if self.overrides & GENERIC:
            for name, empty in (("ac_in_buffer", bytes), ("incoming", list), ("producer_fifo", deque)):
                if getattr(type(self), name) is not getattr(ChatChannel, name):
                    setattr(self, name, empty())

    def discard_buffers(self):
        """Forgets what was received and what is queued to be sent."""
        self.ac_in_buffer = b""
        del self.incoming[:]
        self.producer_fifo.clear()

    # Interest

    cdef int classify(self) except -1:
        BufferedChannel.classify(self)
        if self.loop is not None:
            check_overrides(self)
            if self.overrides & (OTHER_QUEUE | GENERIC) and self.loop is not None:
                self.defines = (self.defines | ASK_WRITE) & ~BUFFERED  # such a queue does not notify the channel
                self.polled_add()
        return 0

    cdef unsigned interest(self) except? 0xFFFFFFFF:
        cdef unsigned wanted = BufferedChannel.interest(self)
        if wanted & CYN_WRITE and not self.flags & (CONNECTED | CONNECTING) and not self.can_write():
            wanted &= ~CYN_WRITE
        return wanted

    cdef bint can_write(self) except -1:
        """Returns True if there is a connection, or a connect or a method of the class's own may make one."""
        if self.defines & STATE and (self.state(CONNECTED, "connected") or self.state(CONNECTING, "connecting")):
            return True
        check_overrides(self)
        if self.overrides & (OWN_WRITE | OWN_INITIATE) or self.defines & WRITE_EVENT:
            return True
        return type(self).writable is not BufferedChannel.writable or "writable" in getattr(self, "__dict__", ())


follow(ChatChannel, FOLLOWED)
guard(ChatChannel)
