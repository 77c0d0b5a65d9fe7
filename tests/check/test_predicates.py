# SPDX-License-Identifier: MIT
"""What ``python -m cyncore check`` says of ``readable`` and ``writable``, whatever they are made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.check import told

CODES = ("CYN101", "CYN102", "CYN103")
WRITES = "def handle_write(self): self.send(b'x')\n"


@pytest.mark.parametrize(
    "body",
    [
        "def readable(self): return False",
        "def readable(self): pass",
        "def readable(self): return",
        "def readable(self):\n    self.log_info('asked')\n    return False",
        "def readable(self):\n    log_debug('asked')\n    return False",
        "def readable(self):\n    print('asked')\n    return False",
        "def readable(self):\n    pass\n    return 0",
        "def readable(self):\n    'asked'\n    'again'\n    return False",
        "readable = lambda self: False",
    ],
)
def test_constant_answer_is_found_behind_what_changes_nothing(body: str, tmp_path: Path) -> None:
    (one,) = told(tmp_path, *CODES, body=body)
    assert one.startswith("CYN102 C.readable() always says False, and has to be asked for it; remove it")


def test_channel_that_reads_and_is_not_readable_is_told_of_pausing(tmp_path: Path) -> None:
    (one,) = told(tmp_path, *CODES, body="def readable(self): return False\ndef handle_read(self): self.recv(1)")
    assert one.endswith("call pause_reading() once it is in the map")


def test_writable_that_says_no_beside_a_write_handler_costs_both(tmp_path: Path) -> None:
    (one,) = told(tmp_path, *CODES, body=WRITES + "def writable(self): return False")
    assert one.endswith("so that the class's handle_write() is called only for a connect; remove both")


def test_writable_that_always_says_yes_is_no_finding_of_its_own(tmp_path: Path) -> None:
    assert told(tmp_path, *CODES, body=WRITES + "def writable(self): return True") == []


@pytest.mark.parametrize("call", ["super().readable()", "asyncore.dispatcher.readable(self)"])
def test_predicate_that_passes_the_question_on_is_found(call: str, tmp_path: Path) -> None:
    (one,) = told(tmp_path, *CODES, body=f"def readable(self): return {call}")
    assert one == "CYN102 C.readable() only passes the question on, and has to be asked for it; remove it"


@pytest.mark.parametrize("call", ["ready()", "self.ready()", "other.readable()"])
def test_predicate_that_asks_something_else_is_logic(call: str, tmp_path: Path) -> None:
    (one,) = told(tmp_path, *CODES, body=f"def readable(self): return {call}")
    assert one.startswith("CYN101 C.readable() is asked after each")


def test_predicate_that_calls_for_an_effect_does_work(tmp_path: Path) -> None:
    (one,) = told(tmp_path, *CODES, body="def readable(self):\n    self.server.tidy()\n    return self.open")
    assert one.startswith("CYN103 C.readable() does work")


def test_writable_that_nobody_writes_for_counts_for_nothing(tmp_path: Path) -> None:
    (one,) = told(tmp_path, *CODES, body="def writable(self): return self.waits")
    assert one.endswith("because the class handles no write event; remove it")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("bool(len(self.pending))", ": whether self.pending is empty"),
        ("len(self.pending) > 0", ": whether self.pending is empty"),
        ("self.buffer != b''", ": whether self.buffer is empty"),
        ("len(pending) > 0", ""),
        ("self.waits", ""),
    ],
)
def test_buffer_that_is_the_whole_answer_is_named(answer: str, said: str, tmp_path: Path) -> None:
    (one,) = told(tmp_path, *CODES, body=WRITES + f"def writable(self): return {answer}")
    assert one.split("; ")[0].endswith(f"again when others have had theirs{said}")


def test_datagrams_are_told_to_be_sent_at_once(tmp_path: Path) -> None:
    body = WRITES + "def open(self): self.create_socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
    (one,) = told(tmp_path, *CODES, body=body + "def writable(self): return len(self.waiting) > 0")
    assert "sendto() at once" in one


def test_assigned_predicate_that_is_no_function_is_left_alone(tmp_path: Path) -> None:
    assert told(tmp_path, *CODES, body="readable = something") == []
