# SPDX-License-Identifier: MIT
"""Predicates and handlers that do anything at all, at random, beside a thread: the process lives, the loop turns."""

from __future__ import annotations

import pytest

from tests.support.script import run_script

PROGRAM = """
import gc, random, socket, threading, time
from cyncore import Loop, dispatcher

source = random.Random({seed})
nested, budget, peers = 0, 0, []

class Quiet(Loop):
    def handle_exception(self, error, handle):
        pass

loops = [Quiet(), Quiet()]

class Plain(dispatcher):
    def handle_read(self):
        self.recv(source.choice((1, 10)))
        act(self)
    def handle_error(self):
        if source.random() < 0.3:
            self.close()
    def handle_close(self):
        self.close()

class Asked(Plain):
    def readable(self):
        act(self)
        return source.random() < 0.8

class Writer(Asked):
    def writable(self):
        act(self)
        return source.random() < 0.2
    def handle_write(self):
        act(self)

KINDS = (Plain, Asked, Writer)

def make(loop):
    if len(loop.map) < 80:
        near, far = socket.socketpair()
        far.setblocking(False)
        peers.append(far)
        source.choice(KINDS)(near, loop.map)
        if len(peers) > 200:
            peers.pop(source.randrange(len(peers))).close()

def tell():
    try:
        source.choice(peers).send(b"abc")
    except OSError:
        pass

def run(loop):
    global nested, budget
    if nested < 3 and budget:
        nested, budget = nested + 1, budget - 1
        try:
            source.choice((lambda: loop.poll(0), lambda: loop.poll(0.0005), lambda: loop.run_map(0.0003, 2)))()
        finally:
            nested -= 1

def move(channel, loop):
    sock = channel.socket
    if sock is not None:
        channel.del_channel()
        channel._map = loop.map
        channel.set_socket(sock, loop.map)

def change_class(kind):
    if "writable" in vars(kind):
        del kind.writable
    else:
        kind.writable = lambda self: act(self) or source.random() < 0.2

def fail():
    raise ValueError

def act(me):
    if source.random() < 0.6:
        return
    loop = source.choice(loops)
    other = source.choice(list(loop.map.values()) or [me])
    target = source.choice(loops)
    source.choice((
        other.close, me.close, lambda: make(target), lambda: make(target), lambda: setattr(other, "mark", 1), tell,
        lambda: run(target), lambda: run(target), fail, lambda: move(other, target),
        lambda: setattr(other, "readable", lambda: True), lambda: other.__dict__.pop("readable", None),
        lambda: setattr(other, "__class__", source.choice(KINDS)), lambda: change_class(source.choice(KINDS)),
        lambda: target.call_soon(act, other), lambda: target.map.pop(next(iter(target.map), None), None),
    ))()

def beside():
    mine = random.Random({seed})
    while not ended:
        try:
            channel = mine.choice(list(mine.choice(loops).map.values()) or [None])
            if channel is not None:
                channel.mark = 2
            mine.choice(loops).wake()
            tell()
        except (IndexError, RuntimeError):
            pass
        time.sleep(0.0005)

ended = False
thread = threading.Thread(target=beside)
make(loops[0])
thread.start()
for turn in range(400):
    budget = 6
    loop = source.choice(loops)
    make(loop)
    try:
        source.choice((lambda: loop.poll(0), lambda: loop.run_map(0.001, 3)))()
    except ValueError:
        pass
    if turn % 100 == 0:
        gc.collect()
ended = True
thread.join()
for loop in loops:
    for channel in list(loop.map.values()):
        channel.close()
    loop.close()
print("alive")
"""


@pytest.mark.parametrize("seed", range(4))
def test_process_survives_predicates_that_do_anything(seed: int) -> None:
    script = PROGRAM.replace("{seed}", str(seed))
    assert run_script(script, "-W", "ignore::ResourceWarning") == "alive\n"
