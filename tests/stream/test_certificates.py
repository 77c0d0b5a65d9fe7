# SPDX-License-Identifier: MIT
"""Certificates that are late, early, revoked, missing or of somebody else, on either side of a stream."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from cyncore import Loop, Server, TLSError
from tests.support.certificates import Authority
from tests.support.certificates import authority_fixture as authority_fixture
from tests.support.certificates import certificate_fixture as certificate_fixture
from tests.support.certificates import client_tls_fixture as client_tls_fixture
from tests.support.loops import every_backend
from tests.support.peers import poll_until
from tests.support.streams import Recorder


class Served(Recorder):
    last: Served

    def handle_connect(self) -> None:
        super().handle_connect()
        Served.last = self

    def handle_data(self, data: bytes) -> None:
        self.write(data)

    def handle_close(self, error: BaseException | None) -> None:
        super().handle_close(error)
        Served.last = self


class Client(Recorder):
    """Asks something, and closes when it was answered."""

    def handle_connect(self) -> None:
        super().handle_connect()
        self.write(b"question")

    def handle_data(self, data: bytes) -> None:
        super().handle_data(data)
        self.close()


def server_context(authority: Authority, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.folder / f"{name}.both")
    return context


def client_context(authority: Authority, name: str = "") -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.certificate))
    if name:
        context.load_cert_chain(authority.folder / f"{name}.both")
    return context


def looks_for_revoked(context: ssl.SSLContext, authority: Authority) -> ssl.SSLContext:
    context.load_verify_locations(authority.revoked)
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return context


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    made: list[Server] = []
    yield made
    for server in made:
        server.close()


def meet(loop: Loop, servers: list[Server], server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[Any, Any]:
    """Lets a client and a server meet, until it is over for both. Returns what each was told of the end, or "close"."""
    servers.append(loop.listen(("127.0.0.1", 0), Served, tls=server))
    stream = loop.connect(servers[0].address, Client, tls=client, server_hostname="localhost")
    poll_until(loop, lambda: stream.is_over and servers[0].connections == 0)
    loop.poll(0)
    return Served.last.seen[-1], stream.seen[-1]


def test_good_certificate_is_taken(loop: Loop, servers: list[Server], authority: Authority) -> None:
    context = looks_for_revoked(client_context(authority), authority)
    assert meet(loop, servers, server_context(authority, "good"), context) == ("close", "close")


@every_backend
@pytest.mark.parametrize(
    ("name", "words", "answer"),
    [
        ("expired", "certificate has expired", "says that our certificate has expired"),
        ("early", "certificate is not yet valid", "says that our certificate is bad"),
        ("revoked", "certificate revoked", "says that our certificate was revoked"),
    ],
)
def test_bad_certificate_of_a_server_is_told_on_both_sides(
    loop: Loop, servers: list[Server], authority: Authority, name: str, words: str, answer: str
) -> None:
    context = looks_for_revoked(client_context(authority), authority)
    served, asked = meet(loop, servers, server_context(authority, name), context)
    assert isinstance(asked, TLSError)
    assert words in str(asked)
    assert str(servers[0].address[1]) in str(asked)
    assert isinstance(served, TLSError)
    assert answer in str(served)


def test_revoked_certificate_is_taken_by_who_has_no_list(
    loop: Loop, servers: list[Server], authority: Authority
) -> None:
    ends = meet(loop, servers, server_context(authority, "revoked"), client_context(authority))
    assert ends == ("close", "close")


def test_list_that_is_missing_is_told(loop: Loop, servers: list[Server], authority: Authority) -> None:
    context = client_context(authority)
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    _, asked = meet(loop, servers, server_context(authority, "good"), context)
    assert "unable to get certificate CRL" in str(asked)


def demanding(authority: Authority) -> ssl.SSLContext:
    context = looks_for_revoked(server_context(authority, "good"), authority)
    context.load_verify_locations(authority.certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


@VERSIONS
def test_certificate_of_a_client_is_known_to_the_server(
    loop: Loop, servers: list[Server], authority: Authority, version: ssl.TLSVersion
) -> None:
    class Named(Served):
        def handle_connect(self) -> None:
            super().handle_connect()
            self.subject = self.get_extra_info("peercert")["subject"]

    context = client_context(authority, "good")
    context.maximum_version = version
    servers.append(loop.listen(("127.0.0.1", 0), Named, tls=demanding(authority)))
    client = loop.connect(servers[0].address, Client, tls=context, server_hostname="localhost")
    poll_until(loop, lambda: client.is_over)
    assert client.got == b"question"
    assert Served.last.subject == ((("commonName", "good"),),)  # type: ignore[attr-defined]


@VERSIONS
@pytest.mark.parametrize(
    ("name", "words", "answers"),
    [
        ("", "the peer has sent no certificate", ("wants a certificate", "has refused the handshake")),
        ("expired", "certificate has expired", ("our certificate has expired",)),
        ("revoked", "certificate revoked", ("our certificate was revoked",)),
    ],
)
def test_bad_certificate_of_a_client_is_told_on_both_sides(
    loop: Loop,
    servers: list[Server],
    authority: Authority,
    version: ssl.TLSVersion,
    name: str,
    words: str,
    answers: tuple[str, ...],
) -> None:
    """With TLS 1.3 the client has heard nothing of it at the end of its handshake: the answer comes as data would."""
    context = client_context(authority, name)
    context.maximum_version = version
    served, asked = meet(loop, servers, demanding(authority), context)
    assert isinstance(served, TLSError)
    assert words in str(served)
    assert isinstance(asked, TLSError)
    assert any(answer in str(asked) for answer in answers)


@VERSIONS
def test_certificate_of_a_client_from_elsewhere_is_told_on_both_sides(
    loop: Loop, servers: list[Server], authority: Authority, certificate: Any, version: ssl.TLSVersion
) -> None:
    context = client_context(authority)
    context.load_cert_chain(certificate)
    context.maximum_version = version
    served, asked = meet(loop, servers, demanding(authority), context)
    assert "the certificate of the peer is refused" in str(served)
    assert "does not know the authority of our certificate" in str(asked)
