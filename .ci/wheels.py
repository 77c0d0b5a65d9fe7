# SPDX-License-Identifier: MIT
"""Wheels for other systems than this one: cross-compiled, checked, and tried where that can be done.

    python .ci/wheels.py                                     all of them
    python .ci/wheels.py musllinux_1_2_x86_64 --python 3.13  one
    python .ci/wheels.py --twice                             each is built in two folders: the same bytes
    python .ci/wheels.py --headers 3.13=DIR                  of a Python that this machine does not have

    python .ci/wheels.py --headers manylinux_2_17_aarch64/3.13=DIR
    python .ci/wheels.py --try musllinux_1_2_x86_64/3.13=PYTHON

The compiler is that of Zig, which brings the old glibc and musl to link with; the extra `cross` has it. Each wheel is
built by the Python of its version on this machine, which pyenv or the path has, with the names that the target's
Python expects. The headers are that Python's as well: between these targets, which are all 64-bit and little-endian,
only pyconfig.h differs. `--headers` gives a folder that has all headers of the target's own Python instead.

What a wheel must be is in `check`; one that is not ends the run and is named. A wheel for this machine is tried at
once: wheel_smoke.py runs in an interpreter that has nothing but the unpacked wheel. `--try` gives the interpreter for
another.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
LIMIT = 1_200_000  # bytes
# What Zig calls the target, and what CPython calls it in the names of its modules.
TARGETS = {
    "manylinux_2_17_x86_64": ("x86_64-linux-gnu.2.17", "x86_64-linux-gnu"),
    "manylinux_2_17_aarch64": ("aarch64-linux-gnu.2.17", "aarch64-linux-gnu"),
    "musllinux_1_2_x86_64": ("x86_64-linux-musl", "x86_64-linux-musl"),
    "musllinux_1_2_aarch64": ("aarch64-linux-musl", "aarch64-linux-musl"),
}
ZIG = [sys.executable, "-m", "ziglang", "cc"]
# Without symbols; addresses of functions are found at the start, and may not be changed after it.
LINK = ["-shared", "-Wl,-s", "-Wl,-z,relro", "-Wl,-z,now", "-Wl,--gc-sections"]
COMPILE = ["-fPIC", "-fwrapv", "-DNDEBUG", "-g0", "-fstack-protector-strong", "-ffunction-sections", "-fdata-sections"]
# Zig checks undefined behaviour by default, at a cost that no other compiler asks for.
COMPILE += ["-fno-sanitize=undefined"]


# The libraries that the platform tags promise (PEP 600, PEP 656). The dynamic linker finds variables of a thread.
GLIBC = {"libc.so.6", "libm.so.6", "libpthread.so.0", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
MUSL = {"libc.so"}


class Refused(Exception):
    """What is wrong with a wheel, or why it cannot be built here."""


def run(*command: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise Refused(f"{shlex.join(command)} ended with {done.returncode}:\n{done.stdout[-3000:]}")
    return done.stdout


# Building


def interpreter(version: str) -> str:
    """The Python of that version on this machine."""
    home = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for found in sorted(home.glob(f"versions/{version}.*/bin/python{version}")):
        return str(found)
    if found := shutil.which(f"python{version}"):
        return found
    raise Refused(f"there is no Python {version} here")


def suffix(version: str, triplet: str) -> str:
    """How the names of modules end. What Python 3.10 calls musl differs between systems: it takes a plain one."""
    if version == "3.10" and triplet.endswith("musl"):
        return ".so"
    return f".cpython-{version.replace('.', '')}-{triplet}.so"


def copied(tree: Path) -> Path:
    """A copy of what git knows of the checkout."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    return tree


def generate(tree: Path) -> None:
    """Runs Cython, once for all wheels: the compiler is replaced by a program that does nothing."""
    env = {**os.environ, "CC": "true", "LDSHARED": "true"}
    scratch = str(tree / "scratch")
    run(sys.executable, "setup.py", "-q", "build_ext", "-b", scratch, "-t", scratch, cwd=tree, env=env)


def build(tree: Path, version: str, target: str, headers: Path | None, tools: Path) -> Path:
    """One wheel, in the folder `made` of the tree."""
    zig, triplet = TARGETS[target]
    compiler = [*ZIG, "-target", zig]
    first = [f"-I{headers}"] if headers else []
    env = {
        **os.environ,
        "CC": shlex.join(compiler),
        "LDSHARED": shlex.join([*compiler, *LINK]),
        "CFLAGS": shlex.join([*first, *COMPILE]),
        "PYTHONPATH": str(tools),
        "SETUPTOOLS_EXT_SUFFIX": suffix(version, triplet),
        "_PYTHON_HOST_PLATFORM": f"linux-{triplet.partition('-')[0]}",
    }
    env.pop("LDFLAGS", None)
    made = tree / "made"
    known = set(made.glob("*.whl"))
    shutil.rmtree(tree / "build", ignore_errors=True)
    words = ["build_ext", "bdist_wheel", "-q", "--plat-name", target, "-d", str(made)]
    run(interpreter(version), "setup.py", "-q", *words, cwd=tree, env=env)
    (wheel,) = set(made.glob("*.whl")) - known
    return wheel


def tools_for_all(folder: Path) -> Path:
    """setuptools and Cython as plain Python, which any version can import. The C is there, so Cython only looks."""
    wanted = [f"{name}=={run(sys.executable, '-c', VERSION, name).strip()}" for name in ("setuptools", "Cython")]
    pure = ["--platform", "any", "--only-binary", ":all:", "--no-deps", "--python-version", "3.10"]
    run(sys.executable, "-m", "pip", "install", "-q", "--target", str(folder), *pure, *wanted)
    return folder


VERSION = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"


