"""The clock of the workers, compiled when it is needed."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

from benchmarks.run.compiler import BUILD, FLAGS, CompileError

SOURCE = Path(__file__).with_name("clock.c")


def clock() -> Path:
    """The library to preload. Raises CompileError."""
    target = BUILD / "clock.so"
    if target.exists() and target.stat().st_mtime >= SOURCE.stat().st_mtime:
        return target
    BUILD.mkdir(exist_ok=True)
    fresh = BUILD / f"clock.so.{os.getpid()}"
    compiler = shlex.split(os.environ.get("CC", "cc"))
    command = [*compiler, *FLAGS, "-shared", "-fPIC", "-o", str(fresh), str(SOURCE)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except OSError as error:
        raise CompileError(f"cannot run {compiler[0]}: {error.strerror}") from error
    if done.returncode:
        raise CompileError(f"{SOURCE.name} did not compile:\n{done.stderr}")
    fresh.replace(target)
    return target
