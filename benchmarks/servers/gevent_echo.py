"""Echo on gevent: a greenlet for each connection, which reads and writes as if it were alone."""

from __future__ import annotations

from gevent.server import StreamServer
from gevent.socket import socket

BACKLOG = 1024


def echo(sock: socket, address: object) -> None:
    try:
        while data := sock.recv(65536):
            sock.sendall(data)
    except ConnectionError:
        pass  # the load ends with a reset


server = StreamServer(("127.0.0.1", 0), echo, backlog=BACKLOG)
server.start()
print("listening", server.server_port, flush=True)
server.serve_forever()
