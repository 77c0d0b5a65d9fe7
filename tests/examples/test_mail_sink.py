# SPDX-License-Identifier: MIT
"""examples/mail_sink.py."""

from __future__ import annotations

import mailbox
import signal
import smtplib
import ssl
from pathlib import Path

from tests.support.certificates import certificate_fixture as certificate_fixture
from tests.support.certificates import client_tls_fixture as client_tls_fixture
from tests.support.examples import PATIENCE, READY, serving


def test_mail_sink_keeps_each_message(tmp_path: Path) -> None:
    with serving("mail_sink.py", tmp_path / "mail", 0, pattern=READY) as server:
        with smtplib.SMTP(*server.address, timeout=PATIENCE) as client:
            client.sendmail("a@example.com", ["b@example.com", "c@example.com"], "Subject: x\r\n\r\nhello\r\n")
            client.sendmail("", ["b@example.com"], "Subject: y\r\n\r\n")
        assert server.interrupt() == 0
        server.end()
        assert server.errors == b""
    kept = {message["Subject"]: message for message in mailbox.Maildir(tmp_path / "mail")}
    assert (kept["x"]["Return-Path"], kept["x"].get_all("Delivered-To")) == (
        "<a@example.com>",
        ["b@example.com", "c@example.com"],
    )
    assert kept["x"].get_payload() == "hello\n"
    assert kept["y"]["Return-Path"] == "<>"


def test_mail_sink_speaks_tls(tmp_path: Path, certificate: Path, client_tls: ssl.SSLContext) -> None:
    with serving("mail_sink.py", tmp_path / "mail", 0, certificate, pattern=READY) as server:
        with smtplib.SMTP("localhost", server.address[1], timeout=PATIENCE) as client:
            client.starttls(context=client_tls)
            client.sendmail("a@example.com", ["b@example.com"], "Subject: x\r\n\r\n")
        assert server.interrupt() == 0
    assert len(mailbox.Maildir(tmp_path / "mail")) == 1


def test_sigterm_lets_a_mail_under_way_come_to_its_end(tmp_path: Path) -> None:
    with serving("mail_sink.py", "--port", 0, tmp_path / "mail", pattern=READY) as server:
        busy, idle = (smtplib.SMTP(*server.address, timeout=PATIENCE) for _ in range(2))
        with busy, idle:
            busy.ehlo()
            busy.mail("a@example.com")
            busy.rcpt("b@example.com")
            server.process.terminate()
            assert idle.getreply()[0] == 421
            assert busy.data(b"Subject: x\r\n\r\n")[0] == 250
            assert busy.getreply()[0] == 421
            busy.close()
            idle.close()
        assert server.process.wait(PATIENCE) == 0
        server.end()
        assert server.errors == b""
    assert len(mailbox.Maildir(tmp_path / "mail")) == 1


def test_a_second_sigterm_ends_the_mail_sink_at_once(tmp_path: Path) -> None:
    with serving("mail_sink.py", "--port", 0, tmp_path / "mail", pattern=READY) as server:
        busy, idle = (smtplib.SMTP(*server.address, timeout=PATIENCE) for _ in range(2))
        busy.ehlo()
        busy.mail("a@example.com")
        server.process.terminate()
        assert idle.getreply()[0] == 421  # the first one was seen
        server.process.terminate()
        assert server.process.wait(PATIENCE) == -signal.SIGTERM
        busy.close()
        idle.close()
