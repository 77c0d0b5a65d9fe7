"""The certificate of the TLS servers: made once, kept beside the compiled programs, and signed by itself."""

from __future__ import annotations

import shutil
import subprocess
import time

from benchmarks.run.compiler import has_header
from benchmarks.run.errors import MeasurementError
from benchmarks.run.folders import BUILD

CERTIFICATE, KEY = BUILD / "certificate.pem", BUILD / "key.pem"
FILES = (str(CERTIFICATE), str(KEY))
DAYS = 90
KIND = ("-newkey", "rsa:2048", "-nodes")  # whose server has more to compute in a handshake than the client


def missing() -> str | None:
    """Why TLS cannot be measured on this machine, or None."""
    if not has_header("openssl/ssl.h"):
        return "the C compiler does not find openssl/ssl.h (apt install libssl-dev)"
    return None if shutil.which("openssl") else "there is no command openssl (apt install openssl)"


def make() -> None:
    """Makes certificate and key where there are none, or old ones. Raises MeasurementError."""
    if KEY.exists() and time.time() - KEY.stat().st_mtime < (DAYS - 1) * 86400:
        return
    BUILD.mkdir(exist_ok=True)
    names = ("-subj", "/CN=localhost", "-days", str(DAYS), "-out", str(CERTIFICATE), "-keyout", str(KEY))
    done = subprocess.run(["openssl", "req", "-x509", *KIND, *names], capture_output=True, text=True)
    if done.returncode:
        raise MeasurementError(f"openssl made no certificate: {done.stderr.strip()}")
