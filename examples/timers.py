# SPDX-License-Identifier: MIT
"""What the old asyncore could not do: timers, and work for the loop from another thread.

python examples/timers.py
"""

import socket
import threading

from cyncore import Loop, dispatcher


class Impatient(dispatcher):
    """Says goodbye to a peer that is silent for too long."""

    def __init__(self, sock: socket.socket, loop: Loop, patience: float) -> None:
        super().__init__(sock, loop.map)
        self.loop = loop
        self.patience = patience
        self.timer = loop.call_later(patience, self.give_up)

    def handle_read(self) -> None:
        data = self.recv(4096)
        if data:
            print("received", data.decode(), flush=True)
            self.timer.cancel()
            self.timer = self.loop.call_later(self.patience, self.give_up)

    def give_up(self) -> None:
        print(f"silent for {self.patience} s: closed", flush=True)
        self.close()

    def handle_close(self) -> None:
        self.timer.cancel()
        self.close()


def compute(loop: Loop) -> None:
    """Runs in a thread: its result is handed to the loop's thread, which wakes up for it."""
    total = sum(range(1_000_000))
    loop.call_soon_threadsafe(print, "a thread computed", total)


def main() -> None:
    ours, theirs = socket.socketpair()
    with theirs, Loop() as loop:
        Impatient(ours, loop, patience=1.0)
        loop.call_later(0.1, theirs.send, b"hello")
        loop.call_later(0.2, print, "0.2 s have passed")
        never = loop.call_later(0.25, print, "this is never printed")
        never.cancel()
        thread = threading.Thread(target=compute, args=(loop,))
        thread.start()
        loop.run()  # ends by itself: no channel, no timer and no call is left
        thread.join()
    print("done", flush=True)


if __name__ == "__main__":
    main()
