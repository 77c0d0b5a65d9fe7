# SPDX-License-Identifier: MIT
"""Take any mail and put it into a folder, one file a message: for trying out programs that send mail.

python examples/mail_sink.py [--host HOST] [--port PORT] FOLDER [PORT [CERTIFICATE]]

CERTIFICATE is a file with a private key and its certificate (PEM); with it, STARTTLS is offered. It is a server that
may face strangers: see what its class sets.
"""

import argparse
import contextlib
import mailbox
import signal
import ssl
from typing import Any

from cyncore import Loop, asyncore, smtpd

PATIENCE = 10  # seconds that the mails under way have at the end


class Sink(smtpd.SMTPServer):
    idle_timeout = 300  # seconds, as RFC 5321 has it
    command_timeout = 60
    data_timeout = 600
    max_connections = 500
    max_connections_per_peer = 50
    max_recipients = 1000
    max_errors = 20

    draining = False

    def __init__(self, address: tuple[str, int], folder: str, **options: Any) -> None:
        super().__init__(address, None, **options)
        self.folder = mailbox.Maildir(folder)
        self.loop = Loop.of(asyncore.socket_map)

    def process_message(self, peer: Any, mailfrom: str, rcpttos: list[str], data: bytes, **options: Any) -> str:
        head = f"Return-Path: <{mailfrom.strip('<>')}>\nX-Peer: {peer[0]}\n"
        head += "".join(f"Delivered-To: {recipient}\n" for recipient in rcpttos)
        name = self.folder.add(head.encode() + data + b"\n")
        print(f"{mailfrom} -> {', '.join(rcpttos)}: {len(data)} bytes, {name}", flush=True)
        if self.draining:
            self.loop.call_soon(self.close_idle)
        return f"250 OK {name}"

    def end(self, number: int, frame: object) -> None:
        """SIGTERM. A second one is not waited for."""
        signal.signal(number, signal.SIG_DFL)
        self.loop.call_soon(self.drain)  # no handler is interrupted

    def drain(self) -> None:
        self.draining = True
        self.close()
        self.loop.call_later(PATIENCE, asyncore.close_all)
        self.close_idle()

    def close_idle(self) -> None:
        """Close the connections on which no mail is under way."""
        for channel in list(asyncore.socket_map.values()):
            if isinstance(channel, smtpd.SMTPChannel) and channel.mailfrom is None:
                channel.push("421 Shutting down")
                channel.close_when_done()


def main() -> None:
    parser = argparse.ArgumentParser(description="Take any mail and put it into a folder, one file a message.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8025, help="0: any")
    parser.add_argument("folder", metavar="FOLDER")
    parser.add_argument("place", nargs="?", type=int, metavar="PORT", help="the same as --port")
    parser.add_argument("certificate", nargs="?", metavar="CERTIFICATE", help="a key and its certificate, for STARTTLS")
    given = parser.parse_args()
    options: dict[str, Any] = {"pipelining": True}
    if given.certificate is not None:
        options["tls_context"] = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        options["tls_context"].load_cert_chain(given.certificate)
    sink = Sink((given.host, given.port if given.place is None else given.place), given.folder, **options)
    signal.signal(signal.SIGTERM, sink.end)
    print("ready {}:{}".format(*sink.socket.getsockname()), flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        asyncore.loop()


if __name__ == "__main__":
    main()
