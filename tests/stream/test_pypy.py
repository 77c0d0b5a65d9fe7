# SPDX-License-Identifier: MIT
"""What PyPy's `ssl` gets wrong is put right."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from cyncore._stream.pypy import Session
from cyncore._stream.tls import say_close


class Lost:
    """PyPy's session whose peer has gone."""

    def fail(self, *arguments: Any) -> Any:
        raise RuntimeError("cannot use string() on <cdata 'char *' NULL>")

    do_handshake = read = write = shutdown = fail

    def pending(self) -> int:
        return 5


@pytest.mark.parametrize("name", ["do_handshake", "read", "write"])
def test_a_lost_connection_is_told_where_openssl_has_no_words_for_it(name: str) -> None:
    arguments = {"do_handshake": (), "read": (10,), "write": (b"x",)}[name]
    with pytest.raises(ssl.SSLEOFError, match="EOF occurred"):
        getattr(Session(Lost()), name)(*arguments)


def test_close_notify_to_a_peer_that_has_gone_is_no_error() -> None:
    assert say_close(Session(Lost()))


def test_the_rest_of_a_session_is_as_it_was() -> None:
    session = Session(Lost())
    assert session.pending() == 5
    assert not hasattr(session, "unwrap")
