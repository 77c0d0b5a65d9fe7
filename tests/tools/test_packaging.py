# SPDX-License-Identifier: MIT
"""What a user gets: an sdist that builds, a package with its types, one version everywhere."""

from __future__ import annotations

import importlib.metadata
import os
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import cyncore

ROOT = Path(__file__).parents[2]
LEFT_BEHIND = (".so", ".o", ".pyc", ".pyd")
SKIPPED = shutil.ignore_patterns(
    ".*cache", "__pycache__", "*.egg-info", ".git", ".nox", ".venv", "venv", "build", "dist"
)


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names in an sdist, relative to its top folder; built from a copy, without the network."""
    folder = tmp_path_factory.mktemp("sdist")
    shutil.copytree(ROOT, folder / "tree", ignore=SKIPPED)
    done = subprocess.run(
        [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", folder / "dist", folder / "tree"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (archive,) = (folder / "dist").iterdir()
    assert archive.name == f"cyncore-{cyncore.__version__}.tar.gz"
    with tarfile.open(archive) as tar:
        return {member.name.partition("/")[2] for member in tar if member.isfile()}


def packed(tree: Path) -> bytes:
    """The sdist of a copy of the tree, made in that folder with a time that is said to it."""
    shutil.copytree(ROOT, tree, ignore=SKIPPED, copy_function=shutil.copyfile)  # whose times are those of now
    done = subprocess.run(
        [sys.executable, "-m", "build", "--sdist", "--no-isolation", tree],
        env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (archive,) = (tree / "dist").iterdir()
    return archive.read_bytes()


def sources(folder: str, *patterns: str) -> set[str]:
    """Files of the tree, as an sdist names them."""
    return {path.relative_to(ROOT).as_posix() for pattern in patterns for path in (ROOT / folder).rglob(pattern)}


def test_sdist_has_every_source(sdist: set[str]) -> None:
    generated = {name for name in sdist if name.startswith("src/") and name.endswith(".c")}
    needed = sources("csrc", "*.c", "*.h")
    needed |= sources("src/cyncore", "*.py", "*.pyi", "*.pyx", "*.pxd", "*.h", "py.typed")
    assert {"csrc/cyn_poller.h", "csrc/cyn_poller.c", "src/cyncore/_native/loop.pyx", "src/cyncore/py.typed"} <= needed
    assert needed - sdist == set()
    assert generated == set()


def test_sdist_can_be_tested_and_read(sdist: set[str]) -> None:
    needed = sources("tests", "*.py", "*.pyx", "*.c", "*.h", "Makefile") | sources("examples", "*.py", "*.pyx", "*.md")
    needed |= sources("benchmarks", "*.py", "*.c") | sources("docs", "*.md", "*.rst", "*.py", "*.svg", "*.css", "*.1")
    needed |= {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE", "pyproject.toml"}
    needed |= {"setup.py", "docs/layout.py", "docs/readme.py", "noxfile.py", ".ci/run"}
    needed |= sources("src/cyncore-shim", "*.py", "*.md", "*.toml", "LICENSE")
    assert {name for name in needed - sdist if "/build/" not in name} == set()


def test_sdist_has_nothing_left_behind(sdist: set[str]) -> None:
    assert {name for name in sdist if name.endswith(LEFT_BEHIND) or "__pycache__" in name} == set()


def test_sdist_is_the_same_bytes_wherever_and_whenever_it_is_made(tmp_path: Path) -> None:
    assert packed(tmp_path / "one") == packed(tmp_path / "two")


def test_installed_package_has_its_types() -> None:
    package = Path(cyncore.__file__).parent
    assert (package / "py.typed").is_file()
    shipped = {path.name for path in package.rglob("*.pyi")}
    stubs = {Path(name).name for name in sources("src/cyncore", "*.pyi")}
    assert "loop.pyi" in stubs
    assert stubs - shipped == set()


def test_installed_package_has_what_cython_needs() -> None:
    assert (Path(cyncore.__file__).parent / "capi.pxd").is_file()


def test_one_version_everywhere() -> None:
    assert importlib.metadata.version("cyncore") == cyncore.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[(.+?)\]", changelog, re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert headings[1:2] in ([], [cyncore.__version__])


def test_nothing_is_needed_at_run_time() -> None:
    needs = importlib.metadata.requires("cyncore") or []
    assert [need for need in needs if "extra ==" not in need] == []


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / page).read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_readme_programs_compile() -> None:
    programs = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    assert len(programs) == 4
    for number, program in enumerate(programs, 1):
        compile(program, f"README.md, program {number}", "exec")


def test_ci_script_is_executable() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_wheels_of_the_cross_compiler_are_held_to_the_same_limit_on_the_same_pythons() -> None:
    sessions, wheels = ((ROOT / name).read_text(encoding="utf-8") for name in ("noxfile.py", ".ci/wheels.py"))
    limits = [re.search(r"LIMIT = ([\d_]+)", text) for text in (sessions, wheels)]
    assert limits[0] is not None
    assert limits[1] is not None
    assert limits[0][1] == limits[1][1]
    pythons = [re.search(r"^PYTHONS = [\[(](.*)[\])]$", text, re.MULTILINE) for text in (sessions, wheels)]
    assert pythons[0] is not None
    assert pythons[1] is not None
    assert pythons[0][1] == pythons[1][1]


@pytest.mark.parametrize(
    ("version", "triplet", "ends"),
    [
        ("3.10", "x86_64-linux-gnu", ".cpython-310-x86_64-linux-gnu.so"),
        ("3.10", "x86_64-linux-musl", ".so"),
        ("3.13", "aarch64-linux-musl", ".cpython-313-aarch64-linux-musl.so"),
    ],
)
def test_modules_have_the_names_that_the_python_of_the_target_expects(version: str, triplet: str, ends: str) -> None:
    assert runpy.run_path(str(ROOT / ".ci/wheels.py"))["suffix"](version, triplet) == ends


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="modules are compiled for CPython alone")
def test_a_machine_without_a_compiler_is_told_what_to_install(tmp_path: Path) -> None:
    shutil.copytree(ROOT, tmp_path / "tree", ignore=SKIPPED)
    for made in (tmp_path / "tree/src/cyncore/_native").glob("*.so"):
        made.unlink()
    words = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", str(tmp_path / "lib")]
    done = subprocess.run(
        words, cwd=tmp_path / "tree", env={**os.environ, "CC": "no-such-compiler"}, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "no-such-compiler" in done.stderr
    assert "gcc and python3-dev" in done.stderr
    assert "CYNCORE_NO_EXTENSIONS=1" in done.stderr
