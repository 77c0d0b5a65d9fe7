"""A git repository, whose earlier commits are built in a folder of their own."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tarfile
from pathlib import Path

from benchmarks.gate.baseline import BASELINE, Baseline
from benchmarks.run.folders import ROOT

PATIENCE = 900.0  # seconds that a build may take


class RepositoryError(Exception):
    """There is no repository or no such commit, or it cannot be built; the text says why."""


def run(command: list[str], patience: float = 60.0) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=patience)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RepositoryError(f"{command[0]}: {error}") from error
    if done.returncode:
        raise RepositoryError(f"{' '.join(command[:5])} ...: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout.strip()


class Repository:
    """A git checkout. The constructor and the methods raise RepositoryError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git("rev-parse", "--git-dir")

    def git(self, *words: str) -> str:
        return run(["git", "-C", str(self.folder), *words])

    def commit(self, name: str) -> str:
        """The id of the commit with this name."""
        return self.git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")

    def base(self) -> str:
        """The commit that the tree differs from: HEAD, or the parent of HEAD where nothing has changed."""
        return self.commit("HEAD" if self.git("status", "--porcelain") else "HEAD^")

    def baseline(self, commit: str) -> Baseline:
        """The baseline of a commit; an empty one where it has none."""
        try:
            return Baseline.parse(self.git("show", f"{commit}:{BASELINE.relative_to(ROOT).as_posix()}"))
        except (RepositoryError, ValueError):
            return Baseline()

    def build(self, commit: str, folder: Path) -> Path:
        """Installs the cyncore of that commit below `folder`. Returns the path to import it from."""
        archive, tree, site = folder / "tree.tar", folder / "tree", folder / "site"
        self.git("archive", "--format=tar", f"--output={archive}", commit)
        with tarfile.open(archive) as tar:
            tar.extractall(tree, filter="data")
        archive.unlink()
        tools = all(importlib.util.find_spec(name) for name in ("Cython", "setuptools"))
        alone = ["--no-build-isolation"] if tools else []
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-cache-dir", *alone]
        run([*pip, "--target", str(site), str(tree)], PATIENCE)
        return site
