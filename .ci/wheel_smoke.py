# SPDX-License-Identifier: MIT
"""Does the installed wheel work? It is native, 1,000 connections get their echoes, a mail arrives, TLS is spoken.

Run by a Python that has nothing but cyncore installed: python .ci/wheel_smoke.py
TLS needs an interpreter with the module ssl; where it has none, the last line says so. It is spoken with a cipher
that needs no certificate, so that nothing has to be made or read.
"""

import resource
import smtplib
import socket
import threading

import cyncore
from cyncore import Stream, dispatcher, smtpd
from cyncore._native import loop as compiled

try:
    import ssl
except ImportError:
    ssl = None

CONNECTIONS = 1000
MESSAGE = b"smoke"


class Echo(dispatcher):
    def handle_read(self):
        data = self.recv(4096)
        if data:
            self.send(data)

    def handle_close(self):
        self.close()


class Server(dispatcher):
    def __init__(self, map):
        super().__init__(map=map)
        self._channels = map
        self.create_socket(socket.AF_INET, socket.SOCK_STREAM)
        self.bind(("127.0.0.1", 0))
        self.listen(1024)

    def handle_accepted(self, sock, addr):
        Echo(sock, self._channels)


def poll_until(loop, done, what):
    deadline = loop.time() + 30
    while not done():
        loop.poll(0.1)
        if loop.time() > deadline:
            raise SystemExit(f"wheel smoke: gave up waiting for {what}")


class Mailbox(smtpd.SMTPServer):
    mails: list

    def process_message(self, peer, mailfrom, rcpttos, data, **kwargs):
        self.mails.append((mailfrom, rcpttos, data))


class Back(Stream):
    ended: list

    def handle_data(self, data):
        self.write(data)

    def handle_close(self, error):
        self.ended.append(error)


def beside(loop, client, *arguments):
    """What the client returns, which runs in a thread while the loop serves it."""
    got = []

    def run():
        try:
            got.append((client(*arguments), None))
        except BaseException as error:
            got.append((None, error))

    thread = threading.Thread(target=run)
    thread.start()
    poll_until(loop, lambda: got, client.__name__)
    thread.join()
    ((answer, error),) = got
    if error is not None:
        raise error
    return answer


def send_mail(address):
    with smtplib.SMTP(*address, timeout=30) as client:
        client.sendmail("from@example.org", ["to@example.org"], "Subject: smoke\r\n\r\nit works\r\n")


def mail():
    channels = {}
    with cyncore.Loop(channels) as loop:
        server = Mailbox(("127.0.0.1", 0), None, map=channels)
        server.mails = []
        beside(loop, send_mail, server.socket.getsockname())
        ((sender, recipients, data),) = server.mails
        assert (sender, recipients) == ("from@example.org", ["to@example.org"]), (sender, recipients)
        assert data.endswith(b"it works"), data
        server.close()


def anonymous(protocol):
    """A context whose key exchange needs no certificate, which only TLS before 1.3 has."""
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AECDH-AES256-SHA:@SECLEVEL=0")
    return context


def speak_tls(address):
    context = anonymous(ssl.PROTOCOL_TLS_CLIENT)
    with socket.create_connection(address, timeout=30) as plain, context.wrap_socket(plain) as client:
        client.sendall(MESSAGE)
        got = b""
        while len(got) < len(MESSAGE):
            more = client.recv(64)
            assert more, "the connection ended before the echo"
            got += more
        return got


def tls():
    Back.ended = []
    with cyncore.Loop() as loop:
        server = loop.listen(("127.0.0.1", 0), Back, tls=anonymous(ssl.PROTOCOL_TLS_SERVER))
        got = beside(loop, speak_tls, server.address)
        assert got == MESSAGE, got
        poll_until(loop, lambda: Back.ended, "the TLS connection to close")
        server.close()


def echoes():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = 2 * CONNECTIONS + 64
    if soft < need:
        resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))
    assert cyncore.native, "the compiled engine is not in use"
    assert compiled.__file__.endswith((".so", ".pyd")), compiled.__file__

    channels = {}
    loop = cyncore.Loop(channels)
    server = Server(channels)
    clients = []
    for _ in range(CONNECTIONS):
        client = socket.create_connection(server.socket.getsockname(), timeout=30)
        clients.append(client)
        loop.poll(0)
    poll_until(loop, lambda: len(channels) == CONNECTIONS + 1, "the connections to be accepted")

    for client in clients:
        client.sendall(MESSAGE)
    waiting = dict.fromkeys(clients, b"")

    def all_answered():
        for client, got in list(waiting.items()):
            client.setblocking(False)
            try:
                waiting[client] = got = got + client.recv(64)
            except BlockingIOError:
                continue
            if got == MESSAGE:
                del waiting[client]
            assert MESSAGE.startswith(got), got
        return not waiting

    poll_until(loop, all_answered, "the echoes")
    for client in clients:
        client.close()
    poll_until(loop, lambda: len(channels) == 1, "the connections to close")
    server.close()
    assert not channels, channels
    loop.close()
    return loop.backend


def main():
    backend = echoes()
    mail()
    if ssl is not None:
        tls()
    spoken = "TLS was spoken" if ssl is not None else "this Python has no TLS"
    print(
        f"wheel smoke: cyncore {cyncore.__version__} ({backend}) echoed over {CONNECTIONS} connections, "
        f"a mail arrived, {spoken}"
    )


if __name__ == "__main__":
    main()
