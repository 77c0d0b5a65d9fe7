# SPDX-License-Identifier: MIT
"""The classes as programs use them: derived from, overridden, and printed by."""

from __future__ import annotations

import inspect
import io
import smtplib
import socket
import threading
from typing import Any
from unittest import mock

import pytest

from cyncore import Loop, asyncore, smtpd
from tests.support.peers import poll_until
from tests.support.smtpd import ENVELOPE, GREETING, HOST, Mail, Mailbox
from tests.support.smtpd import mail_fixture as mail_fixture


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    made = io.StringIO()
    monkeypatch.setattr(smtpd, "DEBUGSTREAM", made)
    return made


def _deliver(mail: Mail, server: Any, text: bytes, options: bytes = b"") -> list[str]:
    client = mail.client(server, GREETING)
    client.ask(ENVELOPE.replace(b"com>\r\nRCPT", b"com>" + options + b"\r\nRCPT"), 3)
    return client.ask(text + b"\r\n.\r\n")


def test_debugging_server_prints_what_it_gets(mail: Mail, capsys: pytest.CaptureFixture[str]) -> None:
    server = mail.server(lambda map: _Debugging((HOST, 0), None, map=map))
    assert _deliver(mail, server, b"A: b\r\n\r\nx\xff", b" BODY=8BITMIME") == ["250 OK"]
    assert capsys.readouterr().out.splitlines() == [
        "---------- MESSAGE FOLLOWS ----------",
        "mail options: ['BODY=8BITMIME']",
        "b'A: b'",
        "b'X-Peer: 127.0.0.1'",
        "b''",
        "b'x\\xff'",
        "------------ END MESSAGE ------------",
    ]


class _Debugging(smtpd.DebuggingServer):
    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1])


class _Proxy(smtpd.PureProxy):
    port = _Debugging.port


def _proxy(mail: Mail, remote: int, **more: Any) -> Any:
    return mail.server(lambda map: _Proxy((HOST, 0), (HOST, remote), map=map, **more))


@pytest.mark.parametrize("decode", [False, True])
def test_proxy_passes_messages_on(mail: Mail, decode: bool) -> None:
    sent: list[Any] = []
    proxy = _proxy(mail, 1, decode_data=decode)
    with mock.patch("smtplib.SMTP") as remote:
        remote.return_value.sendmail.side_effect = lambda *words: sent.append(words) or {}
        assert _deliver(mail, proxy, b"A: b\r\n\r\n..x") == ["250 OK"]
    assert remote.call_args.args == (HOST, 1)
    assert sent == [("a@example.com", ["b@example.com"], b"A: b\r\nX-Peer: 127.0.0.1\r\n\r\n.x")]


def test_proxy_says_so_where_nobody_takes_the_message(mail: Mail) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
    assert _deliver(mail, _proxy(mail, port), b"x") == ["451 Error: the next server cannot be reached"]


@pytest.mark.parametrize(
    ("refused", "reply"),
    [
        ({"b@example.com": (550, b"No such\r\nuser")}, "550 No such user"),
        ({"b@example.com": (-1, "ignore")}, "451 Error: the next server cannot be reached"),
        ({"other@example.com": (550, b"No")}, "250 OK"),
        ({}, "250 OK"),
    ],
)
def test_proxy_replies_as_the_next_server_did(mail: Mail, refused: dict[str, Any], reply: str) -> None:
    proxy = _proxy(mail, 1)
    proxy._deliver = lambda *words: refused
    assert _deliver(mail, proxy, b"x") == [reply]


def test_proxy_that_has_every_recipient_refused_says_why(mail: Mail) -> None:
    proxy = _proxy(mail, 1)
    with mock.patch("smtplib.SMTP") as remote:
        remote.return_value.sendmail.side_effect = smtplib.SMTPRecipientsRefused({"b@example.com": (550, b"No")})
        assert _deliver(mail, proxy, b"x") == ["550 No"]


