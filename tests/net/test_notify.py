# SPDX-License-Identifier: MIT
"""What systemd is told."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from cyncore import Loop


def test_a_drain_tells_systemd_that_it_stops(loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        loop.drain(0)
        assert systemd.recv(99) == b"STOPPING=1"


def test_a_notify_socket_that_is_not_there_is_only_logged(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/nonexistent/notify")
    loop.drain(0)
    assert "/nonexistent/notify" in caplog.records[0].getMessage()
