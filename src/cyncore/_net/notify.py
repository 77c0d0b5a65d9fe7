# SPDX-License-Identifier: MIT
"""Tells systemd of the state of the program, by the protocol of sd_notify(3)."""

from __future__ import annotations

import os
import socket

from .._report import WARNING, report


def notify(state: str) -> None:
    """Sends ``state``, such as "READY=1", to the socket that NOTIFY_SOCKET names. Does nothing where it names none."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path or not hasattr(socket, "AF_UNIX"):
        return
    target = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(state.encode(), target)
    except OSError as error:
        report(WARNING, "%s could not be told to %s: %s", state, path, error)
