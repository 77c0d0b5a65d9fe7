# SPDX-License-Identifier: MIT
"""An echo server over TLS.

Make a certificate, and try it:

    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost -keyout key.pem -out cert.pem
    python examples/tls_echo.py --cert cert.pem --key key.pem
    openssl s_client -connect 127.0.0.1:7443 -CAfile cert.pem
"""

from __future__ import annotations

import argparse
import logging
import ssl

from cyncore import Loop, Stream

log = logging.getLogger(__name__)


class Echo(Stream):
    handshake_deadline = 10
    idle_deadline = 300
    write_deadline = 60

    def handle_data(self, data: bytes) -> None:
        self.write(data)

    def handle_full(self) -> None:  # the peer sends faster than it reads
        self.pause_reading()

    def handle_drained(self) -> None:
        self.resume_reading()

    def handle_close(self, error: BaseException | None) -> None:
        if error is not None:
            log.info("%s", error)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7443, help="0: any")
    parser.add_argument("--cert", required=True, help="the certificate, and those that sign it")
    parser.add_argument("--key", required=True, help="its private key")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.cert, options.key)
    with Loop() as loop:
        loop.drain_on_signals(10)
        server = loop.listen((options.host, options.port), Echo, tls=context)
        print("ready {}:{}".format(*server.address), flush=True)
        loop.run()


if __name__ == "__main__":
    main()
