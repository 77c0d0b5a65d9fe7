# SPDX-License-Identifier: MIT
"""The README of a built distribution: its links are absolute where the repository is known."""

from __future__ import annotations

import email
import os
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
NEEDED = ["LICENSE", "README.md", "pyproject.toml", "docs/readme.py", "setup.py"]
NEEDED += ["src/cyncore/__init__.py", "src/cyncore/_version.py"]
CI_RUN = {"GITHUB_SERVER_URL": "https://example.org", "GITHUB_REPOSITORY": "owner/name", "GITHUB_SHA": "c0ffee"}

with_git = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")


def tree(folder: Path) -> Path:
    """A copy of what the metadata is made of, which belongs to no repository."""
    for name in NEEDED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


def environment(**more: str) -> dict[str, str]:
    """This process' own, without the variables of a CI run."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    return {**kept, "CYNCORE_NO_EXTENSIONS": "1", **more}


def build(hook: str, folder: Path, out: Path, **more: str) -> None:
    """Runs a hook of the build backend, as a build front end does."""
    out.mkdir()
    source = f"import sys; from setuptools import build_meta; build_meta.{hook}(sys.argv[1])"
    words = [sys.executable, "-c", source, str(out)]
    done = subprocess.run(words, cwd=folder, env=environment(**more), capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr


def description(folder: Path, out: Path, **more: str) -> str:
    """What the metadata of a wheel that is built from the folder says about it."""
    build("prepare_metadata_for_build_wheel", folder, out, **more)
    (file,) = out.glob("*.dist-info/METADATA")
    metadata = email.message_from_string(file.read_text(encoding="utf-8"))
    assert metadata["Description-Content-Type"] == "text/markdown"
    return str(metadata.get_payload())


def targets(text: str) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", text)


def test_links_of_a_ci_run_lead_to_its_commit(tmp_path: Path) -> None:
    text = description(tree(tmp_path / "tree"), tmp_path / "out", **CI_RUN)
    assert [one for one in targets(text) if not one.startswith("https://")] == []
    assert len(targets(text)) == len(targets(README))
    repository = "https://example.org/owner/name"
    assert f"]({repository}/raw/c0ffee/docs/benchmarks/echo.svg)" in text
    assert f"]({repository}/blob/c0ffee/docs/migration.md)" in text
    assert f"]({repository}/blob/c0ffee/README.md#status)" in text


def test_readme_is_as_it_stands_without_a_repository(tmp_path: Path) -> None:
    assert description(tree(tmp_path / "tree"), tmp_path / "out") == README


def test_wheel_of_an_sdist_has_the_links_of_the_sdist(tmp_path: Path) -> None:
    build("build_sdist", tree(tmp_path / "tree"), tmp_path / "dist", **CI_RUN)
    (archive,) = (tmp_path / "dist").iterdir()
    with tarfile.open(archive) as tar:
        tar.extraction_filter = getattr(tarfile, "data_filter", None)  # the first releases of 3.10 and 3.11 have none
        tar.extractall(tmp_path / "unpacked")
    (folder,) = (tmp_path / "unpacked").iterdir()
    (folder / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "readme.py", folder / "docs")  # which MANIFEST.in adds to a real one
    others = {**CI_RUN, "GITHUB_REPOSITORY": "somebody/else"}
    text = description(folder, tmp_path / "out", **others)
    assert text == description(tree(tmp_path / "again"), tmp_path / "expected", **CI_RUN)


# The repository of a checkout


def repository_of(folder: Path) -> tuple[str, str] | None:
    (folder / "docs").mkdir()
    copy = shutil.copy(ROOT / "docs" / "readme.py", folder / "docs")
    found: Callable[[], tuple[str, str] | None] = runpy.run_path(str(copy))["repository"]
    return found()


def git(folder: Path, *words: str) -> str:
    name = ["-c", "user.name=Nobody", "-c", "user.email=nobody@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *name, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit and no remote."""
    for name in CI_RUN:
        monkeypatch.delenv(name, raising=False)
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "begin")
    return tmp_path


@with_git
@pytest.mark.parametrize(
    ("remote", "url"),
    [
        ("https://example.org/owner/name.git", "https://example.org/owner/name"),
        ("https://example.org/owner/name", "https://example.org/owner/name"),
        ("https://example.org:8443/owner/name/", "https://example.org:8443/owner/name"),
        ("https://user:secret@example.org/owner/name.git", "https://example.org/owner/name"),
        ("git@example.org:owner/name.git", "https://example.org/owner/name"),
        ("ssh://git@example.org/owner/name.git", "https://example.org/owner/name"),
        ("ssh://git@example.org:2222/owner/name.git", "https://example.org/owner/name"),
    ],
)
def test_remote_of_a_checkout_is_its_repository(checkout: Path, remote: str, url: str) -> None:
    git(checkout, "remote", "add", "origin", remote)
    assert repository_of(checkout) == (url, git(checkout, "rev-parse", "HEAD"))


@with_git
@pytest.mark.parametrize("remote", ["/srv/name", "../name", "file:///srv/name.git"])
def test_folder_as_a_remote_is_no_repository_to_link_to(checkout: Path, remote: str) -> None:
    git(checkout, "remote", "add", "origin", remote)
    assert repository_of(checkout) is None


@with_git
def test_checkout_without_a_remote_has_no_repository(checkout: Path) -> None:
    assert repository_of(checkout) is None


@with_git
def test_folder_in_a_checkout_of_something_else_has_no_repository(checkout: Path) -> None:
    git(checkout, "remote", "add", "origin", "https://example.org/owner/name")
    (checkout / "unpacked").mkdir()
    assert repository_of(checkout / "unpacked") is None


def test_ci_run_counts_more_than_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CI_RUN.items():
        monkeypatch.setenv(name, value)
    assert repository_of(tmp_path) == ("https://example.org/owner/name", "c0ffee")
