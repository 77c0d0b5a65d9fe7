# SPDX-License-Identifier: MIT
"""A loop that is initialised while it is initialised: in a process of its own."""

from __future__ import annotations

from tests.support.script import run_script


def test_a_loop_may_be_initialised_by_what_its_own_initialisation_calls() -> None:
    script = """
from cyncore import Loop

class Debug:
    asked = False

    def __bool__(self):
        if not self.asked:
            self.asked = True
            Loop.__init__(loop, {}, debug=False)
        return False

loop = Loop.__new__(Loop)
try:
    loop.__init__({}, debug=Debug())
except RuntimeError as error:
    print(str(error).rpartition(" is ")[2])
calls = []
loop.call_soon(calls.append, "called")
loop.poll(0)
loop.close()
print(calls)
"""
    assert run_script(script) == "initialised already\n['called']\n"
