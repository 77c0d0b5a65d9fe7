# SPDX-License-Identifier: MIT
"""The example in Cython: built by the command of its README, it echoes, and SIGTERM ends it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.compiled import environment, require_compiler, run_command
from tests.support.examples import EXAMPLES, PATIENCE, Server

COMMAND = "python setup.py build_ext --inplace"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_compiler()
    folder = tmp_path_factory.mktemp("examples") / "native_echo"
    shutil.copytree(EXAMPLES / "native_echo", folder, ignore=shutil.ignore_patterns("build", "*.so", "*.c"))
    assert f"    {COMMAND}\n" in (folder / "README.md").read_text()
    run_command([sys.executable, *COMMAND.split()[1:]], folder)
    return folder


def test_it_echoes_until_it_is_terminated(built: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "main.py", "--port", "0"],
        cwd=built,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    server = Server(process, r"^ready (?P<host>[0-9.]+):(?P<port>\d+)$")
    try:
        data = os.urandom(3_000_000)  # more than its marks allow
        with socket.create_connection(server.address, PATIENCE) as sock:
            sender = threading.Thread(target=sock.sendall, args=(data,))
            sender.start()
            got = bytearray()
            while len(got) < len(data) and (part := sock.recv(65536)):
                got += part
            sender.join()
        assert got == data
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        server.end()
    assert server.errors == b""
