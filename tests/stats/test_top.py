# SPDX-License-Identifier: MIT
"""`python -m cyncore top`: a loop of another process, or thread, in the terminal."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from cyncore import Loop
from cyncore._stats import rich_screen, top
from cyncore._stats.look import count, seconds, size, text
from cyncore._stats.top import main

CHANNEL = {
    "fd": 7,
    "kind": "program.Echo",
    "peer": "127.0.0.1:5000",
    "state": "open",
    "paused": None,
    "in_rate": 2048.0,
    "out_rate": 0.0,
    "queued": 0,
    "age": 61.0,
    "idle": 0.0,
}
LOOK = {
    "program": "serve.py",
    "pid": 42,
    "rates": None,
    "lag": {"times": 0, "p99": 0.0},
    "stats": {
        "backend": "epoll",
        "uptime": 7.0,
        "channels": 1,
        "accepts": 20_000,
        "errors": 0,
        "lag": {"most": 0.002},
    },
    "top": [CHANNEL, {**CHANNEL, "fd": 8, "paused": "pause_reading()", "peer": "\x1b[2J", "queued": 5000}],
}


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def served() -> Iterator[str]:
    """The path of the socket of a loop that runs in another thread."""
    with Loop() as loop:
        server = loop.serve_stats(interval=0.01)
        thread = threading.Thread(target=loop.run)
        thread.start()
        yield server.address

        def end() -> None:
            server.close()
            for channel in list(loop.map.values()):
                channel.close()

        loop.call_soon_threadsafe(end)
        thread.join()


@pytest.mark.parametrize("by_number", [True, False])
def test_one_look_is_printed(served: str, by_number: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(os.getpid()) if by_number else served, "--once"]) == 0
    shown = capsys.readouterr().out
    assert f"process {os.getpid()}" in shown
    assert "events/s" in shown
    assert "Listener" in shown


def test_what_is_printed_ends_with_the_process(tmp_path: Path) -> None:
    program = "import cyncore\nloop = cyncore.Loop()\nloop.serve_stats(interval=0.01)\nprint(flush=True)\n"
    with subprocess.Popen(
        [sys.executable, "-c", program + "loop.run()"], stdout=subprocess.PIPE, env=os.environ
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with subprocess.Popen(
            [sys.executable, "-m", "cyncore", "top", str(process.pid), "--plain"], stdout=subprocess.PIPE, text=True
        ) as shown:
            assert shown.stdout is not None
            assert f"process {process.pid}" in shown.stdout.readline()
            process.kill()
            assert shown.wait() == 0


def test_a_process_without_a_socket_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["123456789"]) == 1
    assert "process 123456789 has no socket" in capsys.readouterr().err


def test_a_socket_where_nobody_listens_is_named(runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(runtime / "nothing")]) == 1
    assert f"{runtime}/nothing: No such file" in capsys.readouterr().err


def shown_by(path: str, answer: bytes, *options: str) -> int:
    """What `main` returns where a server at ``path`` answers once."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        status = main([path, *options])
        thread.join()
    return status


def test_a_server_of_another_kind_is_refused(runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown_by(str(runtime / "other"), b"220 mail \x1b[2J\r\n") == 1
    shown = capsys.readouterr().err
    assert "mail" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    "data",
    [
        *(b"{nope", b"[1]", b"null", b"{}", b"\xff\xfe", b"[" * 100_000, b"9" * 10_000),
        json.dumps({**LOOK, "top": [{}]}).encode(),
    ],
)
def test_what_is_no_look_is_an_error_in_words(runtime: Path, data: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown_by(str(runtime / "other"), b"HTTP/1.1 200 OK\r\n\r\ndata: " + data + b"\n\n", "--once") == 1
    assert "does not tell of a loop" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["\u00b2", "9" * 5000])
def test_what_only_looks_like_the_number_of_a_process_is_a_path(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([words]) == 1
    shown = capsys.readouterr().err
    assert words in shown
    assert "None" not in shown


def test_letters_that_the_output_has_not_are_replaced(served: str) -> None:
    program = (
        "import sys, cyncore._stats.look as look\n"
        "look.title = lambda found: '\u6f22'\n"
        "from cyncore._stats.top import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, served, "--once"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"?")


def test_a_terminal_that_draws_nothing_is_given_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert top._rich_screen() is None
    top.plain_screen(iter([LOOK]), None)
    assert "\x1b" not in capsys.readouterr().out


def test_text_has_a_line_for_each_channel_and_no_command_for_the_terminal() -> None:
    wide, narrow = text(LOOK, 110, 5).splitlines(), text(LOOK, 60, 1).splitlines()
    assert wide[0] == "serve.py  process 42, epoll, up 7 s"
    assert "accepted 20k" in wide[1]
    assert wide[-2].split() == ["7", "Echo", "127.0.0.1:5000", "open", "2.0", "KiB", "0", "B", "-", "61", "s", "-"]
    assert "?[2J" in wide[-1]
    assert "paused" in wide[-1]
    assert narrow[-1].startswith("     7")
    assert max(map(len, narrow)) <= 60


def test_plain_screen_prints_each_look(capsys: pytest.CaptureFixture[str]) -> None:
    top.plain_screen(iter([LOOK, LOOK]), None)
    assert capsys.readouterr().out.count("process 42") == 2


def test_rich_draws_the_same() -> None:
    out = io.StringIO()
    Console(file=out, width=110).print(rich_screen.drawn(LOOK, 110, 5))
    assert "Echo" in out.getvalue()
    assert "127.0.0.1:5000" in out.getvalue()
    assert "\x1b[2J" not in out.getvalue()


def test_rich_screen_shows_look_after_look(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setenv("TERM", "xterm")  # on a dumb one nothing is drawn anew
    monkeypatch.setattr(rich_screen, "Console", lambda: Console(file=out, width=100, height=20, force_terminal=True))
    rich_screen.screen(iter([LOOK]), None)
    assert "Echo" in out.getvalue()


def test_without_rich_there_is_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setitem(sys.modules, "cyncore._stats.rich_screen", None)
    assert top._rich_screen() is None


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (count(None), "-"),
        *(
            (count(3), "3"),
            (count(3.25), "3.2"),
            (count(123.4), "123"),
            (count(12_345), "12k"),
            (count(3e13), "30000G"),
        ),
        *((size(None), "-"), (size(10), "10 B"), (size(1536), "1.5 KiB"), (size(3e15), "2728 TiB")),
        *((seconds(None), "-"), (seconds(2e-5), "20 us"), (seconds(0.25), "250 ms"), (seconds(90), "90 s")),
        *((seconds(600), "10 min"), (seconds(10_000), "3 h")),
    ],
)
def test_figures_are_short(shown: str, words: str) -> None:
    assert shown == words
