# SPDX-License-Identifier: MIT
"""Send back whatever comes: the smallest server that asyncore can be used for.

python -m cyncore examples/echo_server.py [PORT]
"""

import asyncore
import contextlib
import socket
import sys


class Echo(asyncore.dispatcher_with_send):
    def readable(self):
        return not self.out_buffer  # who does not take what it gets is not read from either

    def handle_read(self):
        data = self.recv(65536)
        if data:
            self.send(data)

    def handle_close(self):
        self.close()


class Server(asyncore.dispatcher):
    def __init__(self, port):
        super().__init__()
        self.create_socket(socket.AF_INET, socket.SOCK_STREAM)
        self.set_reuse_addr()
        self.bind(("127.0.0.1", port))
        self.listen(128)

    def handle_accepted(self, sock, addr):
        Echo(sock)


server = Server(int(sys.argv[1]) if len(sys.argv) > 1 else 7000)
print("Echoing at {}:{} (Ctrl-C to stop)".format(*server.socket.getsockname()), flush=True)
with contextlib.suppress(KeyboardInterrupt):
    asyncore.loop(use_poll=True)
