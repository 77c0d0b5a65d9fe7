# SPDX-License-Identifier: MIT
"""The extension modules; everything else is in pyproject.toml.

Read from the environment:
CYNCORE_NO_EXTENSIONS=1    build none: cyncore then runs on its plain-Python engine
CYNCORE_SANITIZE=...       a sanitizer build, "address,undefined" or "thread"
CYNCORE_SYS_TABLE=1        system calls go through a table, so that tests can make them fail
CYNCORE_WERROR=1           compiler warnings are errors: for CI, never for users
"""

import os
import sys
from glob import glob

from setuptools import Extension, setup


def switch(name):
    return os.environ.get(name, "") not in ("", "0")


CSRC = {
    "calls": ["timers", "sys"],
    "traits": [],
    "channel": ["peer", "sys"],
    "registry": ["poller", "epoll", "kqueue", "poll", "select", "wake", "timers", "sys"],
    "loop": ["timers", "sys"],
    "outbox": ["sys"],
    "fifo": ["sys"],
    "chat_input": [],
    "chat_output": ["sys"],
    "chat": [],
}
# What Cython would repeat in every module, above all its type of function: one module that the others import.
SHARED = "cyncore._native._cyutility"
UNSHARED = ["AutoPickle", "MemoryView"]  # unused, or an import fails; after a change remove src/cyncore/_native/*.c
COMPILE = ["-std=gnu11", "-fvisibility=hidden", "-pthread"]
LINK = ["-pthread"]
MACROS = []
# Pickling is made for every class, to refuse nearly all of them: object refuses them as well, in a tenth less code.
DIRECTIVES = {"auto_pickle": False}

if sys.platform == "linux":
    COMPILE.append("-fno-plt")  # most calls go to the interpreter: no stub for each
if sanitizers := os.environ.get("CYNCORE_SANITIZE"):
    flags = [f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
    COMPILE += [*flags, "-g", "-O1"]
    LINK += flags
if switch("CYNCORE_SYS_TABLE"):
    MACROS.append(("CYN_SYS_TABLE", "1"))
if switch("CYNCORE_WERROR"):
    # What Cython generates casts method pointers and leaves parameters and the last members of a table unused.
    quiet = ["unused-parameter", "missing-field-initializers", "cast-function-type"]
    COMPILE += ["-Wall", "-Wextra", "-Werror", *(f"-Wno-{warning}" for warning in quiet)]


def optimised():
    """A tenth smaller than with Python's own -O3, and not slower. Whoever asks for another level in CFLAGS gets it."""
    if "-O" in os.environ.get("CFLAGS", ""):
        return []
    return ["-O2"]


def extension(name, csrc):
    made = Extension(
        f"cyncore._native.{name}",
        [f"src/cyncore/_native/{name}.pyx", *(f"csrc/cyn_{noun}.c" for noun in csrc)],
        include_dirs=["csrc"],
        depends=sorted(glob("csrc/*.h") + glob("src/cyncore/_native/*.pxd")),
        define_macros=MACROS,
        extra_compile_args=[*optimised(), *COMPILE],
        extra_link_args=LINK,
    )
    # setuptools' own class takes no such arguments
    made.cython_directives = DIRECTIVES
    made.shared_utility_qualified_name = SHARED
    return made


def shared():
    """Cython writes its source when it is built, and names the module inside it after the file."""
    made = Extension(
        SHARED,
        [f"src/cyncore/_native/{SHARED}.c"],
        extra_compile_args=[*optimised(), *COMPILE],
        extra_link_args=LINK,
    )
    made.shared_utility_qualified_name = SHARED
    made.shared_utility_features_disabled = UNSHARED
    return made


# csrc speaks POSIX, and only CPython gains from Cython. setuptools runs Cython over each .pyx when it builds.
compiled = os.name == "posix" and sys.implementation.name == "cpython" and not switch("CYNCORE_NO_EXTENSIONS")
modules = [shared(), *(extension(name, csrc) for name, csrc in CSRC.items())]
setup(ext_modules=modules if compiled else [])
