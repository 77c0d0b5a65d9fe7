"""RESP on cyncore: examples/resp_server.py."""

from benchmarks.servers.example import load
from benchmarks.servers.listening import BACKLOG, announce
from cyncore import Loop

program = load("resp_server")
loop = Loop()
store = program.Store(loop.call_later)
announce(loop.listen(("127.0.0.1", 0), lambda: program.Connection(store), backlog=BACKLOG).address[1])
loop.run()
