# SPDX-License-Identifier: MIT
"""Take any mail and put it into a folder, one file a message: for trying out programs that send mail.

python examples/mail_sink.py FOLDER [PORT [CERTIFICATE]]

CERTIFICATE is a file with a private key and its certificate (PEM); with it, STARTTLS is offered. It is a server that
may face strangers: see what its class sets.
"""

import contextlib
import mailbox
import ssl
import sys
from typing import Any

from cyncore import asyncore, smtpd


class Sink(smtpd.SMTPServer):
    idle_timeout = 300  # seconds, as RFC 5321 has it
    command_timeout = 60
    data_timeout = 600
    max_connections = 500
    max_connections_per_peer = 50
    max_recipients = 1000
    max_errors = 20

    def __init__(self, address: tuple[str, int], folder: str, **options: Any) -> None:
        super().__init__(address, None, **options)
        self.folder = mailbox.Maildir(folder)

    def process_message(self, peer: Any, mailfrom: str, rcpttos: list[str], data: bytes, **options: Any) -> str:
        head = f"Return-Path: <{mailfrom.strip('<>')}>\nX-Peer: {peer[0]}\n"
        head += "".join(f"Delivered-To: {recipient}\n" for recipient in rcpttos)
        name = self.folder.add(head.encode() + data + b"\n")
        print(f"{mailfrom} -> {', '.join(rcpttos)}: {len(data)} bytes, {name}", flush=True)
        return f"250 OK {name}"


def main(folder: str, port: str = "8025", certificate: str | None = None) -> None:
    options: dict[str, Any] = {"pipelining": True}
    if certificate is not None:
        options["tls_context"] = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        options["tls_context"].load_cert_chain(certificate)
    sink = Sink(("127.0.0.1", int(port)), folder, **options)
    print("Taking mail at {}:{} (Ctrl-C to stop)".format(*sink.socket.getsockname()), flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        asyncore.loop()


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
