# SPDX-License-Identifier: MIT
"""What docs/cython.md shows compiles by its command, and serves."""

from __future__ import annotations

import shlex
import sys
import sysconfig
from pathlib import Path

from cyncore import Loop
from tests.support.compiled import load, require_compiler, run_command
from tests.support.docs import block
from tests.support.peers import Peers
from tests.support.streams import connected, receive

PAGE = "docs/cython.md"
COMMAND = "python setup.py build_ext --inplace"


def test_echo_compiles_and_echoes(loop: Loop, peers: Peers, tmp_path: Path) -> None:
    require_compiler()
    (tmp_path / "echo.pyx").write_text(block(PAGE, "class EchoBytes"))
    (tmp_path / "setup.py").write_text(block(PAGE, "Extension"))
    assert block(PAGE, "build_ext").strip() == COMMAND
    run_command([sys.executable, *shlex.split(COMMAND)[1:]], tmp_path)
    module = load(tmp_path / f"echo{sysconfig.get_config_var('EXT_SUFFIX')}")
    stream, theirs = connected(peers, loop, module.Echo)
    theirs.sendall(b"hello")
    assert receive(loop, theirs, 5) == b"hello"
    stream.abort()