def test_debugging_server_prints_the_options_of_the_recipients(mail: Mail, capsys: pytest.CaptureFixture[str]) -> None:
    server = mail.server(lambda map: _Debugging((HOST, 0), None, map=map))
    server.process_message(("peer", 1), "a@a", ["b@b"], b"x", rcpt_options=["NOTIFY=NEVER"])
    assert "rcpt options: ['NOTIFY=NEVER']\n\n" in capsys.readouterr().out


def test_debug_stream_takes_whatever_is_printed() -> None:
    print("told", file=smtpd.Devnull(), flush=True)


@pytest.mark.parametrize("goodbye", ["221 Bye", "421 Shutting down", ""])
def test_proxy_asks_no_more_than_whether_the_message_was_taken(mail: Mail, goodbye: str) -> None:
    class Next(smtpd.SMTPChannel):
        def smtp_QUIT(self, arg: str | None) -> None:
            if goodbye:
                self.push(goodbye)
            self.close_when_done()

    class Server(Mailbox):
        channel_class = Next  # type: ignore[assignment]

    map: dict[int, Any] = {}
    remote = Server(map)
    thread = threading.Thread(target=asyncore.loop, kwargs={"timeout": 0.02, "map": map})
    thread.start()
    try:
        assert _deliver(mail, _proxy(mail, remote.port), b"x") == ["250 OK"]
        assert len(remote.messages) == 1
    finally:
        Loop.of(map).call_soon_threadsafe(asyncore.close_all, map)
        thread.join()


def test_proxy_takes_no_smtputf8() -> None:
    with pytest.raises(ValueError, match="SMTPUTF8"):
        smtpd.PureProxy((HOST, 0), (HOST, 1), enable_SMTPUTF8=True)


def test_mailman_proxy_says_why_it_cannot_be() -> None:
    with pytest.raises(RuntimeError, match="Mailman"):
        smtpd.MailmanProxy((HOST, 0), (HOST, 1))


def test_process_message_is_to_be_defined() -> None:
    server = smtpd.SMTPServer((HOST, 0), None, map={})
    try:
        with pytest.raises(NotImplementedError):
            server.process_message(None, "", [], b"")
    finally:
        server.close()


def test_message_handler_that_fails_costs_its_own_connection(mail: Mail, capsys: pytest.CaptureFixture[str]) -> None:
    server = mail.server()
    client, other = mail.client(server, GREETING), mail.client(server)
    server.process_message = mock.Mock(side_effect=ZeroDivisionError)
    client.ask(ENVELOPE, 3)
    client.say(b"x\r\n.\r\n")
    assert client.hear_the_end() == b""
    assert "ZeroDivisionError" in capsys.readouterr().out
    assert other.ask(b"NOOP\r\n") == ["250 OK"]


def test_message_handler_may_close_the_connection(mail: Mail) -> None:
    server = mail.server()
    client = mail.client(server, GREETING)
    server.process_message = lambda *words, **more: server.channels[0].close()
    client.ask(ENVELOPE, 3)
    client.say(b"x\r\n.\r\n")
    client.hear_the_end()


def test_class_may_answer_commands_of_its_own(mail: Mail) -> None:
    class Channel(smtpd.SMTPChannel):
        def smtp_XYZ(self, arg: str | None) -> None:
            self.push(f"250 {arg}")

        def smtp_RCPT(self, arg: str | None) -> None:
            if arg and "nobody" in arg:
                self.push("550 Nobody here")
            else:
                super().smtp_RCPT(arg)

        def smtp_STARTTLS(self, arg: str | None) -> None:
            self.push("454 Not today")

    class Server(Mailbox):
        channel_class = Channel  # type: ignore[assignment]

    client = mail.client(mail.server(Server), GREETING)
    said = client.ask(b"xyz  a b \r\nMAIL FROM:<a@a>\r\nRCPT TO:<nobody@a>\r\nRCPT TO:<b@a>\r\nSTARTTLS\r\n", 5)
    assert said == ["250 a b", "250 OK", "550 Nobody here", "250 OK", "454 Not today"]


