"""Mail on smtpd. `cyncore_mail` and `smtpd_mail` run it with their own modules."""

from __future__ import annotations

from types import ModuleType

from benchmarks.servers.listening import BACKLOG, announce


def make_server(smtpd: ModuleType) -> type:
    class MailServer(smtpd.SMTPServer):  # type: ignore[misc, name-defined]
        def process_message(
            self, peer: object, mailfrom: str, rcpttos: list[str], data: bytes, **options: object
        ) -> None:
            return None

    return MailServer


def serve(asyncore: ModuleType, smtpd: ModuleType) -> None:
    server = make_server(smtpd)(("127.0.0.1", 0), None)
    server.listen(BACKLOG)  # with its own backlog of 5, repeated SYNs would be all that is measured
    announce(server.socket.getsockname()[1])
    asyncore.loop(use_poll=True)
