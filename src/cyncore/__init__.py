# SPDX-License-Identifier: MIT
"""asyncore's model at epoll speed: a callback event loop whose handlers run only when events fire."""

from typing import TYPE_CHECKING

from ._engine import BACKENDS, Channel, ExitNow, Handle, Loop, TimerHandle, native, socket_map
from ._names import InstallError, install
from ._version import __version__
from .dispatcher import dispatcher, dispatcher_with_send

__all__ = [
    "BACKENDS",
    "Channel",
    "ExitNow",
    "Handle",
    "InstallError",
    "Loop",
    "TimerHandle",
    "__version__",
    "dispatcher",
    "dispatcher_with_send",
    "install",
    "native",
    "socket_map",
]

if TYPE_CHECKING:
    from . import asynchat as asynchat
    from . import asyncore as asyncore
    from . import smtpd as smtpd
else:

    def __getattr__(name: str) -> object:
        """The old modules are imported when they are asked for: nobody who does without pays for them."""
        from ._names import NAMES

        if name not in NAMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return import_module(f"{__name__}.{name}")
