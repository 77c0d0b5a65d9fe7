# SPDX-License-Identifier: MIT
"""What ``help(cyncore)`` begins with: an example that runs, and every public name, on less than two screens."""

from __future__ import annotations

import re
import textwrap

import cyncore
from tests.support.script import run_script

TEXT = cyncore.__doc__ or ""
CLIENT = """
import threading, time

def client():
    with socket.create_connection(address, 20) as sock:
        sock.sendall(b"hello")
        print(sock.recv(100))
        cyncore.Loop.of(cyncore.socket_map).stop()

threading.Thread(target=client, daemon=True).start()
"""


def test_it_fits_two_screens_of_a_terminal() -> None:
    assert TEXT.count("\n") < 48
    assert max(len(line) for line in TEXT.splitlines()) <= 100 - 4  # pydoc indents it


def test_it_has_every_public_name() -> None:
    names = {name for name in cyncore.__all__ if not name.startswith("_")}
    assert {
        name for name in names | {"asyncore", "asynchat", "smtpd", "wasyncore"} if not re.search(rf"\b{name}\b", TEXT)
    } == set()


def test_its_example_echoes() -> None:
    indented = TEXT[TEXT.index("    import socket") : TEXT.index("A program that imports")]
    start, end = textwrap.dedent(indented).split("Server(socket", 1)
    listener = '("127.0.0.1", 0)'
    end = "Server(listener" + end.replace('.create_server(("127.0.0.1", 7000))', "", 1)
    source = f"{start}listener = socket.create_server({listener})\naddress = listener.getsockname()\n{CLIENT}{end}"
    assert source.count("Server(listener).listen(128)") == 1
    assert "b'hello'" in run_script(source)
