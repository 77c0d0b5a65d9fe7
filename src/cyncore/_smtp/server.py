# SPDX-License-Identifier: MIT
"""The servers to derive from: they take connections, and make a channel of each."""

from __future__ import annotations

import socket
import time
from typing import Any

from cyncore._dispatcher import dispatcher

from . import settings
from .channel import SMTPChannel
from .options import ServerOptions, set_options

_BACKLOG = 128


class SMTPServer(dispatcher, ServerOptions):
    """Takes connections at ``localaddr``, and makes a `channel_class` of each. Derive, and define `process_message`.

    ``localaddr``: ``(host, port)``. ``remoteaddr``: for the program's own use. ``data_size_limit``, ``map``,
    ``enable_SMTPUTF8``, ``decode_data``: as those of `SMTPChannel`. ``options``: docs/smtpd.md lists them. OSError
    where the address cannot be had; ValueError and TypeError for what cannot be meant.
    """

    __module__ = "cyncore.smtpd"

    channel_class: Any = SMTPChannel

    def __init__(
        self,
        localaddr: Any,
        remoteaddr: Any,
        data_size_limit: int | None = settings.DATA_SIZE_DEFAULT,
        map: Any = None,
        enable_SMTPUTF8: bool = False,
        decode_data: bool = False,
        **options: Any,
    ) -> None:
        self._localaddr = localaddr
        self._remoteaddr = remoteaddr
        self.data_size_limit = data_size_limit
        self.enable_SMTPUTF8 = enable_SMTPUTF8
        self._decode_data = decode_data
        if enable_SMTPUTF8 and decode_data:
            raise ValueError("decode_data and enable_SMTPUTF8 cannot both be set")
        set_options(self, options)
        dispatcher.__init__(self, map=map)
        try:
            host, port = localaddr
            family, kind, *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            self.create_socket(family, kind)
            self.set_reuse_addr()
            self.bind(localaddr)
            self.listen(_BACKLOG)
        except BaseException:
            self.close()
            raise
        if settings.is_debugged():
            settings.debug(
                f"{type(self).__name__} started at {time.ctime()}\n"
                f"\tLocal addr: {localaddr}\n\tRemote addr:{remoteaddr}"
            )

    def handle_accepted(self, conn: Any, addr: Any) -> None:
        """Serves the connection ``conn`` of the peer at ``addr``."""
        if settings.is_debugged():
            settings.debug("Incoming connection from", repr(addr))
        self.channel_class(self, conn, addr, self.data_size_limit, self._map, self.enable_SMTPUTF8, self._decode_data)

    def process_message(self, peer: Any, mailfrom: str, rcpttos: list[str], data: Any, **kwargs: Any) -> str | None:
        """A message has come. To be defined.

        ``peer``: the client's address. ``mailfrom``, ``rcpttos``: the envelope's addresses, without angle brackets;
        ``<>`` is the null path. ``data``: the whole message, bytes (str with ``decode_data``), its lines ended by a
        newline and without the dots that the protocol adds. ``mail_options`` and ``rcpt_options``, lists of words in
        capitals, are given as well unless ``decode_data`` is set: those of MAIL and of the last RCPT.

        Returns None for ``250 OK``, or the whole reply. What it raises goes to the channel's ``handle_error``, which by
        itself closes the connection.
        """
        raise NotImplementedError(f"{type(self).__qualname__} does not define process_message()")


class DebuggingServer(SMTPServer):
    """Prints what it is sent."""

    __module__ = "cyncore.smtpd"

    def _print_message_content(self, peer: Any, data: Any) -> None:
        in_headers = True
        for line in data.splitlines():
            if in_headers and not line:
                in_headers = False
                header = f"X-Peer: {peer[0]}"
                print(header if isinstance(data, str) else repr(header.encode()))
            print(line if isinstance(data, str) else repr(line))

    def process_message(self, peer: Any, mailfrom: str, rcpttos: list[str], data: Any, **kwargs: Any) -> str | None:
        print("---------- MESSAGE FOLLOWS ----------")
        if kwargs.get("mail_options"):
            print(f"mail options: {kwargs['mail_options']}")
        if kwargs.get("rcpt_options"):
            print(f"rcpt options: {kwargs['rcpt_options']}\n")
        self._print_message_content(peer, data)
        print("------------ END MESSAGE ------------")
        return None
