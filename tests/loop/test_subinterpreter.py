# SPDX-License-Identifier: MIT
"""Interpreters beside the main one: those that cannot load the extension modules are served in plain Python."""

from __future__ import annotations

import importlib.util
import sys

import pytest

import cyncore
from tests.support.script import ENGINE_FOLDER, run_script

pytestmark = pytest.mark.skipif(sys.version_info < (3, 12), reason="interpreters share their GIL before Python 3.12")

ISOLATED = """
try:
    import _interpreters
    made = _interpreters.create("isolated")
    def run(source):
        failed = _interpreters.exec(made, source)
        assert failed is None, failed.formatted
except ImportError:
    import _xxsubinterpreters as _interpreters
    made = _interpreters.create(isolated=True)
    def run(source):
        _interpreters.run_string(made, source)
"""
ECHO = f"""
import sys
sys.path.insert(0, {ENGINE_FOLDER!r})
import socket
import cyncore
from cyncore import asyncore
near, far = socket.socketpair()
class Echo(asyncore.dispatcher_with_send):
    def handle_read(self):
        self.send(self.recv(100))
        self.close()
Echo(near)
far.send(b"hello")
asyncore.loop(1)
print(far.recv(100), cyncore.native, cyncore.fallback_reason is not None, flush=True)
far.close()
"""


def run_isolated(before: str = "") -> str:
    return run_script(f"{before}\n{ISOLATED}\nrun({ECHO!r})\n_interpreters.destroy(made)")


def test_interpreter_with_a_gil_of_its_own_is_served_in_plain_python() -> None:
    assert run_isolated() == "b'hello' False True\n"


def test_interpreter_with_a_gil_of_its_own_is_served_beside_the_main_one() -> None:
    assert run_isolated("import cyncore") == "b'hello' False True\n"


def test_reason_names_what_kept_the_compiled_engine_out() -> None:
    if importlib.util.find_spec("cyncore._native.calls") is None:
        pytest.skip("nothing is compiled here")
    source = ECHO + "print(cyncore.fallback_reason)"
    said = run_script(f"{ISOLATED}\nrun({source!r})\n_interpreters.destroy(made)")
    assert ("CYNCORE_BACKEND" if not cyncore.native else "interpreter") in said
