# SPDX-License-Identifier: MIT
"""The engine in use: the compiled one, or the plain-Python one where nothing is compiled.

``CYNCORE_BACKEND=python`` asks for the fallback; any other value of it names a poller of the compiled engine. Where the
extension modules are not built, the fallback serves whatever was asked for that it has a poller for.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._calls import Handle, TimerHandle
    from ._channel import BufferedChannel, Channel, ExitNow
    from ._core import BACKENDS, Loop, socket_map
    from ._outbox import OutboxChannel, set_dispatcher

    native = True
elif os.environ.get("CYNCORE_BACKEND") == "python":
    from ._fallback import BACKENDS, BufferedChannel, Channel, ExitNow, Handle, Loop, TimerHandle, socket_map
    from ._fallback_outbox import OutboxChannel, set_dispatcher

    native = False
else:
    try:
        from ._calls import Handle, TimerHandle
        from ._channel import BufferedChannel, Channel, ExitNow
        from ._core import BACKENDS, Loop, socket_map
        from ._outbox import OutboxChannel, set_dispatcher

        native = True
    except ModuleNotFoundError as missing:
        if missing.name != f"{__package__}._calls":
            raise  # built, but it does not load: a fallback would only hide that
        from ._fallback import BACKENDS, BufferedChannel, Channel, ExitNow, Handle, Loop, TimerHandle, socket_map
        from ._fallback_outbox import OutboxChannel, set_dispatcher

        native = False

__all__ = [
    "BACKENDS",
    "BufferedChannel",
    "Channel",
    "ExitNow",
    "Handle",
    "Loop",
    "OutboxChannel",
    "TimerHandle",
    "native",
    "set_dispatcher",
    "socket_map",
]
