# SPDX-License-Identifier: MIT
"""``python -m cyncore check`` as a command: which files it looks at, what it prints, how it ends."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cyncore._check import check, main
from cyncore._check.source import Unread, read
from tests.support.script import ENGINE_FOLDER

SPINS = """\
import asyncore

class Client(asyncore.dispatcher):
    def handle_write(self):
        self.send(b"x")
"""
QUIET = "import cyncore\n"


def write(folder: Path, **files: str) -> str:
    """Writes ``name=source`` as files; two underscores in a name stand for a folder."""
    for name, source in files.items():
        path = folder.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return str(folder)


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, list[str]]:
    status = main(list(argv))
    return status, capsys.readouterr().out.splitlines()


def codes(lines: list[str]) -> list[str]:
    return [line.split()[1] for line in lines]


# How it ends


def test_no_findings_end_with_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, write(tmp_path, main=QUIET)) == (0, [])


def test_findings_end_with_1_and_a_line_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, lines = run(capsys, write(tmp_path, main=SPINS))
    assert status == 1
    assert [re.match(r".*main\.py:4: CYN204 [^;]+; .+", line) is not None for line in lines] == [True]


@pytest.mark.parametrize(
    "argv", [[], ["--no-such-option", "."], ["no/such/folder"], ["--select", "CYN9", "."], ["--ignore", "x", "."]]
)
def test_wrong_arguments_end_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    assert "usage" in capsys.readouterr().err


def test_help_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    status, lines = run(capsys, "--help")
    assert (status, lines[0].split()[:2]) == (0, ["usage:", "python"])


def test_summary_goes_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([write(tmp_path, main=SPINS)])
    assert (
        capsys.readouterr().err
        == "cyncore check: 1 finding (1 fragile) in 1 file; 1 note not shown, --all shows them\n"
    )


def test_rules_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    status, lines = run(capsys, "--rules")
    assert (status, lines[0].split()[0]) == (0, "CYN001")


def test_reader_that_has_seen_enough_ends_it_in_silence(tmp_path: Path) -> None:
    script = f"import sys; from cyncore._check import main; sys.exit(main([{write(tmp_path, main=SPINS)!r}]))"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": ENGINE_FOLDER},
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=30,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, b"Traceback" in done.stderr) == (1, False)


# What is chosen


def test_notes_are_shown_on_request_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path, main="import asyncore\n")
    assert run(capsys, folder) == (0, [])
    assert codes(run(capsys, "--all", folder)[1]) == ["CYN301"]


def test_select_takes_beginnings_of_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path, main=SPINS)
    assert codes(run(capsys, "--select", "cyn2, CYN301", folder)[1]) == ["CYN301", "CYN204"]
    assert run(capsys, "--select", "CYN1", folder) == (0, [])


def test_ignored_codes_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--ignore", "CYN204", write(tmp_path, main=SPINS)) == (0, [])


@pytest.mark.parametrize("comment", ["# cyncore: ignore", "# cyncore: ignore[CYN101,CYN204]"])
def test_comment_silences_its_line(comment: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = SPINS.replace("handle_write(self):", f"handle_write(self):  {comment}")
    assert run(capsys, write(tmp_path, main=source)) == (0, [])


def test_comment_for_another_rule_silences_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = SPINS.replace("handle_write(self):", "handle_write(self):  # cyncore: ignore[CYN101]")
    assert codes(run(capsys, write(tmp_path, main=source))[1]) == ["CYN204"]


def test_comment_is_found_behind_a_form_feed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = "import os\n\f\n" + SPINS.replace("handle_write(self):", "handle_write(self):  # cyncore: ignore")
    assert run(capsys, write(tmp_path, main=source)) == (0, [])


# JSON


def test_json_has_its_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", write(tmp_path, main=SPINS)]) == 1
    told = json.loads(capsys.readouterr().out)
    assert sorted(told) == ["counts", "files", "findings", "hidden_notes", "schema"]
    assert told["counts"] == {"unread": 0, "slow": 0, "fragile": 1, "note": 0}
    assert (told["schema"], told["files"], told["hidden_notes"]) == (1, 1, 1)
    (finding,) = told["findings"]
    assert sorted(finding) == ["code", "column", "line", "message", "path", "remedy", "severity", "title"]
    assert (finding["code"], finding["line"], finding["column"], finding["severity"]) == ("CYN204", 4, 5, "fragile")


def test_json_without_findings_is_an_object_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", write(tmp_path, main=QUIET)]) == 0
    assert json.loads(capsys.readouterr().out)["findings"] == []


# Which files


@pytest.mark.parametrize("folder", [".git", ".venv", "build", "dist", "__pycache__", "node_modules", "x.egg-info"])
def test_folders_that_are_no_program_are_skipped(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "main.py").write_text(SPINS, encoding="utf-8")
    assert run(capsys, str(tmp_path)) == (0, [])


def test_virtual_environment_of_any_name_is_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, python__main=SPINS)
    (tmp_path / "python" / "pyvenv.cfg").touch()
    assert run(capsys, str(tmp_path)) == (0, [])


def test_package_called_build_is_not_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "__init__.py").write_text(SPINS, encoding="utf-8")
    assert codes(run(capsys, str(tmp_path))[1]) == ["CYN204"]


def test_skipped_folder_is_looked_at_where_it_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, build__main=SPINS)
    assert codes(run(capsys, str(tmp_path / "build"))[1]) == ["CYN204"]


def test_script_without_an_ending_is_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "serve").write_text("#!/usr/bin/env python3\n" + SPINS, encoding="utf-8")
    (tmp_path / "other").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    assert codes(run(capsys, str(tmp_path))[1]) == ["CYN204"]


def test_file_named_twice_is_looked_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path, main=SPINS)
    assert len(run(capsys, folder, str(tmp_path / "main.py"))[1]) == 1


def test_nothing_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mark = tmp_path / "was_run"
    source = f"import asyncore\nopen({str(mark)!r}, 'w').close()\nraise SystemExit(9)\n"
    run(capsys, write(tmp_path, main=source, __init__=source))
    assert not mark.exists()


# Files that give nothing


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("another Python", b"print 'x'\n"),
        ("a wrong encoding", b"# -*- coding: utf-8 -*-\nx = '\xff'\n"),
        ("an unknown encoding", b"# -*- coding: no-such -*-\n"),
        ("null bytes", b"x = 1\0\n"),
        ("parentheses without end", b"(" * 100_000),
        ("deep parentheses", b"(" * 5000 + b")" * 5000),
        ("a long sum", b"x = " + b"+".join([b"1"] * 100_000)),
        ("long negation", b"x = " + b"-" * 100_000 + b"1"),
        ("a chain of attributes", b"x = a" + b".a" * 20_000),
        ("bad indentation", b"if 1:\n\tx = 1\n        y = 2\n"),
    ],
)
def test_file_that_cannot_be_parsed_is_a_finding(
    name: str, data: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.py").write_bytes(data)
    write(tmp_path, main=SPINS)
    status, lines = run(capsys, str(tmp_path))
    assert status == 1
    # What one Python cannot parse another may: then it is not worth a word.
    assert [code for code in codes(lines) if code != "CYN002"] == ["CYN204"]
    if name not in ("a long sum", "long negation", "deep parentheses", "a chain of attributes"):
        assert codes(lines) == ["CYN002", "CYN204"]


@pytest.mark.parametrize("data", [b"", b"\n", b"\xef\xbb\xbfimport asyncore\r\n", b"x = '\\d'\n", b"\f\n#\n"])
def test_odd_but_good_files_have_no_findings(data: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "odd.py").write_bytes(data)
    assert run(capsys, str(tmp_path)) == (0, [])


def test_tree_that_some_pythons_do_not_parse_is_no_obstacle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, lines = run(capsys, write(tmp_path, deep="import asyncore\nx = self" + ".a" * 4000, main=SPINS))
    assert status == 1
    assert codes(lines) in (["CYN002", "CYN204"], ["CYN204"])


@pytest.mark.parametrize(
    "deep",
    [
        "import asyncore\nclass C(asyncore.dispatcher" + "[1]" * 1500 + "): pass",
        "import asyncore\nclass C(asyncore.dispatcher):\n    def hi(self): self.send('a'" + "+'a'" * 1500 + ")",
    ],
    ids=["to be read", "to be checked"],
)
def test_tree_that_is_too_deep_is_a_finding_and_no_obstacle(
    deep: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, lines = run(capsys, write(tmp_path, deep=deep, main=SPINS))
    assert (status, codes(lines)[-1]) == (1, "CYN204")
    if sys.implementation.name == "cpython":  # PyPy goes deeper
        assert codes(lines) == ["CYN002", "CYN204"]


def test_named_pipe_is_not_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    assert codes(run(capsys, str(tmp_path))[1]) == ["CYN001"]


def test_socket_in_the_folder_is_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s.py"))
        assert codes(run(capsys, str(tmp_path))[1]) == ["CYN001"]


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("nowhere", path)], ids=["a pipe", "a link"])
def test_what_has_no_ending_and_is_no_file_is_no_script(
    make: Callable[[str], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(str(tmp_path / "script"))
    assert run(capsys, str(tmp_path)) == (0, [])


def test_folder_in_the_place_of_a_file_is_no_plain_file(tmp_path: Path) -> None:
    with pytest.raises(Unread, match="not a plain file"):
        read(str(tmp_path))


def test_link_to_nowhere_is_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "main.py").symlink_to(tmp_path / "gone.py")
    assert codes(run(capsys, str(tmp_path))[1]) == ["CYN001"]


def test_folders_that_link_to_each_other_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "again").symlink_to(tmp_path)
    assert len(run(capsys, write(tmp_path, main=SPINS))[1]) == 1


def test_huge_file_is_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open(tmp_path / "data.py", "wb") as file:
        file.truncate(17 * 1024 * 1024)
    assert codes(run(capsys, str(tmp_path))[1]) == ["CYN001"]


def test_name_that_is_no_text_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"\xff.py")
    with open(path, "wb") as file:
        file.write(SPINS.encode())
    assert codes(run(capsys, str(tmp_path))[1]) == ["CYN204"]
    assert main(["--json", str(tmp_path)]) == 1
    assert len(json.loads(capsys.readouterr().out)["findings"]) == 1


def test_file_below_a_folder_that_is_named_too_is_looked_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, sub__main=SPINS)
    assert len(run(capsys, str(tmp_path), str(tmp_path / "sub"))[1]) == 1


def test_chain_of_branches_of_any_length_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chain = "def f(x):\n if x < 0: return 0\n" + "".join(f" elif x == {n}: return {n}\n" for n in range(1500))
    status, lines = run(capsys, write(tmp_path, made=chain, main=SPINS))
    assert status == 1
    assert "CYN204" in codes(lines)


def test_number_beyond_a_float_is_no_obstacle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = f"import asyncore\nwhile True: asyncore.loop(timeout=0x{'f' * 400}, count=1)\n"
    assert run(capsys, write(tmp_path, main=source))[0] == 0


def test_buffered_class_that_never_wants_to_write_is_told_what_it_loses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = "import asyncore\nclass A(asyncore.dispatcher_with_send):\n def writable(self): return False\n"
    lines = run(capsys, write(tmp_path, main=source))[1]
    assert codes(lines) == ["CYN102"]
    assert "never leaves" in lines[0]


def test_server_that_is_made_with_decoded_data_elsewhere_needs_no_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = "import smtpd\nclass A(smtpd.SMTPServer):\n def process_message(self, a, b, c, d): pass\n"
    main_ = "from server import A\nA(('', 0), None, decode_data=True)\n"
    assert run(capsys, write(tmp_path, server=server, main=main_)) == (0, [])


# TLS


TLS = """\
import ssl, asyncore

