"""RESP on cyncore: examples/resp_server.py."""

from benchmarks.servers.example import load
from benchmarks.servers.listening import announce
from cyncore import Loop

server = load("resp_server")
loop = Loop()
announce(server.Server(loop, "127.0.0.1", 0).socket.getsockname()[1])
loop.run()
