# SPDX-License-Identifier: MIT
"""What the tests of smtpd share: a server that remembers, and a client that says any bytes."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cyncore import Loop, smtpd
from tests.support.peers import poll_until

HOST = "127.0.0.1"
GREETING = b"EHLO client.example\r\n"
ENVELOPE = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"


class Mailbox(smtpd.SMTPServer):
    """Keeps what it is sent in `messages`, as ``(mailfrom, rcpttos, data)``, and its connections in `channels`."""

    def __init__(self, map: Any, **more: Any) -> None:
        self.messages: list[tuple[str, list[str], Any]] = []
        self.channels: list[Any] = []
        self.status: str | None = None
        super().__init__((HOST, 0), None, map=map, **more)

    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1])

    def channel_class(self, *args: Any) -> Any:
        channel = smtpd.SMTPChannel(*args)
        self.channels.append(channel)
        return channel

    def process_message(self, peer: Any, mailfrom: str, rcpttos: list[str], data: Any, **kwargs: Any) -> str | None:
        self.messages.append((mailfrom, list(rcpttos), data))
        return self.status


class Client:
    """Says bytes to a server whose loop is polled meanwhile, and hears what comes back."""

    def __init__(self, loop: Loop, sock: socket.socket) -> None:
        self.loop = loop
        self.heard = b""
        self.over = False
        self.sock: Any = sock
        self.sock.setblocking(False)

    def close(self) -> None:
        self.sock.close()

    def listen(self) -> bytes:
        """Takes in what has come, and returns all of it since it was asked for last."""
        try:
            while not self.over:
                data = self.sock.recv(65536)
                self.over = not data
                self.heard += data
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        except ConnectionError:
            self.over = True
        return self.heard

    def say(self, data: bytes) -> None:
        """All of ``data``, however long the server takes over it."""
        rest = memoryview(data)

        def said() -> bool:
            nonlocal rest
            try:
                rest = rest[self.sock.send(rest) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                pass
            return not rest

        poll_until(self.loop, said, 100_000)

    def hear(self, end: bytes = b"\r\n") -> bytes:
        """Until what came ends with ``end``; forgets it."""
        poll_until(self.loop, lambda: self.listen().endswith(end) or self.over)
        heard, self.heard = self.heard, b""
        return heard

    def ask(self, data: bytes, replies: int = 1) -> list[str]:
        """Says it, and returns so many last lines of replies."""
        self.say(data)
        poll_until(self.loop, lambda: len(_replies(self.listen())) >= replies or self.over)
        heard, self.heard = self.heard, b""
        return _replies(heard)

    def hear_the_end(self) -> bytes:
        """Everything until the server closes."""
        poll_until(self.loop, lambda: self.listen() is not None and self.over)
        heard, self.heard = self.heard, b""
        return heard


def _replies(heard: bytes) -> list[str]:
    lines = heard.decode("utf-8").split("\r\n")
    return [line for line in lines[:-1] if line[3:4] != "-"]


class Mail:
    """Servers and clients in one loop; closes them all in the end."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self._open: list[Any] = []

    def server(self, kind: Callable[..., Any] = Mailbox, **more: Any) -> Any:
        made = kind(self.loop.map, **more)
        self._open.append(made)
        return made

    def client(self, server: Any, greet: bytes = b"") -> Client:
        """One that has heard the greeting, and the answer to ``greet``."""
        made = self.silent_client(server)
        made.hear()
        if greet:
            made.ask(greet)
        return made

    def silent_client(self, server: Any) -> Client:
        return self._client(socket.create_connection((HOST, server.port), 10))

    def near_client(self, server: Any) -> Client:
        """One over a socket pair: what is sent is there at once, and what is full stays full."""
        near, far = socket.socketpair()
        server.handle_accepted(near, ("near", 0))
        return self._client(far)

    def _client(self, sock: socket.socket) -> Client:
        made = Client(self.loop, sock)
        self._open.append(made)
        return made

    def serve(self, work: Callable[[], Any]) -> Any:
        """Runs ``work`` in a thread, polls until it is done, and returns what it did, or raises."""
        result: list[Any] = []

        def run() -> None:
            try:
                result.append((work(), None))
            except BaseException as error:
                result.append((None, error))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        poll_until(self.loop, lambda: result, 1500)
        thread.join()
        value, error = result[0]
        if error is not None:
            raise error
        return value

    def close(self) -> None:
        for one in self._open:
            one.close()
        for channel in list(self.loop.map.values()):
            channel.close()


@pytest.fixture(name="mail")
def mail_fixture(loop: Loop) -> Iterator[Mail]:
    made = Mail(loop)
    yield made
    made.close()
