# SPDX-License-Identifier: MIT
"""asyncore's model at epoll speed: a callback event loop whose handlers run only when events fire."""

from ._engine import BACKENDS, Channel, ExitNow, Handle, Loop, TimerHandle, native, socket_map
from ._version import __version__
from .dispatcher import dispatcher, dispatcher_with_send

__all__ = [
    "BACKENDS",
    "Channel",
    "ExitNow",
    "Handle",
    "Loop",
    "TimerHandle",
    "__version__",
    "dispatcher",
    "dispatcher_with_send",
    "native",
    "socket_map",
]
