"""Echo on cyncore's streams with a handler in Cython, that of examples/native_echo."""

from __future__ import annotations

from benchmarks.servers.compiled_echo import EchoBytes
from benchmarks.servers.listening import BACKLOG, announce
from cyncore import Loop, Stream


class Echo(EchoBytes, Stream):  # type: ignore[misc, valid-type]
    pass


def serve() -> None:
    with Loop() as loop:
        server = loop.listen(("127.0.0.1", 0), Echo, backlog=BACKLOG)
        announce(server.address[1])
        loop.run()


serve()
