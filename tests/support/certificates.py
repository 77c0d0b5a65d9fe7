# SPDX-License-Identifier: MIT
"""Keys and certificates, made for each run: the plain one, and an authority with good, late and revoked ones."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest

from tests.support.examples import tool, tool_environment

CONFIGURATION = """
[ca]
default_ca = authority
[authority]
database = {folder}/database
new_certs_dir = {folder}
serial = {folder}/serial
crlnumber = {folder}/crlnumber
certificate = {folder}/authority.pem
private_key = {folder}/authority.key
default_md = sha256
default_days = 2
default_crl_days = 2
policy = any
x509_extensions = leaf
crl_extensions = list
unique_subject = no
[any]
commonName = supplied
[leaf]
basicConstraints = critical,CA:false
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always
subjectAltName = DNS:localhost,IP:127.0.0.1
[list]
authorityKeyIdentifier = keyid:always
"""


def openssl(command: str) -> None:
    subprocess.run(
        [tool("openssl"), *command.split()], check=True, capture_output=True, timeout=60, env=tool_environment()
    )


class Authority:
    """Issues certificates for localhost, in files with their keys, and a list of those that it has revoked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate = folder / "authority.pem"
        self.revoked = folder / "revoked.pem"
        self._settings = folder / "settings"
        self._settings.write_text(CONFIGURATION.format(folder=folder), encoding="ascii")
        (folder / "database").touch()
        for name in ("serial", "crlnumber"):
            (folder / name).write_text("01\n", encoding="ascii")
        openssl(
            f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=authority"
            f" -keyout {folder}/authority.key -out {self.certificate}"
            " -addext keyUsage=critical,keyCertSign,cRLSign"  # Python 3.13 is strict
        )
        self.list_revoked()

    def issue(self, name: str, times: str = "") -> Path:
        """A file with a certificate and its key. ``times``: when it is valid, in words of ``openssl ca``."""
        stem, made = self.folder / name, self.folder / f"{name}.both"
        openssl(
            f"req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN={name}"
            f" -keyout {stem}.key -out {stem}.request"
        )
        openssl(f"ca -batch -notext -config {self._settings} -in {stem}.request -out {stem}.pem {times}")
        made.write_bytes(Path(f"{stem}.key").read_bytes() + Path(f"{stem}.pem").read_bytes())
        return made

    def revoke(self, name: str) -> None:
        openssl(f"ca -config {self._settings} -revoke {self.folder}/{name}.pem")
        self.list_revoked()

    def list_revoked(self) -> None:
        openssl(f"ca -gencrl -config {self._settings} -out {self.revoked}")


@pytest.fixture(scope="session", name="authority")
def authority_fixture(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One that has issued "good", "expired", "early", and "revoked", to servers and clients alike."""
    made = Authority(tmp_path_factory.mktemp("authority"))
    made.issue("good")
    made.issue("expired", "-startdate 20200101000000Z -enddate 20200102000000Z")
    made.issue("early", "-startdate 20480101000000Z -enddate 20480102000000Z")
    made.issue("revoked")
    made.revoke("revoked")
    return made


@pytest.fixture(scope="session", name="certificate")
def certificate_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a key and a certificate of its own for localhost, made for this run."""
    folder = tmp_path_factory.mktemp("tls")
    key, made, both = folder / "key.pem", folder / "made.pem", folder / "both.pem"
    openssl(
        f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout {key} -out {made}"
        " -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
    )
    both.write_bytes(key.read_bytes() + made.read_bytes())
    return both


@pytest.fixture(name="server_tls")
def server_tls_fixture(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture(name="client_tls")
def client_tls_fixture(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))
