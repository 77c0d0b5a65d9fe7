"""Pipes: channels of files, which have two descriptors for one conversation."""

from __future__ import annotations

import os

from benchmarks.workers.old_programs.modules import asyncore
from benchmarks.workers.old_programs.program import MESSAGE, Conversation, Program, loop


class PipeIn(asyncore.file_dispatcher):
    out: PipeOut

    def writable(self) -> bool:
        return False

    def handle_read(self) -> None:
        self.out.buffer += self.recv(len(MESSAGE))

    def handle_close(self) -> None:
        raise asyncore.ExitNow


class PipeOut(asyncore.file_dispatcher):
    program: Program
    buffer = b""

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return bool(self.buffer)

    def handle_write(self) -> None:
        sent = self.send(self.buffer)
        self.buffer = self.buffer[sent:]
        self.program.served(0)

    def handle_close(self) -> None:
        raise asyncore.ExitNow


def pipes() -> Program:
    program = Program(loop)
    (read, asked), (answered, write) = os.pipe(), os.pipe()
    source, sink = PipeIn(read), PipeOut(write)
    source.out, sink.program = sink, program
    for duplicated in (read, write):
        os.close(duplicated)
    program.conversations.append(Conversation(asked, answered))
    program.closers += [source.close, sink.close, lambda: os.close(asked), lambda: os.close(answered)]
    return program
