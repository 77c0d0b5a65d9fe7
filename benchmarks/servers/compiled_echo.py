"""The handler of examples/native_echo, compiled for the cyncore that is imported here, and kept in build/.

ImportError where that is not possible, with the reason.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

from benchmarks.run.folders import BUILD, ROOT
from cyncore import capi

SOURCE = ROOT / "examples" / "native_echo"
PATIENCE = 120.0  # seconds that one compilation may take


def compiled() -> Path:
    """The path of the module, compiled where the example is newer or no module has the layout of this cyncore."""
    suffix = str(sysconfig.get_config_var("EXT_SUFFIX"))
    folder = BUILD / f"echo-{capi.LAYOUT}"
    target = folder / f"echo{suffix}"
    if target.exists() and target.stat().st_mtime >= (SOURCE / "echo.pyx").stat().st_mtime:
        return target
    fresh = BUILD / f"{folder.name}.{os.getpid()}"  # two processes may compile at the same time
    fresh.mkdir(parents=True)
    try:
        for name in ("echo.pyx", "setup.py"):
            shutil.copyfile(SOURCE / name, fresh / name)
        command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
        done = subprocess.run(
            command,
            cwd=fresh,
            env={**environment, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        if done.returncode:
            raise ImportError(f"examples/native_echo does not compile: {done.stderr.strip()[-500:]}")
        folder.mkdir(exist_ok=True)
        (fresh / target.name).replace(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("echo", compiled())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


EchoBytes = load().EchoBytes
