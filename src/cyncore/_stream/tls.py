# SPDX-License-Identifier: MIT
"""TLS of a stream: the handshake, its end, and what its errors mean.

OpenSSL works on the descriptor: it gives its buffers back when it has nothing to do, so an idle connection takes a
quarter of what memory BIOs take. The stream reads and writes through the object of `_ssl` that is below an SSLSocket or
an SSLObject, which has the methods of a session (`_python/stream.py`).
"""

from __future__ import annotations

import os
import socket
import ssl
import sys
from typing import Any, Final

READ: Final = 1
WRITE: Final = 2
_WRAP_SOCKET: Final = ssl.SSLContext.wrap_socket
_HAS_OBJECTS: Final = hasattr(ssl.SSLContext, "_wrap_socket")  # of CPython
_NO_RENEGOTIATION: Final = int(ssl.OP_NO_RENEGOTIATION)
# Every context of the first releases of Python 3.10 and 3.11 has an option by which input that was cut looks whole.
_CUT_IS_END: Final = (
    int(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).options & getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0))
    if sys.version_info < (3, 12)
    else 0
)
_ASKED: Final = _NO_RENEGOTIATION | _CUT_IS_END


class TLSError(ssl.SSLError):
    """TLS has failed. The text names the peer and the reason."""

    __module__ = "cyncore"


class TruncatedError(TLSError):
    """The connection has ended without close_notify: the input may have been cut (RFC 8446, section 6.1)."""

    __module__ = "cyncore"


_REASONS: Final = {
    "HTTP_REQUEST": "the peer has sent an HTTP request in plain text",
    "WRONG_VERSION_NUMBER": "the peer does not speak TLS, or another version of it",
    "UNSUPPORTED_PROTOCOL": "the peer offers no version of TLS that is allowed here",
    "NO_SHARED_CIPHER": "no cipher of the peer is allowed here, or the context has no certificate (load_cert_chain)",
    "NO_PROTOCOLS_AVAILABLE": "no version of TLS is allowed here",
    "UNEXPECTED_EOF_WHILE_READING": "the peer has closed the connection without close_notify",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the peer has sent no certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "the peer does not know the authority of our certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the peer wants a certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the peer says that our certificate has expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "the peer says that our certificate was revoked",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the peer says that our certificate is bad",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the peer has refused the handshake",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the peer allows no version of TLS that we offer",
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": "the peer has no application protocol (ALPN) in common with us",
    "PACKET_LENGTH_TOO_LONG": "the peer does not speak TLS",
    "RECORD_LAYER_FAILURE": "the peer does not speak TLS",
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC": "a record was changed on the way",
    "NO_RENEGOTIATION": "the peer wants to renegotiate, which is refused",
}


def in_words(error: BaseException, peer: Any, is_handshake: bool) -> BaseException:
    """The error for the program: a TLSError or TruncatedError. An OSError of the socket is returned as it is."""
    if not isinstance(error, ssl.SSLError):
        return error
    where = "the TLS handshake" if is_handshake else "TLS"
    reason = getattr(error, "reason", None) or ""  # one that was not made by OpenSSL has none
    if not reason and "] record layer failure" in str(error):  # OpenSSL 3.5 has it, and Python 3.13 and PyPy no name
        reason = "RECORD_LAYER_FAILURE"
    if isinstance(error, ssl.SSLCertVerificationError):
        why = f"the certificate of the peer is refused: {error.verify_message}"
    elif reason == "RECORD_LAYER_FAILURE" and not is_handshake:
        why = _REASONS["DECRYPTION_FAILED_OR_BAD_RECORD_MAC"]  # OpenSSL 3.6 names the layer last, whatever failed in it
    else:
        why = _REASONS.get(reason) or (reason.replace("_", " ").lower() if reason else str(error))
    if isinstance(error, ssl.SSLEOFError) or reason == "UNEXPECTED_EOF_WHILE_READING":
        kind: type[TLSError] = TruncatedError
        why = _REASONS["UNEXPECTED_EOF_WHILE_READING"]
    else:
        kind = TLSError
    made = kind(error.errno, f"{where} with {peer} failed: {why}")
    made.__cause__ = error
    return made


def is_plain(context: ssl.SSLContext) -> bool:
    """Is the context what `ssl` makes of it? One with a `wrap_socket` of its own, as truststore has it, may not be."""
    return type(context).wrap_socket is _WRAP_SOCKET and _HAS_OBJECTS