def test_class_may_collect_by_itself(mail: Mail) -> None:
    pieces: list[bytes] = []

    class Channel(smtpd.SMTPChannel):
        def collect_incoming_data(self, data: bytes) -> None:
            if self.smtp_state == self.DATA:
                pieces.append(data)
            super().collect_incoming_data(data)

    class Server(Mailbox):
        channel_class = Channel  # type: ignore[assignment]

    server = mail.server(Server)
    _deliver(mail, server, b"x\r\ny")
    assert b"".join(pieces) == b"x\r\ny"
    assert server.messages[0][2] == b"x\ny"


def test_class_may_find_the_end_by_itself(mail: Mail) -> None:
    class Channel(smtpd.SMTPChannel):
        def found_terminator(self) -> None:
            if self.smtp_state == self.COMMAND and b"".join(self.received_lines) == b"PING":
                self.received_lines = []
                self.num_bytes = 0
                self.push("250 PONG")
            else:
                super().found_terminator()

    class Server(Mailbox):
        channel_class = Channel  # type: ignore[assignment]

    server = mail.server(Server)
    assert mail.client(server).ask(b"PING\r\n" + GREETING + ENVELOPE + b"x\r\n.\r\n", 6)[0] == "250 PONG"
    assert server.messages[0][2] == b"x"


def test_class_may_have_a_state_of_its_own(mail: Mail) -> None:
    taken: list[bytes] = []

    class Channel(smtpd.SMTPChannel):
        CHUNK = 2

        def smtp_BDAT(self, arg: str) -> None:
            self.smtp_state = self.CHUNK
            self.set_terminator(int(arg))

        def found_terminator(self) -> None:
            if self.smtp_state != self.CHUNK:
                super().found_terminator()
                return
            taken.append(b"".join(self.received_lines))
            self.received_lines = []
            self.smtp_state = self.COMMAND
            self.set_terminator(b"\r\n")
            self.push("250 OK")

    class Server(Mailbox):
        channel_class = Channel  # type: ignore[assignment]

    client = mail.client(mail.server(Server), GREETING)
    assert client.ask(b"BDAT 100000\r\n" + b"x" * 100_000) == ["250 OK"]
    assert client.ask(b"NOOP\r\n") == ["250 OK"]
    assert taken == [b"x" * 100_000]


@pytest.mark.parametrize("decode", [False, True])
def test_class_may_take_the_dots_off_by_itself(mail: Mail, decode: bool) -> None:
    class Channel(smtpd.SMTPChannel):
        def found_terminator(self) -> None:
            if self.smtp_state != self.DATA:
                super().found_terminator()
                return
            text = self._emptystring.join(self.received_lines)
            lines = [line[1:] if line and line[0] == self._dotsep else line for line in text.split(self._linesep)]
            self.smtp_server.process_message(self.peer, self.mailfrom, self.rcpttos, self._newline.join(lines))
            self._set_post_data_state()
            self.push("250 OK")

    class Server(Mailbox):
        channel_class = Channel  # type: ignore[assignment]

    server = mail.server(Server, decode_data=decode)
    assert _deliver(mail, server, b"..a") == ["250 OK"]
    assert server.messages[0][2] == (".a" if decode else b".a")


def test_program_may_accept_by_itself(mail: Mail) -> None:
    class Server(Mailbox):
        def handle_accepted(self, conn: Any, addr: Any) -> None:
            self.channels.append(smtpd.SMTPChannel(self, conn, addr, 1000, self._map))

    server = mail.server(Server, max_connections=1)
    assert mail.client(server).ask(GREETING) == ["250 HELP"]
    assert mail.silent_client(server).hear_the_end().startswith(b"421 ")


def test_server_of_any_kind_will_do(mail: Mail) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    server = mock.Mock()
    server.process_message.return_value = "250 taken"
    channel = smtpd.SMTPChannel(server, ours, "somewhere", map=mail.loop.map)
    with theirs:
        theirs.sendall(GREETING + ENVELOPE + b"x\r\n.\r\n")
        poll_until(mail.loop, lambda: server.process_message.called)
        mail.loop.poll(0)
        assert theirs.recv(65536).endswith(b"250 taken\r\n")
        channel.close()


def test_banner_is_the_version_that_a_program_sets(mail: Mail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtpd, "__version__", "ESMTP ready")
    assert mail.silent_client(mail.server()).hear().endswith(b" ESMTP ready\r\n")


