# SPDX-License-Identifier: MIT
"""Clients that others wrote: Python's smtplib, and swaks."""

from __future__ import annotations

import smtplib
import ssl
import subprocess
from email.message import EmailMessage
from typing import Any

import pytest

from tests.support.certificates import certificate_fixture as certificate_fixture
from tests.support.certificates import client_tls_fixture as client_tls_fixture
from tests.support.certificates import server_tls_fixture as server_tls_fixture
from tests.support.examples import tool, tool_environment
from tests.support.smtpd import HOST, Mail
from tests.support.smtpd import mail_fixture as mail_fixture

MESSAGE = EmailMessage()
MESSAGE["From"], MESSAGE["To"], MESSAGE["Subject"] = "a@example.com", "b@example.com", "dots"
MESSAGE.set_content(".\n..\n.x\n\n" + "a line\n" * 2000)


def test_smtplib_sends_many_messages_over_one_connection(mail: Mail) -> None:
    server = mail.server()

    def send() -> None:
        with smtplib.SMTP(HOST, server.port, "client.example", timeout=20) as client:
            for number in range(20):
                assert client.sendmail("a@a", ["b@b", "c@c"], f"number {number}\r\n.\r\n..\r\n") == {}
                client.noop()

    mail.serve(send)
    assert server.messages == [("a@a", ["b@b", "c@c"], f"number {number}\n.\n..".encode()) for number in range(20)]


def test_smtplib_sends_what_it_was_given(mail: Mail) -> None:
    server = mail.server()

    def send() -> Any:
        with smtplib.SMTP(HOST, server.port, "client.example", timeout=20) as client:
            return client.send_message(MESSAGE)

    assert mail.serve(send) == {}
    assert server.messages[0][2] + b"\n" == bytes(MESSAGE)


def test_smtplib_sends_utf8(mail: Mail) -> None:
    server = mail.server(enable_SMTPUTF8=True)

    def send() -> Any:
        with smtplib.SMTP(HOST, server.port, "client.example", timeout=20) as client:
            return client.sendmail("gr\xfc\xdfe@example.com", "b@b", b"\xc3\xbc\r\n", ["SMTPUTF8", "BODY=8BITMIME"])

    assert mail.serve(send) == {}
    assert server.messages == [("gr\xfc\xdfe@example.com", ["b@b"], b"\xc3\xbc")]


def test_smtplib_is_told_that_a_message_is_too_large(mail: Mail) -> None:
    server = mail.server(data_size_limit=100)

    def send() -> None:
        with smtplib.SMTP(HOST, server.port, "client.example", timeout=20) as client:
            client.helo()  # so that it does not say the size beforehand
            with pytest.raises(smtplib.SMTPDataError) as caught:
                client.sendmail("a@a", "b@b", b"x" * 1000)
            assert caught.value.smtp_code == 552
            assert client.sendmail("a@a", "b@b", b"small") == {}

    mail.serve(send)
    assert len(server.messages) == 1


def test_smtplib_asks_the_rest(mail: Mail) -> None:
    server = mail.server()

    def ask() -> tuple[Any, ...]:
        with smtplib.SMTP(HOST, server.port, "client.example", timeout=20) as client:
            client.ehlo()
            return (
                client.verify("a@b")[0],
                client.expn("a")[0],
                client.rset()[0],
                client.has_extn("8bitmime"),
                client.help(),
            )

    verify, expand, reset, eight, told = mail.serve(ask)
    assert (verify, expand, reset, eight) == (252, 502, 250, True)
    assert told.startswith(b"Supported commands: EHLO HELO")


def _swaks(mail: Mail, port: int, *options: str) -> str:
    command = [
        tool("swaks"),
        "--server",
        f"{HOST}:{port}",
        "--from",
        "a@example.com",
        "--to",
        "b@example.com",
        "--timeout",
        "20",
    ]
    body = "--body", "hello\n.\n..dots\n"

    def run() -> Any:
        words = [*command, *body, *options]
        return subprocess.run(words, env=tool_environment(), capture_output=True, text=True, timeout=30, check=False)

    done = mail.serve(run)
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


def _check_swaks_message(server: Any, count: int = 1) -> None:
    assert [message[:2] for message in server.messages] == [("a@example.com", ["b@example.com"])] * count
    assert b"\n\nhello\n.\n..dots\n" in server.messages[0][2]


def test_swaks_sends(mail: Mail) -> None:
    server = mail.server()
    _swaks(mail, server.port)
    _check_swaks_message(server)


def test_swaks_sends_without_waiting_for_replies(mail: Mail) -> None:
    server = mail.server(pipelining=True)
    told = _swaks(mail, server.port, "--pipeline")
    assert "-> RCPT TO" in told.split("250 HELP")[1].split("<-")[0]  # before the reply to MAIL
    _check_swaks_message(server)


def test_swaks_sends_over_tls(mail: Mail, server_tls: ssl.SSLContext) -> None:
    server = mail.server(tls_context=server_tls, require_starttls=True)
    told = _swaks(mail, server.port, "--tls")
    assert "TLS started with cipher" in told
    _check_swaks_message(server)


def test_swaks_sends_over_tls_without_waiting_for_replies(mail: Mail, server_tls: ssl.SSLContext) -> None:
    server = mail.server(tls_context=server_tls, pipelining=True)
    _swaks(mail, server.port, "--tls", "--pipeline")
    _check_swaks_message(server)


def test_swaks_sends_over_tls_from_the_first_byte(mail: Mail, server_tls: ssl.SSLContext) -> None:
    server = mail.server(tls_context=server_tls, tls_implicit=True)
    _swaks(mail, server.port, "--tls-on-connect")
    _check_swaks_message(server)
