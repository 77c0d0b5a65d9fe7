"""The environment: what the number of instructions depends on beside the code of cyncore.

`python -m benchmarks.gate.environment` prints it. It runs like the workers do, because the cyncore that is measured may
have been built elsewhere, by another compiler than the one that is installed here.
"""

from __future__ import annotations

import importlib
import json
import platform
import re
import sys
import sysconfig
from dataclasses import asdict, dataclass
from pathlib import Path

FLAGS = {"--enable-optimizations": "PGO", "--with-lto": "LTO", "--with-pydebug": "debug"}


@dataclass(frozen=True)
class Environment:
    python: str  # 3.11
    machine: str  # x86_64
    interpreter: str  # its version and how it was built
    build: str  # what made cyncore's extension modules
    libc: str  # the C library and its version

    def name(self) -> str:
        return f"{self.interpreter}; cyncore by {self.build}; {self.libc}; {self.machine}"


def found(pattern: bytes, content: bytes) -> list[str]:
    return sorted({match.decode().replace("_", ".") for match in re.findall(pattern, content)})


def built_by(module: Path) -> str:
    """The names that its compilers left in an extension module."""
    content = module.read_bytes()
    compilers = [f"gcc {version}" for version in found(rb"GCC: \([^)]*\) (\d+\.\d+\.\d+)", content)]
    clang = [f"clang {version}" for version in found(rb"clang version (\d+\.\d+\.\d+)", content)]
    # where clang is named, gcc only compiled the start-up files
    cython = [f"Cython {version}" for version in found(rb"_cython_(\d+_\d+_\d+\w*)", content)[:1]]
    return ", ".join([*(clang or compilers or ["an unknown compiler"]), *cython])


def interpreter() -> str:
    arguments = sysconfig.get_config_var("CONFIG_ARGS") or ""
    flags = [short for flag, short in FLAGS.items() if flag in arguments]
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        flags.append("free-threaded")
    how = " ".join([re.sub(r"\s*\[?(GCC|Clang) ([\d.]+).*", r"\1 \2", platform.python_compiler()), *flags])
    return f"{platform.python_implementation()} {platform.python_version()}, {how}"


def extension() -> Path:
    """An extension module of cyncore. Exits where none is loaded: cyncore is not compiled."""
    importlib.import_module("cyncore")
    modules = [module for name, module in sorted(sys.modules.items()) if name.startswith("cyncore.")]
    suffix = str(sysconfig.get_config_var("EXT_SUFFIX"))
    paths = [path for module in modules if (path := getattr(module, "__file__", None) or "").endswith(suffix)]
    return Path(paths[0]) if paths else sys.exit("cyncore is not compiled here: there is nothing to count")


def here() -> Environment:
    """The environment of this process."""
    python = ".".join(platform.python_version_tuple()[:2])
    libc = " ".join(platform.libc_ver()).strip() or "unknown libc"
    return Environment(python, platform.machine(), interpreter(), built_by(extension()), libc)


if __name__ == "__main__":
    print(json.dumps(asdict(here())))