def test_host_name_is_asked_for_once(mail: Mail, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = mock.Mock(return_value="mail.example.com")
    monkeypatch.setattr(socket, "getfqdn", asked)
    monkeypatch.setattr("cyncore._smtp.host._getfqdn", asked)
    monkeypatch.setattr("cyncore._smtp.host._known", None)
    server = mail.server()
    for _ in range(3):
        assert mail.silent_client(server).hear().startswith(b"220 mail.example.com ")
    assert asked.call_count == 1


def test_host_name_is_asked_for_again_when_it_has_changed(mail: Mail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cyncore._smtp.host._known", ("another name", "another.example.com"))
    monkeypatch.setattr(socket, "gethostname", lambda: "another name")
    server = mail.server()
    assert mail.silent_client(server).hear().startswith(b"220 another.example.com ")
    monkeypatch.setattr(socket, "gethostname", lambda: "localhost")
    assert not mail.silent_client(server).hear().startswith(b"220 another.example.com ")


def test_debug_stream_is_told_what_happens(mail: Mail, stream: io.StringIO) -> None:
    _deliver(mail, mail.server(), b"hello")
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("Mailbox started at ")
    for line in ("Data: b'EHLO client.example'", "===> MAIL FROM:<a@example.com>", "sender: a@example.com"):
        assert line in lines
    for line in ("===> RCPT TO:<b@example.com>", "recips: ['b@example.com']"):
        assert line in lines
    assert lines[-1].startswith("Data: b'")
    assert lines[-1].endswith("hello'")


OLD_NAMES = {
    "server": "smtp_server",
    "line": "received_lines",
    "state": "smtp_state",
    "greeting": "seen_greeting",
    "mailfrom": "mailfrom",
    "rcpttos": "rcpttos",
    "data": "received_data",
    "fqdn": "fqdn",
    "peer": "peer",
    "conn": "conn",
    "addr": "addr",
}


@pytest.mark.parametrize("old", OLD_NAMES)
def test_oldest_names_warn_and_work(mail: Mail, old: str) -> None:
    server = mail.server()
    mail.client(server)
    channel = server.channels[0]
    with pytest.warns(DeprecationWarning, match=OLD_NAMES[old]):
        assert getattr(channel, f"_SMTPChannel__{old}") == getattr(channel, OLD_NAMES[old])
    before = getattr(channel, OLD_NAMES[old])
    with pytest.warns(DeprecationWarning, match=OLD_NAMES[old]):
        setattr(channel, f"_SMTPChannel__{old}", "new")
    assert getattr(channel, OLD_NAMES[old]) == "new"
    setattr(channel, OLD_NAMES[old], before)


@pytest.mark.parametrize(
    "name", ["asyncore", "asynchat", "collections", "errno", "getopt", "os", "socket", "sys", "time", "warn"]
)
def test_what_the_old_module_imported_is_reached_through_it(name: str) -> None:
    assert hasattr(smtpd, name)


def test_functions_of_the_email_package_are_reached_through_it() -> None:
    assert smtpd.get_addr_spec("a@b c")[0].addr_spec == "a@b"
    assert smtpd.get_angle_addr("<a@b> c")[0].addr_spec == "a@b"
    assert not hasattr(smtpd, "get_anything_else")


def test_arguments_are_those_of_the_old_classes() -> None:
    names = list(inspect.signature(smtpd.SMTPChannel).parameters)
    assert names == ["server", "conn", "addr", "data_size_limit", "map", "enable_SMTPUTF8", "decode_data"]
    names = list(inspect.signature(smtpd.SMTPServer).parameters)
    assert names[:6] == ["localaddr", "remoteaddr", "data_size_limit", "map", "enable_SMTPUTF8", "decode_data"]


def test_server_that_cannot_bind_leaves_nothing() -> None:
    map: dict[int, Any] = {}
    with socket.create_server((HOST, 0)) as taken, pytest.raises(OSError, match="in use"):
        smtpd.SMTPServer(taken.getsockname(), None, map=map)
    assert not map
