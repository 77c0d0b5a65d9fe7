"""RESP on cyncore: examples/resp_server.py."""

from benchmarks.servers.example import load
from cyncore import Loop

server = load("resp_server")
loop = Loop()
print("listening", server.Server(loop, "127.0.0.1", 0).socket.getsockname()[1], flush=True)
loop.run()
