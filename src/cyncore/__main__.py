# SPDX-License-Identifier: MIT
"""``python -m cyncore SCRIPT [ARG...]`` and ``python -m cyncore -m MODULE [ARG...]``: an old program on cyncore's loop.

The command ``cyncore`` is the same.

The program finds cyncore's modules under the names ``asyncore``, ``asynchat`` and ``smtpd``, and under those of the
copies that ``--replace`` names or cyncore knows. Everything else (``sys.argv``, ``sys.path[0]``, ``__main__``) is as if
Python itself had started the program.
"""

from __future__ import annotations

import builtins
import importlib.util
import io
import os
import platform
import runpy
import sys
import types
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

from . import InstallError, Loop, __version__, install, native
from ._install.copies import report_all

USAGE = """\
usage: python -m cyncore [--replace MODULE]... (SCRIPT | -m MODULE) [ARG...]
       python -m cyncore check [OPTION...] PATH...
       python -m cyncore top [OPTION...] PID|SOCKET
       python -m cyncore --version

Runs a program that was written for asyncore, asynchat or smtpd, which finds cyncore's modules under these names.

--replace MODULE   replace a copy of one of the three that the program brings along, such as package.asyncore;
                   that of waitress is replaced without being named
check              list what in a program will be slow or is fragile, without running it; see check --help
top                show what a loop of another process does; see top --help
-V, --version      print the versions, the engine and the backend"""


def run_module(name: str, args: list[str], copies: list[str]) -> None:
    """Runs ``name`` as ``python -m`` does: found from the current folder first, ``sys.argv[0]`` its file."""
    replace(copies)
    sys.argv = [name, *args]  # runpy puts the file's name in place of the first
    if not _is_there(name):
        print(f"cyncore: there is no module {name}", file=sys.stderr)
        sys.exit(1)  # as Python does
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def _is_there(name: str) -> bool:
    """Can the module be found? Where a package of it fails, runpy says so, with the traceback."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError as error:
        return not f"{name}.".startswith(f"{error.name}.")
    except Exception:
        return True


def run_script(path: str, args: list[str], copies: list[str]) -> None:
    """Runs a file, or a folder or archive with a ``__main__`` in it, as ``python PATH`` does."""
    sys.argv = [path, *args]
    if os.path.isfile(path):
        from_source = not zipfile.is_zipfile(path) and not path.endswith(".pyc")
    else:
        from_source = not os.path.isdir(path)  # a pipe, or a terminal, which can be read only once
    if not _safe_path():
        # `-m` has put the current folder first. A script has its own folder there; runpy puts a folder or an archive.
        sys.path[:1] = [os.path.dirname(os.path.realpath(path))] if from_source else []
    if not from_source:
        with _first_on_path(path):  # as runpy will have it
            replace(copies)
        runpy.run_path(path, run_name="__main__")
        return
    replace(copies)
    full_path = os.path.abspath(path)  # what Python calls it, in tracebacks too: the program may change its folder
    with io.open_code(path) as file:
        code = compile(file.read(), full_path, "exec", dont_inherit=True)
    # A module that stays: the one that runpy makes would be gone before the program's exit handlers run.
    program = types.ModuleType("__main__")
    program.__dict__.update(__file__=full_path, __builtins__=builtins, __cached__=None)
    sys.modules["__main__"] = program
    exec(code, program.__dict__)


def replace(copies: list[str]) -> None:
    """Replaces the ``copies`` by cyncore's modules. SystemExit with 2 where one cannot be replaced."""
    try:
        install(replace=True, replace_copies=copies)
    except InstallError as error:
        print(f"cyncore: {error}", file=sys.stderr)
        sys.exit(2)


@contextmanager
def _first_on_path(path: str) -> Iterator[None]:
    sys.path.insert(0, path)
    try:
        yield
    finally:
        sys.path.remove(path)


def _safe_path() -> bool:
    """Was Python told (-P, -I) to put no folder of the program's on the path?"""
    return bool(sys.flags.isolated or getattr(sys.flags, "safe_path", False))


def show_version() -> None:
    """Prints the versions and the engine, and which modules an import finds in place of those of cyncore-shim."""
    with Loop() as loop:
        engine = "compiled" if native else "plain Python"
        print(f"cyncore {__version__} ({engine} engine, backend {loop.backend}), Python {platform.python_version()}")
    from ._install.provider import hidden_shims

    # `-m` has put the current folder first, where a program that is started otherwise does not have it.
    for line in hidden_shims(sys.path if _safe_path() else sys.path[1:]):
        print(line)


def command() -> int:
    """The command ``cyncore``, which pip installs: does what ``python -m cyncore`` does with the same words."""
    if not _safe_path():
        sys.path[0] = os.getcwd()  # where `-m` has it; a script has its own folder there, that of all commands
    return main(sys.argv[1:])


def main(argv: list[str]) -> int:
    """Runs the program that ``argv`` names. Returns 2 where it names none."""
    if argv[:1] in (["-h"], ["--help"]):
        print(USAGE)
        return 0
    if argv[:1] in (["-V"], ["--version"]):
        show_version()
        return 0
    if argv[:1] == ["check"]:  # a script of that name is ./check
        from ._check import main as check

        return check(argv[1:])
    if argv[:1] == ["top"]:
        from ._stats.top import main as top

        return top(argv[1:])
    words, copies = _without_options(argv)
    module = words[:1] == ["-m"]
    words = words[1:] if module else words
    if not words or (not module and words[0].startswith("-")):
        print(USAGE, file=sys.stderr)
        if words and words[0] not in ("-m", "--replace"):
            print(f"\ncyncore: there is no option {words[0]}", file=sys.stderr)
        return 2
    if not module and not os.path.exists(words[0]):
        print(f"cyncore: can't open file {words[0]!r}: no such file", file=sys.stderr)
        return 2
    _interrupts_in_one_line()
    install(replace=True)  # even if start-up files have imported other copies: this command asks for cyncore
    try:
        (run_module if module else run_script)(words[0], words[1:], copies)
    finally:
        report_all(by_name=False)  # also the copies with other names, which no import could notice
    return 0


def _interrupts_in_one_line() -> None:
    """Has KeyboardInterrupt end the program with one line in place of a traceback, unless it sets a hook of its own.

    Python then calls the exit handlers, and ends itself by SIGINT, as a shell expects it of what was interrupted.
    """
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: types.TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            before(kind, error, trace)
        elif sys.stderr is not None:
            print("cyncore: interrupted", file=sys.stderr)

    sys.excepthook = hook


def _without_options(argv: list[str]) -> tuple[list[str], list[str]]:
    """``argv`` from the program on, and the copies that stand before it after ``--replace``."""
    words, copies = argv, []
    while words:
        option, equals, name = words[0].partition("=")
        if option != "--replace" or not (equals or words[1:]):
            break
        copies.append(name if equals else words[1])
        words = words[1:] if equals else words[2:]
    return words, copies


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
