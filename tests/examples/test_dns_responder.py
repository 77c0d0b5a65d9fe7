# SPDX-License-Identifier: MIT
"""The DNS responder, asked by dig, by hand, and by a load."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.examples import EXAMPLES, PATIENCE, Server, serving_stream, tool, tool_environment

HEADER = struct.Struct("!6H")
NUMBER = 0x1234


def dig(server: Server, *words: str) -> str:
    host, port = server.address
    done = subprocess.run(
        [tool("dig"), f"@{host}", "-p", str(port), "+time=20", "+tries=1", *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=tool_environment(),
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def question(name: str, kind: int = 1, number: int = NUMBER) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return HEADER.pack(number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", kind, 1)


def client(server: Server) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(PATIENCE)
    sock.connect(server.address)
    return sock


def test_dig_gets_the_records_of_each_type() -> None:
    with serving_stream("dns_responder.py") as server:
        assert dig(server, "+short", "www.example.test").split() == ["192.0.2.1", "192.0.2.2"]
        assert dig(server, "+short", "WWW.example.TEST", "AAAA").split() == ["2001:db8::1"]
        assert dig(server, "+short", "example.test", "TXT").strip() == '"a zone for examples"'
        assert dig(server, "+short", "+noedns", "www.example.test").split() == ["192.0.2.1", "192.0.2.2"]


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("nobody.example.test",), "NXDOMAIN"),
        (("www.example.test", "MX"), "NOERROR"),
        (("www.example.org",), "REFUSED"),
        (("-c", "CH", "www.example.test"), "REFUSED"),
    ],
)
def test_dig_is_told_why_there_is_no_record(words: tuple[str, ...], status: str) -> None:
    with serving_stream("dns_responder.py") as server:
        assert f"status: {status}," in dig(server, *words)


def test_a_zone_file_with_a_long_text(tmp_path: Path) -> None:
    text = "0123456789" * 60
    zone = tmp_path / "zone"
    zone.write_text(f"a.b.example 60 TXT {text}  # long\nb.example 60 A 127.0.0.1\n\n# nothing more\n")
    with serving_stream("dns_responder.py", "--zone", zone) as server:
        shown = dig(server, "+short", "a.b.example", "TXT")
        assert shown.replace('"', "").replace(" ", "").strip() == text
        assert "flags: qr aa tc rd;" in dig(server, "+noedns", "+ignore", "a.b.example", "TXT")
        assert "status: NOERROR," in dig(server, "b.example", "TXT")


def test_a_zone_that_is_wrong_is_said(tmp_path: Path) -> None:
    zone = tmp_path / "zone"
    zone.write_text("name 60 A 127.0.0.1\nname 60 MX mail\n")
    words = [sys.executable, str(EXAMPLES / "dns_responder.py"), "--zone", str(zone)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
    assert "line 2 of the zone, 'name 60 MX mail'" in done.stderr


@pytest.mark.parametrize(
    ("query", "code"),
    [
        (HEADER.pack(NUMBER, 0, 0, 0, 0, 0), 1),  # no question
        (HEADER.pack(NUMBER, 0, 1, 0, 0, 0), 1),  # a question that is missing
        (HEADER.pack(NUMBER, 0, 1, 0, 0, 0) + b"\x03www", 1),
        (HEADER.pack(NUMBER, 0, 1, 0, 0, 0) + b"\x03www\0\0\1", 1),
        (HEADER.pack(NUMBER, 0, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1", 1),  # a pointer to itself
        (HEADER.pack(NUMBER, 0, 1, 0, 0, 0) + b"\x01a" * 200 + b"\0\0\1\0\1", 1),  # too long a name
        (HEADER.pack(NUMBER, 0, 1, 0, 0, 1) + b"\0\0\1\0\1" + b"\0\0\x29\1", 1),  # half an OPT record
        (HEADER.pack(NUMBER, 0x2800, 1, 0, 0, 0) + b"\0\0\1\0\1", 4),  # an update
        (HEADER.pack(NUMBER, 0, 1, 0, 0, 0) + b"\0\0\1\0\1", 5),  # the root
    ],
)
def test_what_is_malformed_is_answered_with_its_code(query: bytes, code: int) -> None:
    with serving_stream("dns_responder.py") as server, client(server) as sock:
        sock.send(query)
        number, flags, *_ = HEADER.unpack_from(sock.recv(512))
        assert (number, flags & 0x8000, flags & 15) == (NUMBER, 0x8000, code)


def test_what_deserves_no_answer_gets_none() -> None:
    with serving_stream("dns_responder.py") as server, client(server) as sock:
        for nothing in (b"", b"x" * 11, HEADER.pack(1, 0x8000, 1, 0, 0, 0) + b"\0\0\1\0\1", b"x" * 5000):
            sock.send(nothing)
        sock.send(question("www.example.test"))
        assert HEADER.unpack_from(sock.recv(512))[0] == NUMBER


def test_a_load_of_queries_is_answered_whole() -> None:
    with serving_stream("dns_responder.py") as server:
        socks = [client(server) for _ in range(5)]
        for turn in range(100):
            for sock in socks:
                for number in range(20):
                    sock.send(question("www.example.test", number=turn * 20 + number))
            for sock in socks:
                answers = [sock.recv(512) for _ in range(20)]
                assert [HEADER.unpack_from(data)[0] for data in answers] == [turn * 20 + at for at in range(20)]
                assert {HEADER.unpack_from(data)[3] for data in answers} == {2}
        for sock in socks:
            sock.close()
