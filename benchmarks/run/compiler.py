"""The C compiler: programs of loads/ and shared libraries, compiled when they are needed and kept in build/."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.run.folders import BUILD, LOADS

FLAGS = ["-O2", "-Wall", "-Wextra"]
LIBRARIES = {"load_tls": ["-lssl", "-lcrypto"], "tls_epoll": ["-lssl", "-lcrypto"]}  # of a program
PATIENCE = 120.0  # seconds that one compilation may take


class CompileError(Exception):
    """The compiler is missing, or reported an error; the text says which."""


def program(name: str) -> Path:
    """The path of the program that loads/NAME.c becomes. Raises CompileError."""
    return compiled(LOADS / f"{name}.c", BUILD / name, headers=LOADS.glob("*.h"), libraries=LIBRARIES.get(name, []))


def has_header(name: str) -> bool:
    """Whether the compiler finds this header, such as "openssl/ssl.h"."""
    command = [*shlex.split(os.environ.get("CC", "cc")), "-E", "-"]
    try:
        done = subprocess.run(command, input=f"#include <{name}>\n", capture_output=True, text=True, timeout=PATIENCE)
    except OSError:
        return False
    return done.returncode == 0


def library(source: Path) -> Path:
    """The path of the shared library that this source becomes. Raises CompileError."""
    return compiled(source, BUILD / f"{source.stem}.so", flags=["-shared", "-fPIC"])


def compiled(
    source: Path,
    target: Path,
    *,
    headers: Iterable[Path] = (),
    flags: Sequence[str] = (),
    libraries: Sequence[str] = (),
) -> Path:
    """Compiles the source where it, or a header, is newer than the target. Returns the target. Raises CompileError."""
    newest = max(path.stat().st_mtime for path in [source, *headers])
    if target.exists() and target.stat().st_mtime >= newest:
        return target
    BUILD.mkdir(exist_ok=True)
    fresh = target.with_name(f"{target.name}.{os.getpid()}")  # two processes may compile at the same time
    compiler = shlex.split(os.environ.get("CC", "cc"))
    command = [*compiler, *FLAGS, *flags, "-o", str(fresh), str(source), *libraries]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except OSError as error:
        raise CompileError(f"cannot run {compiler[0]}: {error.strerror}") from error
    if done.returncode:
        raise CompileError(f"{source.name} did not compile:\n{done.stderr}")
    fresh.replace(target)
    return target
