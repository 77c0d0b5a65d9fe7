"""Echo on gevent: a greenlet for each connection, with blocking reads and writes."""

from __future__ import annotations

from gevent.server import StreamServer
from gevent.socket import socket

from benchmarks.servers.listening import BACKLOG, announce


def echo(sock: socket, address: object) -> None:
    try:
        while data := sock.recv(65536):
            sock.sendall(data)
    except ConnectionError:
        pass  # the load ends with a reset


server = StreamServer(("127.0.0.1", 0), echo, backlog=BACKLOG)
server.start()
announce(server.server_port)
server.serve_forever()
