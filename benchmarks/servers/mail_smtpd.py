"""Mail on smtpd; `cyncore_mail` and `smtpd_mail` give it their modules."""

from __future__ import annotations

from types import ModuleType

BACKLOG = 1024


def make_server(smtpd: ModuleType) -> type:
    class MailServer(smtpd.SMTPServer):  # type: ignore[misc, name-defined]
        def process_message(
            self, peer: object, mailfrom: str, rcpttos: list[str], data: bytes, **options: object
        ) -> None:
            return None

    return MailServer


def serve(asyncore: ModuleType, smtpd: ModuleType) -> None:
    server = make_server(smtpd)(("127.0.0.1", 0), None)
    server.listen(BACKLOG)  # its own is 5: connections that wait for a repeated SYN would be all one measures
    print("listening", server.socket.getsockname()[1], flush=True)
    asyncore.loop(use_poll=True)
