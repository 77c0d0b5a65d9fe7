# SPDX-License-Identifier: MIT
"""What a tracer sees of handlers."""

from __future__ import annotations

import socket
import sys

import pytest

from cyncore import Loop, Stream


class Receiver(Stream):
    def handle_data(self, data: bytes) -> None:
        self.close()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is of Python 3.12")
def test_sys_monitoring_sees_a_handler_start(loop: Loop) -> None:
    seen: list[str] = []
    monitoring = sys.monitoring  # type: ignore[attr-defined, unused-ignore]
    tool, starts = monitoring.PROFILER_ID, monitoring.events.PY_START
    monitoring.use_tool_id(tool, "test")
    try:
        monitoring.register_callback(tool, starts, lambda code, offset: seen.append(code.co_name))
        monitoring.set_local_events(tool, Receiver.handle_data.__code__, starts)
        here, there = socket.socketpair()
        with there:
            Receiver(here, loop=loop)
            there.send(b"x")
            loop.run()
    finally:
        monitoring.free_tool_id(tool)
    assert seen == ["handle_data"]
