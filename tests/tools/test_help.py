# SPDX-License-Identifier: MIT
"""What ``help(cyncore)`` begins with: an example that runs, and every public name, on less than two screens."""

from __future__ import annotations

import re
import textwrap

import cyncore
from tests.support.script import run_script

TEXT = cyncore.__doc__ or ""
CLIENT = """
import socket, threading

def client():
    with socket.create_connection(server.address, 20) as sock:
        sock.sendall(b"hello")
        print(sock.recv(100))
        loop.stop()

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
    indented = TEXT[TEXT.index("    import cyncore") : TEXT.index("A program that imports")]
    example = textwrap.dedent(indented)
    example = example.replace(
        '    loop.listen(("127.0.0.1", 7000), Echo)', '    server = loop.listen(("127.0.0.1", 0), Echo)'
    )
    source = CLIENT + example.replace(
        "    loop.run()", "    threading.Thread(target=client, daemon=True).start()\n    loop.run()"
    )
    assert source.count("server = loop.listen") == source.count("target=client") == 1
    assert "b'hello'" in run_script(source)
