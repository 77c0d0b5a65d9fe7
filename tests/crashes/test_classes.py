# SPDX-License-Identifier: MIT
"""Classes of channels whose bases are not what they seem: each in a process of its own."""

from __future__ import annotations

import pytest

from tests.support.script import run_script

COMMON = """
import socket
from cyncore import Loop, dispatcher

def use(kind):
    near, far = socket.socketpair()
    with Loop() as loop:
        channel = kind(near, loop.map)
        far.send(b"x")
        loop.poll(0)
        channel.close()
        far.close()

class Reader:
    def handle_read(self):
        print(self.recv(10))
"""


def test_the_bases_of_a_class_may_name_it_twice() -> None:
    script = """
class Meta(type):
    def mro(cls):
        return [cls, *type.mro(cls)]
class Own(Reader, dispatcher, metaclass=Meta):
    pass
use(Own)
"""
    assert run_script(COMMON + script) == "b'x'\n"


@pytest.mark.parametrize("bases", ["5, 6, 7", "cls, Fake(), 7", ""])
def test_a_metaclass_may_have_another_attribute_for_the_bases(bases: str) -> None:
    script = f"""
class Fake:
    __bases__ = dispatcher,
class Meta(type):
    @property
    def __mro__(cls):
        return ({bases})
class Own(Reader, dispatcher, metaclass=Meta):
    pass
use(Own)
"""
    assert run_script(COMMON + script) == "b'x'\n"