class Client(asyncore.dispatcher):
    def begin(self, context):
        {body}
"""


def found(folder: Path, body: str) -> list[tuple[str, str]]:
    write(folder, main=TLS.format(body=body))
    return [(one.code, one.message) for one in check([str(folder)]).findings if one.code in ("CYN202", "CYN203")]


@pytest.mark.parametrize(
    ("arguments", "at_once"),
    [
        ("self.socket", True),
        ("self.socket, server_side=True", True),
        ("self.socket, do_handshake_on_connect=True", True),
        ("self.socket, do_handshake_on_connect=False", False),
        ("self.socket, True, False", False),
        ("self.socket, do_handshake_on_connect=context.waits", False),
        ("self.socket, **options", False),
        ("*given", False),
    ],
)
def test_handshake_that_is_made_at_once_is_told(tmp_path: Path, arguments: str, at_once: bool) -> None:
    for call in ("context.wrap_socket", "ssl.SSLContext().wrap_socket"):
        ((code, message),) = found(tmp_path, f"self.socket = {call}({arguments})")
        assert (code, "shakes hands at once" in message) == ("CYN202", at_once)


@pytest.mark.parametrize(
    ("body", "codes"),
    [
        ("self.socket.setblocking(True); self.socket.do_handshake(); self.socket.setblocking(False)", ["CYN203"]),
        ("self.socket.settimeout(10); self.socket.do_handshake()", ["CYN203"]),
        ("self.socket.settimeout(None); self.socket.do_handshake()", ["CYN203"]),
        ("self.socket.setblocking(0); self.socket.do_handshake()", []),
        ("self.socket.settimeout(0); self.socket.do_handshake()", []),
        ("self.socket.do_handshake()", []),
        ("while self.socket.do_handshake(): pass", ["CYN203"]),
    ],
)
def test_handshake_that_waits_is_told(tmp_path: Path, body: str, codes: list[str]) -> None:
    assert [code for code, _ in found(tmp_path, body)] == codes
