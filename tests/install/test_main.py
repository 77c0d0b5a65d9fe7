# SPDX-License-Identifier: MIT
"""`python -m cyncore`: an old program finds cyncore's modules under the old names, and all else as Python sets it."""

from __future__ import annotations

import os
import platform
import shutil
import smtplib
import subprocess
import sys
import textwrap
import types
import zipfile
from pathlib import Path

import pytest

import cyncore
from cyncore.__main__ import main

# What a program can see of how it was started, one fact a line.
FACTS = """
import os, sys
main = sys.modules["__main__"]
print(sys.argv)
print(os.path.realpath(sys.path[0]) if sys.path[0] else "")
print(main.__file__)
print(__name__, main.__dict__ is globals(), main.__spec__ is None, __builtins__ is not None)
"""


def run(
    *words: object, cwd: Path | str | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs ``python -m cyncore WORDS``."""
    return python("-m", "cyncore", *words, cwd=cwd, env=env)


def python(
    *words: object, cwd: Path | str | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs Python itself, which is what `run` must look like."""
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    return write(tmp_path / "program.py", FACTS)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


# What the program finds


def test_script_imports_the_drop_in_as_asyncore(tmp_path: Path) -> None:
    script = write(tmp_path / "old.py", "import asyncore; print(asyncore.__name__, asyncore.dispatcher.__module__)")
    assert run(script).stdout == "cyncore.asyncore cyncore\n"


def test_script_imports_all_three_modules_under_their_old_names(tmp_path: Path) -> None:
    script = write(tmp_path / "old.py", "import asyncore, asynchat, smtpd; print(asynchat.__name__, smtpd.__name__)")
    assert run(script).stdout == "cyncore.asynchat cyncore.smtpd\n"


def test_script_wins_over_copies_that_start_up_files_use(tmp_path: Path) -> None:
    write(tmp_path / "start" / "asyncore.py", "class dispatcher: pass\nsocket_map = {}")
    write(tmp_path / "start" / "sitecustomize.py", "import asyncore; class_ = type('Used', (asyncore.dispatcher,), {})")
    script = write(
        tmp_path / "old.py", "import asyncore, sitecustomize; print(asyncore.__name__, sitecustomize.class_)"
    )
    path = os.pathsep.join([str(tmp_path / "start"), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = run(script, env={**os.environ, "PYTHONPATH": path})
    assert done.stdout == "cyncore.asyncore <class 'sitecustomize.Used'>\n"


def test_script_sees_argv_path_and_main_as_from_python(script: Path, tmp_path: Path) -> None:
    expected = python(script, "one", "--two", cwd=tmp_path)
    assert run(script, "one", "--two", cwd=tmp_path).stdout == expected.stdout


def test_script_named_relatively_sees_what_python_shows_it(script: Path, tmp_path: Path) -> None:
    expected = python("program.py", cwd=tmp_path)
    assert expected.returncode == 0
    assert run("program.py", cwd=tmp_path).stdout == expected.stdout


def test_code_of_a_script_named_relatively_names_its_full_path(tmp_path: Path) -> None:
    write(tmp_path / "program.py", "import inspect; print(inspect.currentframe().f_code.co_filename); 1 / 0")
    done = run("program.py", cwd=tmp_path)
    by_python = python("program.py", cwd=tmp_path)
    assert done.stdout == by_python.stdout
    assert by_python.stderr.splitlines()[1] in done.stderr


def test_script_behind_a_link_has_the_real_folder_on_the_path(script: Path, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "link.py"
    link.parent.mkdir()
    link.symlink_to(script)
    assert run(link).stdout == python(link).stdout


def test_current_folder_is_not_left_on_the_path_of_a_script(script: Path, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    write(tmp_path / "work" / "stray.py", "print('found')")
    script.write_text("import stray")
    assert "ModuleNotFoundError" in run(script, cwd=tmp_path / "work").stderr


@pytest.mark.skipif(sys.version_info < (3, 11), reason="this Python has no option -P")
def test_path_that_shall_hold_no_folder_of_the_script_does_not(script: Path, tmp_path: Path) -> None:
    write(tmp_path / "stray.py", "print('found')")
    script.write_text("import stray")
    assert "found" in run(script).stdout
    assert "ModuleNotFoundError" in python("-P", "-m", "cyncore", script).stderr


@pytest.mark.skipif(not os.path.exists("/dev/stdin"), reason="pipes have no names here")
def test_script_may_come_through_a_pipe() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cyncore", "/dev/stdin", "word"],
        input="import asyncore, sys; print(asyncore.__name__, sys.argv)",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "cyncore.asyncore ['/dev/stdin', 'word']\n"


def test_options_of_the_program_are_not_taken_for_ours(script: Path) -> None:
    assert "['-h', '-m']" in run(script, "-h", "-m").stdout.replace(f"'{script}', ", "")


def test_script_can_be_without_a_suffix(script: Path, tmp_path: Path) -> None:
    bare = script.rename(tmp_path / "program")
    assert run(bare).stdout == python(bare).stdout


def test_script_with_a_coding_line_is_read_with_it(tmp_path: Path) -> None:
    script = tmp_path / "latin.py"
    script.write_bytes(b"# -*- coding: latin-1 -*-\nprint(ascii('\xe4'))\n")
    assert run(script).stdout == "'\\xe4'\n"


def test_future_statements_of_ours_do_not_reach_the_script(tmp_path: Path) -> None:
    script = write(tmp_path / "old.py", "def f(a: int): ...\nprint(f.__annotations__['a'] is int)")
    assert run(script).stdout == "True\n"


def test_names_of_main_live_until_the_exit_handlers_ran(tmp_path: Path) -> None:
    script = write(
        tmp_path / "old.py",
        """
        import atexit
        word = "alive"
        def late():
            print(word)
        atexit.register(late)
        """,
    )
    assert run(script).stdout == "alive\n"


def test_classes_of_main_can_be_pickled(tmp_path: Path) -> None:
    script = write(
        tmp_path / "old.py",
        """
        import pickle
        class Thing: pass
        print(type(pickle.loads(pickle.dumps(Thing()))) is Thing)
        """,
    )
    assert run(script).stdout == "True\n"


def test_script_with_an_echo_runs_unchanged(tmp_path: Path) -> None:
    script = write(
        tmp_path / "echo.py",
        """
        import asyncore, socket
        class Echo(asyncore.dispatcher_with_send):
            def handle_read(self):
                self.send(self.recv(8192))
        class Server(asyncore.dispatcher):
            def __init__(self):
                asyncore.dispatcher.__init__(self)
                self.create_socket(socket.AF_INET, socket.SOCK_STREAM)
                self.set_reuse_addr()
                self.bind(("127.0.0.1", 0))
                self.listen(5)
            def handle_accepted(self, sock, addr):
                Echo(sock)
        class Client(asyncore.dispatcher):
            def __init__(self, address):
                asyncore.dispatcher.__init__(self)
                self.create_socket()
                self.connect(address)
                self.out = b"hello"
            def handle_connect(self): pass
            def writable(self):
                return bool(self.out) or not self.connected
            def handle_write(self):
                self.out = self.out[self.send(self.out):]
            def handle_read(self):
                print(self.recv(100).decode())
                raise asyncore.ExitNow
        Client(Server().socket.getsockname())
        try:
            asyncore.loop()
        except asyncore.ExitNow:
            asyncore.close_all()
        """,
    )
    done = run(script)
    assert (done.stdout, done.stderr, done.returncode) == ("hello\n", "", 0)


# -m MODULE


def test_module_is_found_from_the_current_folder(tmp_path: Path) -> None:
    write(tmp_path / "old.py", "import asyncore, sys; print(__name__, sys.argv[1:], asyncore.__name__)")
    assert run("-m", "old", "-x", cwd=tmp_path).stdout == "__main__ ['-x'] cyncore.asyncore\n"


def test_module_sees_argv_and_path_as_from_python(tmp_path: Path) -> None:
    write(tmp_path / "old.py", "import sys; print(sys.argv, sys.path[0], sys.modules['__main__'].__file__)")
    assert run("-m", "old", "a", cwd=tmp_path).stdout == python("-m", "old", "a", cwd=tmp_path).stdout


def test_package_runs_its_main_module(tmp_path: Path) -> None:
    write(tmp_path / "pack" / "__init__.py", "")
    write(tmp_path / "pack" / "__main__.py", "import asyncore; print(__package__, asyncore.__name__)")
    assert run("-m", "pack", cwd=tmp_path).stdout == "pack cyncore.asyncore\n"


@pytest.mark.parametrize("name", ["no_such_module_here", "no_such.module.here", "email.no_such_module"])
def test_missing_module_fails_and_is_named_in_one_line(name: str, tmp_path: Path) -> None:
    done = run("-m", name, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, f"cyncore: there is no module {name}\n")


def test_module_whose_package_fails_shows_the_traceback(tmp_path: Path) -> None:
    (tmp_path / "failing").mkdir()
    (tmp_path / "failing" / "__init__.py").write_text("import no_such_module_here")
    done = run("-m", "failing.program", cwd=tmp_path)
    assert done.returncode == 1
    assert "No module named 'no_such_module_here'" in done.stderr
    assert "Traceback" in done.stderr


def test_m_without_a_module_shows_the_usage() -> None:
    done = run("-m")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: ")


# Copies that the program brings along

COPY = """
socket_map = {}
class dispatcher: pass
def poll(): pass
def loop(): pass
"""
NAMES_OF_COPIES = "from package import asyncore, events; print(asyncore.__name__, events.__name__)"


def write_copies(folder: Path) -> None:
    """A package with two copies of asyncore, one of which is not called so."""
    for name, text in {"__init__": "", "asyncore": COPY, "events": COPY, "program": NAMES_OF_COPIES}.items():
        write(folder / "package" / f"{name}.py", text)


def test_copies_that_are_named_are_replaced(tmp_path: Path) -> None:
    write_copies(tmp_path)
    script = write(tmp_path / "old.py", f"import sys; print(sys.argv[1:]); {NAMES_OF_COPIES}")
    done = run("--replace", "package.asyncore", "--replace=package.events", script, "--replace", "x", cwd="/")
    assert (done.stdout, done.stderr) == ("['--replace', 'x']\ncyncore.asyncore cyncore.asyncore\n", "")


def test_copies_of_a_module_that_runs_are_replaced(tmp_path: Path) -> None:
    write_copies(tmp_path)
    copies = ["--replace", "package.asyncore", "--replace", "package.events"]
    done = run(*copies, "-m", "package.program", cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("cyncore.asyncore cyncore.asyncore\n", "")


def test_copies_in_a_folder_or_an_archive_that_runs_are_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "program"
    write_copies(folder)
    write(folder / "__main__.py", f"import sys; {NAMES_OF_COPIES}; print(len(sys.path))")
    expected = python(folder, cwd=tmp_path).stdout.splitlines()[1]
    archive = shutil.make_archive(str(tmp_path / "program"), "zip", folder)
    for program in folder, archive:
        done = run("--replace=package.asyncore", "--replace=package.events", program, cwd=tmp_path)
        assert (done.stdout, done.stderr) == (f"cyncore.asyncore cyncore.asyncore\n{expected}\n", "")


def test_copy_that_cannot_be_replaced_is_named_and_nothing_runs(tmp_path: Path) -> None:
    write_copies(tmp_path)
    done = run("--replace", "package.gone", "-m", "package.program", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "cyncore: there is no module package.gone to be replaced\n"


@pytest.mark.parametrize("words", [["--replace"], ["--replace", "package.asyncore"], ["--replacing", "x", "y"]])
def test_half_an_option_shows_the_usage_and_fails(words: list[str]) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: ")


@pytest.mark.parametrize("end", ["", "import sys; sys.exit(3)", "raise ValueError"])
def test_copies_that_stay_are_told_of_once_however_the_program_ends(tmp_path: Path, end: str) -> None:
    write_copies(tmp_path)
    script = write(tmp_path / "old.py", f"{NAMES_OF_COPIES}; import package.asyncore\n{COPY}\n{end}")
    done = run(script)
    assert done.stdout == "package.asyncore package.events\n"
    told = [line for line in done.stderr.splitlines() if "is a copy of asyncore" in line]
    assert [line.split()[0] for line in told] == ["package.asyncore", "package.events"]


def test_program_itself_and_cyncore_s_own_modules_are_no_copies(tmp_path: Path) -> None:
    write(tmp_path / "old.py", f"import cyncore.wasyncore\n{COPY}")
    for words in ["old.py"], ["-m", "old"]:
        assert run(*words, cwd=tmp_path).stderr == ""


# Our own modules under -m

SMTP_PROGRAM = """
import smtpd
class Told(smtpd.DebuggingServer):  # says where it listens
    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        print(self.socket.getsockname()[1], flush=True)
"""


@pytest.mark.parametrize("name", ["smtpd", "cyncore.smtpd"])
def test_smtpd_serves_as_a_program(tmp_path: Path, name: str) -> None:
    write(tmp_path / "mine.py", SMTP_PROGRAM)
    command = [sys.executable, "-W", "error", "-m", "cyncore", "-m", name, "-n", "-c", "mine.Told", "127.0.0.1:0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}  # what it says is read after it was terminated
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            with smtplib.SMTP("127.0.0.1", int(server.stdout.readline()), timeout=10) as client:
                client.sendmail("a@example.org", ["b@example.org"], "Subject: hello\n\nA line.\n")
        finally:
            server.terminate()
            said, errors = server.communicate(timeout=10)
    assert "Subject: hello" in said
    assert errors == ""


@pytest.mark.parametrize("name", ["smtpd", "cyncore.smtpd"])
def test_smtpd_finds_the_classes_that_it_has_itself(tmp_path: Path, name: str) -> None:
    # The loop ends at once: what is asked is only which class was found, and that it listens.
    write(
        tmp_path / "ending.py",
        """
        import cyncore, sys
        def end(*args, **more):
            print([(type(channel).__name__, channel.accepting) for channel in cyncore.socket_map.values()])
            cyncore.asyncore.close_all()
        cyncore.asyncore.loop = end
        from cyncore.__main__ import main
        sys.exit(main(sys.argv[1:]))
        """,
    )
    done = python("-W", "error", "ending.py", "-m", name, "-n", "-c", "DebuggingServer", "127.0.0.1:0", cwd=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("[('DebuggingServer', True)]\n", "", 0)


@pytest.mark.parametrize("name", ["asyncore", "asynchat"])
def test_modules_that_do_nothing_as_programs_do_it_silently(name: str) -> None:
    done = run("-m", name)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


# The command


@pytest.fixture
def command(tmp_path: Path) -> Path:
    """The command as pip makes it."""
    source = "import sys\nfrom cyncore.__main__ import command\nsys.exit(command())\n"
    return write(tmp_path / "bin" / "cyncore", source)


def test_command_that_pip_makes_is_that_one() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert '\n[project.scripts]\ncyncore = "cyncore.__main__:command"\n' in text


def test_script_finds_by_the_command_what_it_finds_by_python(script: Path, command: Path, tmp_path: Path) -> None:
    expected = python(script, "a", "--b", cwd=tmp_path)
    assert expected.returncode == 0
    done = python(command, script, "a", "--b", cwd=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == (expected.stdout, "", 0)


def test_module_is_found_from_the_current_folder_by_the_command(script: Path, command: Path, tmp_path: Path) -> None:
    done = python(command, "-m", "program", "a", cwd=tmp_path)
    assert done.stdout.splitlines()[:2] == run("-m", "program", "a", cwd=tmp_path).stdout.splitlines()[:2]
    assert (done.stdout.splitlines()[1], done.returncode) == (os.path.realpath(tmp_path), 0)


def test_command_puts_nothing_on_the_path_where_python_was_told_not_to(command: Path, tmp_path: Path) -> None:
    write(tmp_path / "program.py", "print('must not be found')")
    env = {**os.environ, "PYTHONSAFEPATH": "1"}
    if not hasattr(sys.flags, "safe_path"):
        pytest.skip("this Python has no -P")
    assert python(command, "-m", "program", cwd=tmp_path, env=env).returncode == 1


def test_command_shows_the_usage_and_fails_as_the_module_does(command: Path) -> None:
    done, expected = python(command, "--frobnicate"), run("--frobnicate")
    assert (done.returncode, done.stderr) == (expected.returncode, expected.stderr)


# Folders and archives


def test_folder_with_a_main_runs_as_from_python(tmp_path: Path) -> None:
    write(tmp_path / "program" / "__main__.py", FACTS)
    expected = python(tmp_path / "program", "a")
    assert expected.returncode == 0
    done = run(tmp_path / "program", "a", cwd=tmp_path)
    assert (done.stdout.splitlines()[:2], done.returncode) == (expected.stdout.splitlines()[:2], 0)


def test_folder_imports_its_own_modules(tmp_path: Path) -> None:
    write(tmp_path / "program" / "__main__.py", "import asyncore, beside; print(asyncore.__name__)")
    write(tmp_path / "program" / "beside.py", "")
    assert run(tmp_path / "program").stdout == "cyncore.asyncore\n"


def test_archive_with_a_main_runs_as_from_python(tmp_path: Path) -> None:
    archive = tmp_path / "program.pyz"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("__main__.py", "import asyncore, beside, sys; print(asyncore.__name__, sys.argv[1:])")
        file.writestr("beside.py", "")
    assert run(archive, "a").stdout == "cyncore.asyncore ['a']\n"


def test_folder_without_a_main_fails(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 1
    assert "__main__" in done.stderr


# Endings


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        ("", 0),
        ("sys.exit()", 0),
        ("sys.exit(3)", 3),
        ("raise SystemExit(4)", 4),
        ("sys.exit('why')", 1),
        ("os._exit(5)", 5),
    ],
)
def test_exit_code_is_the_program_s(tmp_path: Path, ending: str, status: int) -> None:
    done = run(write(tmp_path / "old.py", f"import os, sys\n{ending}\n"))
    assert done.returncode == status
    assert done.stderr.strip() == ("why" if "why" in ending else "")


@pytest.mark.parametrize("as_module", [False, True])
def test_exception_shows_its_traceback_and_fails(tmp_path: Path, as_module: bool) -> None:
    script = write(tmp_path / "old.py", "def inner():\n    raise ValueError('told')\ninner()\n")
    done = run("-m", "old", cwd=tmp_path) if as_module else run(script)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback ")
    assert f'File "{script}", line 2, in inner' in done.stderr
    assert done.stderr.endswith("ValueError: told\n")


def test_syntax_error_names_the_script(tmp_path: Path) -> None:
    script = write(tmp_path / "old.py", "def (:\n")
    done = run(script)
    assert done.returncode == 1
    assert f'File "{script}", line 1' in done.stderr


# check


def test_check_is_called_with_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []
    module = types.ModuleType("cyncore._check")
    module.main = lambda argv: called.append(argv) or 7  # type: ignore[attr-defined,func-returns-value]
    monkeypatch.setitem(sys.modules, "cyncore._check", module)
    assert main(["check", "--json", "folder"]) == 7
    assert called == [["--json", "folder"]]


def test_script_called_check_is_run_by_its_path(tmp_path: Path) -> None:
    write(tmp_path / "check", "import sys; print('a script', sys.argv)")
    assert (
        run(os.path.join(".", "check"), "a", cwd=tmp_path).stdout == f"a script ['{os.path.join('.', 'check')}', 'a']\n"
    )


def test_module_called_check_is_run_by_its_name(tmp_path: Path) -> None:
    write(tmp_path / "check.py", "print('a module')")
    assert run("-m", "check", cwd=tmp_path).stdout == "a module\n"


# How it was called


def test_without_arguments_it_shows_the_usage_and_fails() -> None:
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: python -m cyncore ")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_shows_the_usage_and_succeeds(option: str) -> None:
    done = run(option)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: python -m cyncore ")


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version_names_the_engine_the_backend_and_python(option: str) -> None:
    with cyncore.Loop() as loop:
        backend = loop.backend
    done = run(option)
    assert (done.returncode, done.stderr) == (0, "")
    engine = "compiled" if cyncore.native else "plain Python"
    versions = f"cyncore {cyncore.__version__} ({engine} engine, backend {backend}), Python {platform.python_version()}"
    assert done.stdout.splitlines()[0] == versions


def test_unknown_option_shows_the_usage_and_fails() -> None:
    done = run("--frobnicate")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: ")
    assert done.stderr.endswith("\ncyncore: there is no option --frobnicate\n")


def test_missing_script_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "gone.py"
    done = run(missing)
    assert (done.returncode, done.stdout) == (2, "")
    assert str(missing) in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="elsewhere an interrupt is no signal")
def test_interrupt_ends_the_program_as_python_does(tmp_path: Path) -> None:
    script = write(tmp_path / "old.py", "import signal; signal.raise_signal(signal.SIGINT)")
    assert run(script).returncode == python(script).returncode
