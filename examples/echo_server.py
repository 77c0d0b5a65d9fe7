# SPDX-License-Identifier: MIT
"""Send back whatever comes: the smallest server that asyncore can be used for.

python -m cyncore examples/echo_server.py [--host HOST] [--port PORT] [PORT]
"""

import argparse
import asyncore
import signal
import socket


class Echo(asyncore.dispatcher_with_send):
    ending = False  # no connection stays when all was sent back

    def readable(self):
        return not self.out_buffer  # who does not take what it gets is not read from either

    def handle_read(self):
        data = self.recv(65536)
        if data:
            self.send(data)

    def handle_write(self):
        super().handle_write()
        if self.ending and not self.out_buffer:
            self.close()

    def handle_close(self):
        self.close()


class Server(asyncore.dispatcher):
    def __init__(self, host, port):
        super().__init__()
        self.create_socket(socket.AF_INET, socket.SOCK_STREAM)
        self.set_reuse_addr()
        self.bind((host, port))
        self.listen(128)

    def handle_accepted(self, sock, addr):
        Echo(sock)


def end(number, frame):
    """SIGTERM: the loop ends when all that has been received was sent back. A second one is not waited for."""
    signal.signal(number, signal.SIG_DFL)
    server.close()
    Echo.ending = True
    for channel in list(asyncore.socket_map.values()):
        if not channel.out_buffer:
            channel.close()


parser = argparse.ArgumentParser()
parser.add_argument("--host", default="127.0.0.1")
parser.add_argument("--port", type=int, default=7000, help="0: any")
parser.add_argument("place", nargs="?", type=int, metavar="PORT", help="the same as --port")
options = parser.parse_args()
server = Server(options.host, options.port if options.place is None else options.place)
signal.signal(signal.SIGTERM, end)
print("ready {}:{}".format(*server.socket.getsockname()), flush=True)
try:
    asyncore.loop(use_poll=True)
except KeyboardInterrupt:
    asyncore.close_all()