# What a wheel must be


def modules(wheel: Path) -> Iterator[tuple[str, Path]]:
    """Each extension module of the wheel, unpacked for as long as it is looked at."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith(".so"):
                yield name, Path(archive.extract(name, folder))


def check_module(name: str, file: Path, target: str) -> None:
    """Raises Refused where a module is not what its wheel promises."""
    machine = {"x86_64": "X86-64", "aarch64": "AArch64"}[TARGETS[target][0].partition("-")[0]]
    if machine not in run("readelf", "-h", str(file)):
        raise Refused(f"{name} is not for {machine}")
    defined = run("nm", "-D", "--defined-only", str(file)).split()[2::3]
    init = f"PyInit_{Path(name).name.partition('.')[0]}"
    if defined != [init]:
        raise Refused(f"{name} exports {defined}, not {init} alone")
    sections = run("readelf", "-SW", str(file))
    if ".symtab" in sections or ".debug_" in sections:
        raise Refused(f"{name} is not stripped")
    if "GNU_RELRO" not in run("readelf", "-lW", str(file)):
        raise Refused(f"{name} has no RELRO segment")
    dynamic = run("readelf", "-dW", str(file))
    if not re.search(r"FLAGS.*\bNOW\b", dynamic):
        raise Refused(f"{name} does not bind its symbols at the start")
    needed = set(re.findall(r"NEEDED.*\[(.*)\]", dynamic))
    if other := needed - (MUSL if "musl" in target else GLIBC):
        raise Refused(f"{name} needs {sorted(other)}")
    if versions := [v for v in glibc(file) if v > (2, 17)] if "many" in target else glibc(file):
        raise Refused(f"{name} needs glibc {versions}")


def glibc(file: Path) -> list[tuple[int, ...]]:
    """The versions of glibc whose symbols the module asks for."""
    found = set(re.findall(r"GLIBC_([\d.]+)", run("readelf", "-VW", str(file))))
    return sorted(tuple(map(int, version.split("."))) for version in found)


def check(wheel: Path, version: str, target: str) -> None:
    """Raises Refused where the wheel is not what it must be."""
    size = wheel.stat().st_size
    if size > LIMIT:
        raise Refused(f"{wheel.name} has {size} bytes; a wheel may have {LIMIT}")
    tag = f"cp{version.replace('.', '')}"
    if not wheel.name.endswith(f"-{tag}-{tag}-{target}.whl"):
        raise Refused(f"{wheel.name} is not tagged {tag}, {target}")
    ends, count, protected = suffix(version, TARGETS[target][1]), 0, False
    for name, file in modules(wheel):
        check_module(name, file, target)
        protected |= "__stack_chk_fail" in run("nm", "-D", str(file))
        if "." + Path(name).name.partition(".")[2] != ends:
            raise Refused(f"{name} does not end in {ends}")
        count += 1
    if not count or not protected:
        raise Refused(f"{wheel.name}: {count} modules, stack protector: {protected}")
    print(f"{wheel.name}: {count} modules, {size} bytes", flush=True)


def digest(wheel: Path) -> str:
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


def attempt(wheel: Path, python: list[str]) -> None:
    """Imports cyncore out of an unpacked wheel and lets it serve, by an interpreter that has nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(place)
        script = shutil.copy2(ROOT / ".ci/wheel_smoke.py", place)
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": folder, "HOME": folder}
        print(
            "  " + run(*python, "-W", "error", str(script), cwd=place, env=env).strip().replace("\n", "\n  "),
            flush=True,
        )


def here() -> str:
    """The target whose wheels run on this machine."""
    machine = sysconfig.get_platform().partition("-")[2]
    return f"manylinux_2_17_{machine}"


# The command


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python .ci/wheels.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"{', '.join(TARGETS)} (all)")
    parser.add_argument("--python", action="append", metavar="VERSION", help=f"{', '.join(PYTHONS)} (all)")
    parser.add_argument(
        "--headers", action="append", default=[], metavar="TARGET/VERSION=DIR", help="has its pyconfig.h"
    )
    parser.add_argument("--try", dest="tries", action="append", default=[], metavar="TARGET/VERSION=PYTHON")
    parser.add_argument("--twice", action="store_true", help="build again in another folder, and compare the bytes")
    parser.add_argument("--out", type=Path, default=Path("wheelhouse"), metavar="DIR", help="(wheelhouse)")
    options = parser.parse_args(words)
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    return options


def pairs(words: list[str]) -> dict[str, str]:
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def main(words: list[str]) -> None:
    options = parse(words)
    os.environ.setdefault("SOURCE_DATE_EPOCH", run("git", "log", "-1", "--format=%ct", cwd=ROOT).strip())
    headers, tries = pairs(options.headers), pairs(options.tries)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        tools = tools_for_all(Path(scratch, "tools"))
        trees = [copied(Path(scratch, name)) for name in ("one", "another")[: 2 if options.twice else 1]]
        for tree in trees:
            generate(tree)
        for target in options.targets or TARGETS:
            for version in options.python or PYTHONS:
                name = f"{target}/{version}"
                first = Path(headers[name]).resolve() if name in headers else None
                made = [build(tree, version, target, first, tools) for tree in trees]
                if len({digest(wheel) for wheel in made}) != 1:
                    raise Refused(f"two builds of {made[0].name} differ")
                check(made[0], version, target)
                wheel = Path(shutil.copy2(made[0], options.out))
                if target == here():
                    attempt(wheel, [interpreter(version), "-S"])
                elif name in tries:
                    attempt(wheel, shlex.split(tries[name]))
                else:
                    print("  not tried: no interpreter was given for it", flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Refused as error:
        raise SystemExit(f"wheels: {error}") from None
