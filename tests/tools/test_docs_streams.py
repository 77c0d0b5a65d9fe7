# SPDX-License-Identifier: MIT
"""What docs/streams.md shows is what happens: the echo server, and the proxy of three lines."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

from cyncore import Loop
from tests.support.docs import block, names_of
from tests.support.examples import PATIENCE
from tests.support.peers import Peers, poll_until
from tests.support.streams import receive

PAGE = "docs/streams.md"


def test_echo_server_serves_until_it_is_terminated() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    text = block(PAGE, "class Echo").replace("7000", str(port))
    text = text.replace("    loop.run()", "    print(1, flush=True)\n    loop.run()")
    process = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
            sock.sendall(b"hello")
            assert sock.recv(5) == b"hello"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.communicate()


def test_lines_that_come_together_are_answered_together(loop: Loop, peers: Peers) -> None:
    kind = names_of("import cyncore\n" + block(PAGE, "class LineEcho"))["LineEcho"]
    ours, theirs = peers.pair()
    stream = kind(ours, loop=loop)
    theirs.sendall(b"one\ntwo\nthr")
    assert receive(loop, theirs, 8) == b"one\ntwo\n"
    stream.abort()
    poll_until(loop, lambda: not loop.map)


def test_proxy_passes_bytes_on(loop: Loop, peers: Peers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        text = "import cyncore\n" + block(PAGE, "class Client")
        client = names_of(text.replace('("10.0.0.1", 80)', repr(upstream.getsockname())))["Client"]
        server = loop.listen(("127.0.0.1", 0), client)
        near = socket.create_connection(server.address, PATIENCE)
        peers.keep(near)
        near.sendall(b"hello")
        upstream.setblocking(False)
        accepted: list[socket.socket] = []

        def has_accepted() -> bool:
            try:
                accepted.append(upstream.accept()[0])
            except BlockingIOError:
                return False
            return True

        poll_until(loop, has_accepted)
        peers.keep(*accepted)
        assert receive(loop, accepted[0], 5) == b"hello"
        near.close()
        accepted[0].close()
        server.close()
        poll_until(loop, lambda: not loop.map)
