# SPDX-License-Identifier: MIT
"""examples/mail_sink.py."""

from __future__ import annotations

import mailbox
import smtplib
import ssl
from pathlib import Path

from tests.support.certificates import certificate_fixture as certificate_fixture
from tests.support.certificates import client_tls_fixture as client_tls_fixture
from tests.support.examples import PATIENCE, serving

ADDRESS = r"^Taking mail at (?P<host>[0-9.]+):(?P<port>\d+) \(Ctrl-C to stop\)$"


def test_mail_sink_keeps_each_message(tmp_path: Path) -> None:
    with serving("mail_sink.py", tmp_path / "mail", 0, pattern=ADDRESS) as server:
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
    with serving("mail_sink.py", tmp_path / "mail", 0, certificate, pattern=ADDRESS) as server:
        with smtplib.SMTP("localhost", server.address[1], timeout=PATIENCE) as client:
            client.starttls(context=client_tls)
            client.sendmail("a@example.com", ["b@example.com"], "Subject: x\r\n\r\n")
        assert server.interrupt() == 0
    assert len(mailbox.Maildir(tmp_path / "mail")) == 1
