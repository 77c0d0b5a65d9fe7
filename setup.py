# SPDX-License-Identifier: MIT
"""The extension modules, and the README with absolute links (docs/readme.py); everything else is in pyproject.toml.

Read from the environment:
CYNCORE_NO_EXTENSIONS=1    build none: cyncore then runs on its plain-Python engine
CYNCORE_SANITIZE=...       a sanitizer build, "address,undefined" or "thread"
CYNCORE_SYS_TABLE=1        system calls go through a table, so that tests can make them fail
CYNCORE_USDT=1             probes for bpftrace, perf and gdb (needs <sys/sdt.h>, of systemtap-sdt-dev)
CYNCORE_WERROR=1           compiler warnings are errors: for CI, never for users
SOURCE_DATE_EPOCH=...      seconds since 1970, the time that archives then name: two builds of the same files
                           give the same bytes, wherever and whenever they are made
"""

import gzip
import os
import shutil
import sys
import sysconfig
import tarfile
from glob import glob
from runpy import run_path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.sdist import sdist
from setuptools.errors import CompileError


def switch(name):
    return os.environ.get(name, "") not in ("", "0")


CSRC = {
    "bell": [],
    "calls": ["timers", "sys"],
    "registry": ["poller", "epoll", "kqueue", "poll", "select", "wake", "timers", "sys"],
    "traits": [],
    "plain_socket": ["peer", "sys"],
    "watcher": ["timers", "sys"],
    "endpoint": ["peer", "sys"],
    "channel": ["timers", "sys"],
    "predicates": ["timers", "sys"],
    "dispatch": ["timers", "sys"],
    "inspection": ["peer", "timers", "sys"],
    "loop": ["timers", "sys"],
    "outbox": ["sys"],
    "fifo": ["sys"],
    "chat_input": [],
    "chat_output": ["sys"],
    "chat": [],
    "settings": [],
    "stream_output": ["timers", "sys"],
    "stream_input": ["timers", "sys"],
    "deadlines": ["timers", "sys"],
    "stream": ["peer", "timers", "sys"],
    "addresses": ["datagram", "peer", "sys"],
    "datagram_output": ["datagram", "peer", "timers", "sys"],
    "datagram": ["datagram", "peer", "timers", "sys"],
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
    # of csrc a module has only what it calls
    COMPILE += ["-ffunction-sections", "-fdata-sections"]
    LINK.append("-Wl,--gc-sections")
if sanitizers := os.environ.get("CYNCORE_SANITIZE"):
    flags = [f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
    COMPILE += [*flags, "-g", "-O1"]
    LINK += flags
if epoch := os.environ.get("SOURCE_DATE_EPOCH"):
    COMPILE.append(f"-fdebug-prefix-map={os.getcwd()}=.")  # the folder of the build stays out of the modules
    os.umask(0o022)  # nor do the permissions in the archives tell who made them
if switch("CYNCORE_SYS_TABLE"):
    MACROS.append(("CYN_SYS_TABLE", "1"))
if switch("CYNCORE_USDT"):
    MACROS.append(("CYN_USDT", "1"))
if switch("CYNCORE_WERROR"):
    # What Cython generates casts method pointers and leaves parameters and the last members of a table unused.
    quiet = ["unused-parameter", "missing-field-initializers", "cast-function-type"]
    COMPILE += ["-Wall", "-Wextra", "-Werror", *(f"-Wno-{warning}" for warning in quiet)]


TOOLS = """
cyncore could not be compiled. It needs a C compiler and the headers of this Python, which Debian and
Ubuntu have in the packages gcc and python3-dev, Fedora in gcc and python3-devel. With
CYNCORE_NO_EXTENSIONS=1 in the environment nothing is compiled, and cyncore runs in plain Python."""
# modules that hardly any event runs through
SELDOM = ("addresses", "bell", "chat", "deadlines", "inspection", "plain_socket", "settings", "stream", "traits")


def optimised(name=""):
    """A tenth smaller than with Python's own -O3, and not slower. Whoever asks for another level in CFLAGS gets it."""
    if "-O" in os.environ.get("CFLAGS", ""):
        return []
    return ["-Os" if name in SELDOM else "-O2"]


def extension(name, csrc):
    made = Extension(
        f"cyncore._native.{name}",
        [f"src/cyncore/_native/{name}.pyx", *(f"csrc/cyn_{noun}.c" for noun in csrc)],
        include_dirs=["csrc", "src/cyncore/_native"],
        depends=sorted(glob("csrc/*.h") + glob("src/cyncore/_native/*.h") + glob("src/cyncore/_native/*.pxd")),
        define_macros=MACROS,
        extra_compile_args=[*optimised(name), *COMPILE],
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


class Modules(build_ext):
    """Fails where what `capi.pxd` tells Cython is not true of the modules."""

    def run(self):
        run_path("docs/layout.py")["check"]()
        try:
            super().run()
        except Exception as error:
            if self.lacks_tools():
                raise CompileError(f"{error}\n{TOOLS}") from error
            raise

    def lacks_tools(self):
        """Is the reason of a failure that this machine has no compiler, or not the headers of this Python?"""
        words = getattr(self.compiler, "compiler_so", None) or ["cc"]
        headers = [sysconfig.get_path("include"), *self.include_dirs]
        has_headers = any(os.path.exists(os.path.join(folder, "Python.h")) for folder in headers)
        return shutil.which(words[0]) is None or not has_headers


class Archive(sdist):
    """setuptools' archive names who made it and when; with SOURCE_DATE_EPOCH this one names only what is in it."""

    def make_archive(self, base_name, format, root_dir=None, base_dir=None, **owner):
        if not epoch or format != "gztar":
            return super().make_archive(base_name, format, root_dir, base_dir, **owner)
        name = f"{base_name}.tar.gz"
        with (
            open(name, "wb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=int(epoch)) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            tar.add(base_dir, filter=anonymous)
        return name


def anonymous(member):
    """A member of the archive without its owner, its own time and its writers."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = int(epoch)
    member.mode = 0o755 if member.mode & 0o100 else 0o644
    return member


# csrc speaks POSIX, and only CPython gains from Cython. setuptools runs Cython over each .pyx when it builds.
compiled = os.name == "posix" and sys.implementation.name == "cpython" and not switch("CYNCORE_NO_EXTENSIONS")
modules = [shared(), *(extension(name, csrc) for name, csrc in CSRC.items())]
setup(
    ext_modules=modules if compiled else [],
    cmdclass={"build_ext": Modules, "sdist": Archive},
    # by its path, because a build front end does not put this folder on sys.path
    long_description=run_path("docs/readme.py")["readme"](),
    long_description_content_type="text/markdown",
)
