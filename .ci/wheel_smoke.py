# SPDX-License-Identifier: MIT
"""Does the installed wheel work? The extension is native, an echo comes back, and 1,000 connections are served.

Run by a Python that has nothing but cyncore installed: python .ci/wheel_smoke.py
"""

import resource
import socket

import cyncore
from cyncore import dispatcher
from cyncore._native import loop as compiled

CONNECTIONS = 1000
MESSAGE = b"smoke"


class Echo(dispatcher):
    def handle_read(self):
        data = self.recv(4096)
        if data:
            self.send(data)

    def handle_close(self):
        self.close()


class Server(dispatcher):
    def __init__(self, map):
        super().__init__(map=map)
        self._channels = map
        self.create_socket(socket.AF_INET, socket.SOCK_STREAM)
        self.bind(("127.0.0.1", 0))
        self.listen(1024)

    def handle_accepted(self, sock, addr):
        Echo(sock, self._channels)


def poll_until(loop, done, what):
    deadline = loop.time() + 30
    while not done():
        loop.poll(0.1)
        if loop.time() > deadline:
            raise SystemExit(f"wheel smoke: gave up waiting for {what}")


def main():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = 2 * CONNECTIONS + 64
    if soft < need:
        resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))
    assert cyncore.native, "the compiled engine is not in use"
    assert compiled.__file__.endswith((".so", ".pyd")), compiled.__file__

    channels = {}
    loop = cyncore.Loop(channels)
    server = Server(channels)
    clients = []
    for _ in range(CONNECTIONS):
        client = socket.create_connection(server.socket.getsockname(), timeout=30)
        clients.append(client)
        loop.poll(0)
    poll_until(loop, lambda: len(channels) == CONNECTIONS + 1, "the connections to be accepted")

    for client in clients:
        client.sendall(MESSAGE)
    waiting = dict.fromkeys(clients, b"")

    def all_answered():
        for client, got in list(waiting.items()):
            client.setblocking(False)
            try:
                waiting[client] = got = got + client.recv(64)
            except BlockingIOError:
                continue
            if got == MESSAGE:
                del waiting[client]
            assert MESSAGE.startswith(got), got
        return not waiting

    poll_until(loop, all_answered, "the echoes")
    for client in clients:
        client.close()
    poll_until(loop, lambda: len(channels) == 1, "the connections to close")
    server.close()
    assert not channels, channels
    print(f"wheel smoke: cyncore {cyncore.__version__} ({loop.backend}) echoed over {CONNECTIONS} connections")
    loop.close()


if __name__ == "__main__":
    main()
