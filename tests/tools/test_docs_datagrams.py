# SPDX-License-Identifier: MIT
"""What docs/datagrams.md shows is what happens."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from cyncore import Datagram, Loop
from tests.support.datagrams import bound, client, received
from tests.support.docs import block, names_of
from tests.support.examples import PATIENCE
from tests.support.peers import Peers, poll_until

PAGE = "docs/datagrams.md"
TEXT = (Path(__file__).parents[2] / PAGE).read_text(encoding="utf-8")


def made(text: str, name: str) -> Any:
    return names_of("import cyncore\n" + text)[name]


def test_echo_serves_until_it_is_terminated() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    text = block(PAGE, "class Echo").replace("7000", str(port))
    text = text.replace("    loop.run()", "    print(1, flush=True)\n    loop.run()")
    process = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(PATIENCE)
            sock.sendto(b"hello", ("127.0.0.1", port))
            assert sock.recvfrom(10) == (b"hello", ("127.0.0.1", port))
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.communicate()


def test_the_collector_counts_what_comes_together(loop: Loop, peers: Peers) -> None:
    with bound(loop, made(block(PAGE, "class Collector"), "Collector")) as channel:
        sock = client(peers, channel.address)
        for data in (b"one", b"two", b"three"):
            sock.send(data)
        poll_until(loop, lambda: channel.count == 11)


def test_an_answer_comes_from_the_address_that_was_asked(loop: Loop, peers: Peers) -> None:
    with bound(loop, made(block(PAGE, "class Anywhere"), "Anywhere"), ("", 0)) as channel:
        sock = client(peers, ("127.0.0.5", channel.address[1]))
        sock.send(b"x")
        assert received(loop, sock, 1) == [b"x"]


def test_the_handlers_and_the_numbers_of_the_page_are_those_of_the_class() -> None:
    for name in re.findall(r"^\| `(handle_\w+)\(", TEXT, re.MULTILINE):
        assert hasattr(Datagram, name) or name == "handle_datagrams"
    assert f"`max_output` ({Datagram.max_output:,})" in TEXT
    assert f"`max_size` ({Datagram.max_size:,})" in TEXT
