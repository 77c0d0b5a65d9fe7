# SPDX-License-Identifier: MIT
"""Send back whatever comes: the smallest server that asyncore can be used for.

python -m cyncore examples/echo_server.py [--host HOST] [--port PORT]
"""

import argparse
import asyncore
import signal
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
    def __init__(self, host, port):
        super().__init__()
        self.create_socket(socket.AF_INET, socket.SOCK_STREAM)
        self.set_reuse_addr()
        self.bind((host, port))
        self.listen(128)

    def handle_accepted(self, sock, addr):
        Echo(sock)


parser = argparse.ArgumentParser()
parser.add_argument("--host", default="127.0.0.1")
parser.add_argument("--port", type=int, default=7000, help="0: any")
options = parser.parse_args()
server = Server(options.host, options.port)
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit())  # SystemExit leaves the loop, as Ctrl-C does
print("ready {}:{}".format(*server.socket.getsockname()), flush=True)
try:
    asyncore.loop(use_poll=True)
except KeyboardInterrupt:
    pass
finally:
    asyncore.close_all()
