# SPDX-License-Identifier: MIT
"""Streams, and channels of datagrams, that met what they could not come back from: each in a process of its own."""

from __future__ import annotations

import pytest

from tests.support.script import run_script

COMMON = """
import socket
import cyncore

made = []

class Quiet(cyncore.Stream):
    def handle_error(self, error):
        print(type(error).__name__)
        loop.stop()
    def handle_close(self, error):
        print("closed", type(error).__name__)
        loop.stop()

def serve(kind, address=("127.0.0.1", 0)):
    def make():
        made.append(kind())
        return made[-1]
    server = loop.listen(address, make)
    peer = socket.create_connection(server.address)
    peer.settimeout(10)
    while not made or not made[0].connected:
        loop.poll(1)
    return peer

def poll():
    for _ in range(5):
        loop.poll(0)

def end(*peers):
    for channel in list(loop.map.values()):
        channel.close()
    for stream in made:
        stream.abort()
    loop.close()
    for peer in peers:
        peer.close()

loop = cyncore.Loop()
"""


def test_a_stream_that_is_taken_out_of_the_map_by_hand_may_write() -> None:
    script = """
def leave():
    del loop.map[stream._fileno]
    loop.call_soon(loop.call_soon, write)

def write():
    stream.write(b"a" * 10)
    stream.write(b"b" * 10)

peer = serve(Quiet)
stream = made[0]
loop.call_soon(leave)
poll()
stream.write(b"c" * 10)
stream.write(b"d" * 10)
print(len(peer.recv(100)) > 0)
end(peer)
"""
    assert run_script(COMMON + script) == "True\n"


def test_a_stream_that_closes_may_be_taken_out_of_the_map_by_hand() -> None:
    script = """
class Closing(Quiet):
    def handle_data(self, data):
        self.write(b"a" * 10)
        self.close()
        del loop.map[self._fileno]
        try:
            loop.fileno()  # which takes the map over
        except OSError:  # no descriptor with this backend
            pass

peer = serve(Closing)
peer.send(b"x")
poll()
print(peer.recv(100))
end(peer)
"""
    assert run_script(COMMON + script) == f"closed NoneType\nb'{'a' * 10}'\n"


@pytest.mark.parametrize("answer", ["10 ** 6", "-100", "run()"])
def test_a_socket_may_claim_to_have_sent_anything(answer: str) -> None:
    script = f"""
class Socket(socket.socket):
    def accept(self):
        descriptor, address = self._accept()
        return Socket(self.family, self.type, self.proto, fileno=descriptor), address
    def send(self, data):
        def run():
            loop.poll(0)
            return len(data)
        return {answer}

listener = Socket()
listener.bind(("127.0.0.1", 0))
listener.listen()
listener.setblocking(False)
peer = serve(Quiet, listener)
for _ in range(3):
    made[0].write(b"a" * 10)
    made[0].write(b"b" * 10)
    poll()
print(made[0].output_size >= 0)
end(peer)
"""
    assert run_script(COMMON + script) == "True\n"


@pytest.mark.parametrize("change", ["Exactly(3), 'count', 0", "Prefixed(4), 'size', 0", "Prefixed(4), 'size', -4"])
def test_a_framing_that_was_spoilt_after_it_was_made_ends_the_stream(change: str) -> None:
    script = f"""
def spoilt(framing, name, value):
    setattr(framing, name, value)
    return framing

class Own(Quiet):
    framing = spoilt(cyncore.{change})
    def handle_frame(self, frame):
        raise SystemExit("found", frame)

peer = serve(Own)
peer.send(b"x" + bytes(20))
loop.run()
end(peer)
"""
    assert run_script(COMMON + script).split()[-1] in ("ValueError", "LimitExceeded")


def test_numbers_of_a_framing_may_compare_as_they_like() -> None:
    script = """
class Number(int):
    def __le__(self, other):
        return True
    __ge__ = __gt__ = __le__
    def __lt__(self, other):
        return False

class Framing:
    def find(self, data, start, searched):
        return Number(0), Number(1 << 30), Number(1 << 31)

class Own(Quiet):
    framing = Framing()
    def handle_frame(self, frame):
        print(len(frame) <= 3)  # a slice in plain Python
        loop.stop()

peer = serve(Own)
peer.send(b"abc")
loop.run()
end(peer)
"""
    assert run_script(COMMON + script).split("\n")[0] in ("ValueError", "True")


def test_a_stream_that_is_put_into_a_map_by_hand_is_read() -> None:
    script = """
class Own(cyncore.Stream):
    framing = cyncore.Lines()
    def handle_frame(self, frame):
        print(frame)
    def handle_error(self, error):
        pass

near, far = socket.socketpair()
stream = Own()
try:
    cyncore.Channel.socket.__set__(stream, near)
    stream._fileno = near.fileno()
    stream.add_channel(loop.map)
    far.send(b"a\\n")
    poll()
except AttributeError:  # in plain Python the class has no such attribute
    near.close()
print("alive")
end(far)
"""
    assert run_script(COMMON + script, "-W", "ignore::ResourceWarning").splitlines()[-1] == "alive"


@pytest.mark.parametrize("most", [0, -5])
def test_a_largest_size_of_nothing_cuts_every_datagram(most: int) -> None:
    script = f"""
class Own(cyncore.Datagram):
    max_size = {most}
    def handle_datagram(self, data, address):
        print("whole")
    def handle_truncated(self, data, address, size):
        print(data, size)
        loop.stop()

channel = loop.bind(("127.0.0.1", 0), Own)
loop.call_soon(lambda: peer.sendto(b"hello", channel.socket.getsockname()))
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
    loop.run()
end()
"""
    assert run_script(COMMON + script) == "b'' 5\n"
