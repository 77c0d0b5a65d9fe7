# SPDX-License-Identifier: MIT
"""Modules in Cython, compiled as a user compiles them, against the cyncore that is tested."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import cyncore

SETUP = "from setuptools import Extension, setup\nsetup(name='it', ext_modules=[Extension({name!r}, [{source!r}])])\n"
SITE = Path(cyncore.__file__).parents[1]


def require_compiler() -> None:
    """Skips the test where nothing can be compiled, or would be of no use. CI has all of it: there it is a failure."""
    if not cyncore.native:
        pytest.skip("streams in Cython need the compiled engine")
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    missing = [name for name in ("Cython", "setuptools") if importlib.util.find_spec(name) is None]
    if shutil.which(compiler) is None:
        missing.append(compiler)
    if missing:
        if os.environ.get("CI"):
            pytest.fail(f"not installed, although this is CI: {', '.join(missing)}")
        pytest.skip(f"not installed: {', '.join(missing)}")


def environment(*first: Path, **more: str) -> dict[str, str]:
    """For another Python, which is to find what is in the folders `first`, and then the cyncore that is tested."""
    paths = [*map(str, first), str(SITE), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **more}


def run_command(command: list[str], folder: Path, *first: Path) -> None:
    """Runs a command that compiles, in that folder and quickly: not for speed of what it makes."""
    environ = environment(*first, CFLAGS=os.environ.get("CFLAGS", "") + " -O0")
    environ.pop("LD_PRELOAD", None)  # a compiler is not to run under what a sanitizer build has preloaded
    done = subprocess.run(
        command,
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def build(folder: Path, name: str, source: str, *first: Path) -> Path:
    """Compiles the source, and returns the path of the module. The folders `first` are searched before cyncore's."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.pyx").write_text(source)
    (folder / "setup.py").write_text(SETUP.format(name=name, source=f"{name}.pyx"))
    run_command([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], folder, *first)
    return folder / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"


def load(path: Path) -> Any:
    name = path.name.partition(".")[0]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
