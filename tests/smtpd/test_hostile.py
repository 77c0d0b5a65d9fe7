# SPDX-License-Identifier: MIT
"""Peers that mean harm, many at once: the memory stays bounded, and the others are served."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.coverage import not_measured
from tests.support.script import run_script
from tests.support.smtpd import ENVELOPE, GREETING, Mail
from tests.support.smtpd import mail_fixture as mail_fixture

ATTACKS = {
    "line without end": (b"", b"x" * 65536),
    "message without end": (GREETING + ENVELOPE, b"x" * 65536),
    "message of empty lines": (GREETING + ENVELOPE, b"\r\n" * 32768),
    "message of dots": (GREETING + ENVELOPE, b"\r\n.x" * 16000),
    "nothing but nulls": (b"", b"\0" * 65536),
    "lines that end in LF": (GREETING, b"NOOP\n" * 10000),
    "made up commands": (GREETING, b"".join(b"X%d\r\n" % n for n in range(8000))),
    "errors for ever": (b"", b"\xff\r\n" * 20000),
    "recipients for ever": (GREETING + b"MAIL FROM:<a@a>\r\n", b"RCPT TO:<somebody@example.com>\r\n" * 2000),
    "commands, replies unread": (b"", b"HELP\r\n" * 10000),
}

# Every few bytes of these are a command that is answered, which takes longer than as many bytes of a message.
COSTLY = {
    "lines that end in LF",
    "made up commands",
    "errors for ever",
    "recipients for ever",
    "commands, replies unread",
}

# In a process of its own, so that what it takes of memory is its own.
SCRIPT = """
import resource, socket, sys
from cyncore import asyncore, native, smtpd, Loop
sys.path.insert(0, {root!r})
from tests.smtpd.test_hostile import ATTACKS, COSTLY
from tests.support.smtpd import ENVELOPE, GREETING
class Server(smtpd.SMTPServer):
    messages = 0
    def process_message(self, *words, **more):
        self.messages += 1
    def handle_error(self):
        raise
map = dict()
server = Server(("127.0.0.1", 0), None, data_size_limit=100_000, map=map, max_recipients=100)
loop = Loop.of(map)
def connect():
    sock = socket.create_connection(server.socket.getsockname(), 10)
    sock.setblocking(False)
    return sock
first, more = ATTACKS[{attack!r}]
hostile = [[connect(), first or more] for _ in range(20 if native else 3)]
good = connect()
loop.poll(0.5)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
enough = 2_000_000 if not native else 4_000_000 if {attack!r} in COSTLY else 20_000_000
pushed = said = 0
heard = b""
while said < 3000 and (pushed < enough or server.messages < 10):
    said += 1
    for pair in hostile:
        try:
            sent = pair[0].send(pair[1])
        except BlockingIOError:
            continue
        except ConnectionError:
            pair[0].close()
            pair[:] = connect(), first or more
            continue
        pushed += sent
        pair[1] = pair[1][sent:] or more
    loop.poll(0.001)
    if said % 4 == 1:
        good.send(GREETING * (said == 1) + ENVELOPE + b"hello\\r\\n.\\r\\n")
    try:
        heard += good.recv(65536)
    except BlockingIOError:
        pass
served = server.messages
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(served, heard.count(b"250 OK"), (after - before) * 1024 if sys.platform == "linux" else after - before)
for channel in list(map.values()):
    channel.close()
for sock, _ in hostile:
    sock.close()
good.close()
"""


@pytest.mark.load
@not_measured("what measures takes memory, and makes the server slow")
@pytest.mark.parametrize("attack", ATTACKS)
def test_hostile_peers_take_bounded_memory_and_nobody_s_service(attack: str) -> None:
    told = run_script(SCRIPT.format(root=str(Path(__file__).parents[2]), attack=attack))
    served, answered, grown = map(int, told.split())
    assert served >= 10
    assert answered >= 3 * 10
    assert grown < 25_000_000


def test_noise_of_every_kind_never_reaches_the_program(mail: Mail) -> None:
    server = mail.server(data_size_limit=1000)
    failed: list[object] = []
    for first, more in ATTACKS.values():
        client = mail.client(server)
        server.channels[-1].handle_error = lambda: failed.append(1)
        noise = first + more[:3000]
        client.sock.send(noise)
        for _ in range(5):
            mail.loop.poll(0.01)
        client.close()
        mail.loop.poll(0.01)
    assert failed == []
    assert server.messages == []
