# SPDX-License-Identifier: MIT
"""Parts of files in the output of a stream."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from cyncore import Loop
from tests.support.loops import every_backend
from tests.support.peers import Peers, poll_until
from tests.support.streams import connected, receive


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 20_000)  # 5 MB: more than a socket takes at once
    return path


@every_backend
def test_a_file_leaves_in_its_place_between_writes(loop: Loop, peers: Peers, file: Path) -> None:
    stream, theirs = connected(peers, loop)
    stream.write(b"head")
    with file.open("rb") as opened:
        stream.sendfile(opened)
    stream.write(b"tail")
    assert stream.output_size <= 8  # the file does not count
    whole = b"head" + file.read_bytes() + b"tail"
    assert receive(loop, theirs, len(whole)) == whole
    stream.abort()


@pytest.mark.parametrize(
    ("offset", "count"), [(0, 10), (100, None), (7, 300_000), (5_120_000, None), (9_000_000, None)]
)
def test_a_part_of_a_file_may_be_sent(loop: Loop, peers: Peers, file: Path, offset: int, count: Any) -> None:
    stream, theirs = connected(peers, loop)
    fd = os.open(file, os.O_RDONLY)
    stream.sendfile(fd, offset, count)
    os.close(fd)
    stream.close()
    wanted = file.read_bytes()[offset:] if count is None else file.read_bytes()[offset : offset + count]
    assert receive(loop, theirs, len(wanted) + 1) == wanted


def test_what_the_kernel_cannot_send_is_copied(
    loop: Loop, peers: Peers, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sendfile", raising=False)
    stream, theirs = connected(peers, loop)
    with file.open("rb") as opened:
        stream.sendfile(opened)
    stream.close()
    assert receive(loop, theirs, 6_000_000) == file.read_bytes()


def test_a_file_that_becomes_shorter_ends_the_stream(loop: Loop, peers: Peers, file: Path) -> None:
    stream, theirs = connected(peers, loop)
    with file.open("rb") as opened:
        stream.sendfile(opened)
    loop.poll(0)
    os.truncate(file, 0)
    receive(loop, theirs, 6_000_000)
    poll_until(loop, lambda: stream.is_over)
    assert "shorter" in str(stream.seen[-1])


def test_an_aborted_stream_gives_the_descriptor_back(loop: Loop, peers: Peers, file: Path) -> None:
    stream, _ = connected(peers, loop)
    with file.open("rb") as opened:
        stream.sendfile(opened)
        stream.sendfile(opened)
    stream.abort()  # conftest looks for descriptors that are left


def test_a_file_for_a_closed_stream_is_dropped(loop: Loop, peers: Peers, file: Path) -> None:
    stream, _ = connected(peers, loop)
    stream.abort()
    with file.open("rb") as opened:
        stream.sendfile(opened)
    assert stream.output_size == 0


def test_what_is_no_regular_file_is_refused(loop: Loop, peers: Peers, file: Path) -> None:
    stream, theirs = connected(peers, loop)
    with pytest.raises(ValueError, match="regular"):
        stream.sendfile(theirs)
    with file.open("rb") as opened, pytest.raises(ValueError, match="below zero"):
        stream.sendfile(opened, -1)
    stream.abort()
