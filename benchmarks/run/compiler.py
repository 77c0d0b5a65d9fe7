"""The C programs: compiled when they are needed, kept in benchmarks/build."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1]
BUILD = FOLDER / "build"
SOURCES = FOLDER / "loads"
FLAGS = ["-O2", "-Wall", "-Wextra"]


class CompileError(Exception):
    """The compiler is missing, or did not like what it saw."""


def program(name: str) -> Path:
    """The path of loads/NAME.c compiled; compiled again only where the source, or a header, is newer."""
    source, target = SOURCES / f"{name}.c", BUILD / name
    newest = max(path.stat().st_mtime for path in [source, *SOURCES.glob("*.h")])
    if target.exists() and target.stat().st_mtime >= newest:
        return target
    BUILD.mkdir(exist_ok=True)
    fresh = BUILD / f"{name}.{os.getpid()}"
    compiler = shlex.split(os.environ.get("CC", "cc"))
    try:
        done = subprocess.run([*compiler, *FLAGS, "-o", fresh, source], capture_output=True, text=True, timeout=120)
    except OSError as error:
        raise CompileError(f"cannot run {compiler[0]}: {error.strerror}") from error
    if done.returncode:
        raise CompileError(f"{source.name} did not compile:\n{done.stderr}")
    fresh.replace(target)
    return target
