"""Lines on Twisted."""

from twisted.internet import protocol, reactor
from twisted.protocols.basic import LineReceiver

from benchmarks.servers.listening import BACKLOG, announce


class LineAnswerer(LineReceiver):
    def lineReceived(self, line: bytes) -> None:
        self.sendLine(line)


class LineFactory(protocol.Factory):
    protocol = LineAnswerer


port = reactor.listenTCP(0, LineFactory(), backlog=BACKLOG, interface="127.0.0.1")
announce(port.getHost().port)
reactor.run()
