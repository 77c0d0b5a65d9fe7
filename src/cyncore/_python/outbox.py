# SPDX-License-Identifier: MIT
"""A channel whose ``send`` keeps what the socket does not take now, over the plain-Python engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._rules import CHUNK, not_bytes
from .channel import BufferedChannel

_dispatcher: Any = None


def set_dispatcher(kind: type) -> None:
    """Sets the class whose `send` an OutboxChannel calls: `dispatcher`, which is built on this module."""
    global _dispatcher
    _dispatcher = kind


class OutboxChannel(BufferedChannel):
    """What `dispatcher_with_send` is made of."""

    _cyncore_out: bytearray

    if TYPE_CHECKING:  # of `dispatcher`, which comes beside it
        debug: bool

        def log_info(self, message: object, type: str = "info") -> None: ...

    def __new__(cls, *args: Any, **options: Any) -> Any:
        made = super().__new__(cls)
        made._cyncore_out = bytearray()
        return made

    @property
    def out_buffer(self) -> bytes:
        """What waits to be sent. A copy: bytes may be assigned, but to append, call `send`."""
        return bytes(self._cyncore_out)

    @out_buffer.setter
    def out_buffer(self, data: Any) -> None:
        self._cyncore_out = bytearray(data) if len(data) else bytearray()  # a number has no len(), and is refused
        self._cyncore_output_waits(bool(self._cyncore_out))

    def _cyncore_has_own_buffer(self) -> bool:
        """Has the class an attribute in the way of `out_buffer`? Then that is the buffer."""
        return type(self).out_buffer is not OutboxChannel.out_buffer

    def _cyncore_own_buffer(self) -> Any:
        buffer = self.out_buffer
        if not hasattr(buffer, "__getitem__"):
            raise TypeError(f"{type(self).__qualname__}.out_buffer is {buffer!r}: bytes to send are wanted")
        return buffer

    @property
    def _cyncore_output(self) -> bool:  # type: ignore[override]
        return bool(self.out_buffer) if self._cyncore_has_own_buffer() else bool(self._cyncore_out)

    def _cyncore_kept_output(self) -> int:
        """The bytes that wait to be sent."""
        return len(self.out_buffer) if self._cyncore_has_own_buffer() else len(self._cyncore_out)

    def _cyncore_output_waits(self, waits: bool) -> None:
        self._cyncore_interest_changed()  # the buffer says so itself

    def initiate_send(self) -> None:
        """Sends what the socket takes now."""
        if self._cyncore_has_own_buffer():
            count = _dispatcher.send(self, self._cyncore_own_buffer()[:CHUNK])
            self.out_buffer = self._cyncore_own_buffer()[count:]
            return
        out = self._cyncore_out
        with memoryview(out) as whole:
            chunk = bytes(whole[:CHUNK])
        sent = 0
        try:
            sent = _dispatcher.send(self, chunk)
        finally:  # what a socket that failed did not take is sent when there is room
            if out is self._cyncore_out:  # handle_close, called by send, may have given us another buffer
                # Removing from the front of a bytearray only moves its start, so the whole stays linear.
                del out[:sent]
                self._cyncore_output_waits(bool(out))

    def handle_write(self) -> None:
        """There is room: `initiate_send`."""
        self.initiate_send()

    def send(self, data: Any) -> None:  # type: ignore[override]
        """Queues ``data`` (bytes-like) and sends what the socket takes now.

        What the socket raises, if it is more than that it has no room, is raised; ``data`` is queued all the same.
        """
        if self.debug:
            self.log_info(f"sending {data!r}")
        if self._cyncore_has_own_buffer():
            self.out_buffer = self._cyncore_own_buffer() + data
            self.initiate_send()
            return
        if isinstance(data, str):
            raise TypeError(not_bytes(data))
        out = self._cyncore_out
        out += data
        try:
            self.initiate_send()
        finally:  # of the class's own, perhaps, which has left it all
            if out is self._cyncore_out:
                self._cyncore_output_waits(bool(out))
