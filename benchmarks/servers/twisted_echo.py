"""Echo on Twisted, on the reactor that its documentation recommends for Linux."""

from __future__ import annotations

from twisted.internet import epollreactor, protocol

epollreactor.install()
from twisted.internet import reactor  # noqa: E402

from benchmarks.servers.listening import BACKLOG, announce  # noqa: E402


class Echo(protocol.Protocol):
    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


class EchoFactory(protocol.Factory):
    protocol = Echo


port = reactor.listenTCP(0, EchoFactory(), backlog=BACKLOG, interface="127.0.0.1")
announce(port.getHost().port)
reactor.run()