def tighten(context: ssl.SSLContext) -> None:
    """Nobody renegotiates, and an end without close_notify is told."""
    # Asked of the base class, which makes no enum of it each time; one that is not plain may look elsewhere.
    if not is_plain(context) or super(ssl.SSLContext, context).options & _ASKED != _NO_RENEGOTIATION:
        context.options = (context.options | ssl.OP_NO_RENEGOTIATION) & ~_CUT_IS_END


def begin(
    sock: Any, context: ssl.SSLContext, server_side: bool, hostname: str | None, session: Any
) -> ssl.SSLObject | ssl.SSLSocket:
    """Returns the TLS of the descriptor of ``sock``, which stays what it is. Renegotiation is refused.

    An SSLSocket would take the descriptor away from ``sock``, and costs seven system calls and as much work in Python
    as the rest of a connection. An SSLObject is made for memory BIOs by `ssl`, and serves as well for a descriptor.
    A context that is not plain makes an SSLSocket all the same, on a descriptor of its own: `end` closes it.
    """
    tighten(context)
    if not is_plain(context):
        own = socket.socket(fileno=os.dup(sock.fileno()))
        try:
            own.setblocking(False)  # made of a number, it does not know so, and wrap_socket() would have it block
            return wrap(own, context, server_side, hostname, session)
        except BaseException:
            own.close()
            raise
    if server_side and (hostname or session is not None):
        raise ValueError("server_hostname and session are for clients")
    if not server_side and context.check_hostname and not hostname:
        raise ValueError("check_hostname requires server_hostname")
    inner: Any = context
    made: Any = context.sslobject_class.__new__(context.sslobject_class)
    name = None if hostname is None else inner._encode_hostname(hostname)
    made._sslobj = inner._wrap_socket(sock, server_side, name, owner=made, session=session)
    return made  # type: ignore[no-any-return]


def end(made: ssl.SSLObject | ssl.SSLSocket) -> None:
    """Lets go of what `begin` has made."""
    if isinstance(made, ssl.SSLSocket):
        made.close()


def wrap(sock: Any, context: ssl.SSLContext, server_side: bool, hostname: str | None, session: Any) -> ssl.SSLSocket:
    """Returns the TLS socket for the descriptor of ``sock``, which gives it up. Renegotiation is refused."""
    tighten(context)
    return context.wrap_socket(
        sock,
        server_side=server_side,
        do_handshake_on_connect=False,
        suppress_ragged_eofs=False,
        server_hostname=hostname,
        session=session,
    )


def session_of(sock: ssl.SSLSocket | ssl.SSLObject) -> Any:
    """What reads and writes: the object below it, which saves a call in Python each time."""
    session = getattr(sock, "_sslobj", None) or sock
    if sys.implementation.name == "pypy":
        from .pypy import Session

        return Session(session)
    return session


def say_close(session: Any) -> bool:
    """Sends close_notify, and does not wait for the peer's. Returns False if there is no room: call it again then."""
    try:
        (session.unwrap if hasattr(session, "unwrap") else session.shutdown)()  # SSLSocket's shutdown is another
    except ssl.SSLWantWriteError:
        return False
    except (OSError, ValueError):  # want-read: it was sent, and the peer has not answered; else the peer has gone
        pass
    return True


class CloseNotify:
    """The part of a stream's output that says close_notify, when there is room."""

    __slots__ = ()

    def send(self, stream: Any) -> bool:
        """Returns True when it was said: by all sessions that are nested if the connection ends, else by one."""
        session = stream._session
        if not stream._is_end_said:
            if not say_close(session):
                return False
            stream._is_end_said = True
        while stream.closing and (session := getattr(session, "outer", None)) is not None:
            if not say_close(session):
                return False
        stream._end_waits = False
        return True

    def close(self) -> None:
        """The connection is gone."""


def extra_info(sock: Any, name: str) -> Any:
    """A fact about the TLS of a socket, or of an SSLObject, by the names of asyncio; None where there is none."""
    if not isinstance(sock, (ssl.SSLSocket, ssl.SSLObject)):
        return None
    if name == "ssl_object":
        return sock
    if name == "sslcontext":
        return sock.context
    if name == "cipher":
        return sock.cipher()
    if name == "compression":
        return sock.compression()
    if name == "peercert":
        return sock.getpeercert()
    if name == "alpn":
        return sock.selected_alpn_protocol()
    if name == "session":
        return sock.session
    return None
