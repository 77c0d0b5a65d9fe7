# SPDX-License-Identifier: MIT
"""asyncore's model at epoll speed: a callback event loop whose handlers run only when events fire."""

import sys

from ._dispatcher import dispatcher, dispatcher_with_send
from ._engine import BACKENDS, Channel, ExitNow, Handle, Loop, TimerHandle, fallback_reason, native, socket_map
from ._version import __version__

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
    "fallback_reason",
    "install",
    "native",
    "socket_map",
]

TYPE_CHECKING = False  # by this name type checkers know it: `typing` would take longer to import than all of cyncore
if TYPE_CHECKING:
    from . import asynchat as asynchat
    from . import asyncore as asyncore
    from . import smtpd as smtpd
    from . import wasyncore as wasyncore
    from ._install.error import InstallError as InstallError
    from ._install.names import install as install
else:

    def __getattr__(name: str) -> object:
        """The old modules, and what binds their names, are imported when asked for: nobody else pays for them."""
        if name in ("InstallError", "install"):
            from ._install.error import InstallError
            from ._install.names import install

            return install if name == "install" else InstallError
        if name not in ("asynchat", "asyncore", "smtpd", "wasyncore"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = f"{__name__}.{name}"
        __import__(module)  # importlib is not loaded yet, and more than this needs
        return sys.modules[module]
