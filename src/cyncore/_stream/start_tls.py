# SPDX-License-Identifier: MIT
"""StartTls: the place in a stream's output from which on it is encrypted."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object


class StartTls:
    """Queued behind what is sent in the clear; when that has left, the handshake begins."""

    __slots__ = ("arguments",)

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def send(self, stream: Any) -> bool:
        stream._hold_input(False)
        if stream._session is None:
            stream._begin_tls(*self.arguments)
        else:
            from .nested import begin

            begin(stream, *self.arguments)
        return True

    def close(self) -> None:
        """There is nothing to give back."""
