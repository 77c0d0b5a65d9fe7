# SPDX-License-Identifier: MIT
"""The engine in use: the compiled one, or the plain-Python one where nothing is compiled.

``CYNCORE_BACKEND=python`` asks for the fallback; any other value of it names a poller of the compiled engine. Where the
extension modules are not built, and in an interpreter that cannot load them (one with its own GIL, or a second one
beside one that has), the fallback serves whatever was asked for that it has a poller for.
"""

from __future__ import annotations

import os

from ._rules import ExitNow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._native.calls import Handle, TimerHandle
    from ._native.channel import (
        BufferedChannel,
        Channel,
        has_deadlines,
        is_paused,
        note_connected,
        set_timed,
        wants_to_write,
    )
    from ._native.loop import BACKENDS, Loop, set_network, socket_map
    from ._native.outbox import OutboxChannel, set_dispatcher
    from ._native.stream import StreamChannel

    native = True
    fallback_reason: str | None = None
elif os.environ.get("CYNCORE_BACKEND") == "python":
    from ._python.calls import Handle, TimerHandle
    from ._python.channel import (
        BufferedChannel,
        Channel,
        has_deadlines,
        is_paused,
        note_connected,
        set_timed,
        wants_to_write,
    )
    from ._python.loop import BACKENDS, Loop, set_network, socket_map
    from ._python.outbox import OutboxChannel, set_dispatcher
    from ._python.stream import StreamChannel

    native = False
    fallback_reason = "CYNCORE_BACKEND asks for it"
else:
    try:
        from ._native.calls import Handle, TimerHandle
        from ._native.channel import (
            BufferedChannel,
            Channel,
            has_deadlines,
            is_paused,
            note_connected,
            set_timed,
            wants_to_write,
        )
        from ._native.loop import BACKENDS, Loop, set_network, socket_map
        from ._native.outbox import OutboxChannel, set_dispatcher
        from ._native.stream import StreamChannel

        native = True
        fallback_reason = None
    except ImportError as failure:
        is_built = not isinstance(failure, ModuleNotFoundError) or failure.name != f"{__package__}._native.calls"
        if is_built and "interpreter" not in str(failure):
            raise  # it does not load, though it should: a fallback would only hide that
        fallback_reason = str(failure)
        from ._python.calls import Handle, TimerHandle
        from ._python.channel import (
            BufferedChannel,
            Channel,
            has_deadlines,
            is_paused,
            note_connected,
            set_timed,
            wants_to_write,
        )
        from ._python.loop import BACKENDS, Loop, set_network, socket_map
        from ._python.outbox import OutboxChannel, set_dispatcher
        from ._python.stream import StreamChannel

        native = False

__all__ = [
    "BACKENDS",
    "BufferedChannel",
    "Channel",
    "ExitNow",
    "Handle",
    "Loop",
    "OutboxChannel",
    "StreamChannel",
    "TimerHandle",
    "fallback_reason",
    "has_deadlines",
    "is_paused",
    "native",
    "note_connected",
    "set_dispatcher",
    "set_network",
    "set_timed",
    "socket_map",
    "wants_to_write",
]
