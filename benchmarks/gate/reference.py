"""The reference: the figures of the baseline, of an earlier commit, or of another environment."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.gate import comparison
from benchmarks.gate.baseline import Baseline, Figures
from benchmarks.gate.comparison import Bounds
from benchmarks.gate.counters import Engine
from benchmarks.gate.exit_codes import Unable
from benchmarks.gate.measurement import Measured, take
from benchmarks.gate.repository import Repository, RepositoryError
from benchmarks.gate.rows import Row
from benchmarks.run.progress import progress

OWN = "the baseline"


@dataclass(frozen=True)
class Reference:
    """What the figures are compared with."""

    what: str  # its name in messages
    figures: Figures
    bounds: Bounds
    strict: bool = True
    failures: dict[str, str] = field(default_factory=dict)  # the reason why a row was not counted, by its title


def choose(options: argparse.Namespace, now: Measured, rows: Sequence[Row], engine: Engine) -> Reference:
    """The baseline where it has this environment, else an earlier commit, else the nearest environment of the baseline.

    Raises Unable where there is none of these.
    """
    baseline = Baseline.read()
    known = baseline.environments.get(now.environment.name())
    if options.against:
        return build(options.repository, options.against, now, rows, engine, Baseline())
    if known:
        return Reference(OWN, known.figures, comparison.STRICT)
    progress(f"the baseline does not know this environment: {now.environment.name()}")
    try:
        return build(options.repository, base(options), now, rows, engine, baseline)
    except RepositoryError as error:
        progress(f"there is no commit to compare with: {error}")
    nearest = baseline.nearest(now.environment)
    if nearest is None:
        raise Unable("there is no baseline: run `python -m benchmarks gate --update`")
    name, known = nearest
    same = known.likeness(now.environment) == 3
    bounds = comparison.SAME_PYTHON if same else comparison.OTHER_PYTHON
    return Reference(f"the baseline of another environment, {name}", known.figures, bounds, strict=False)


def base(options: argparse.Namespace) -> str:
    """The commit to compare with where --against names none. Raises RepositoryError."""
    repository = Repository(options.repository)
    if options.base:
        try:
            return repository.commit(options.base)
        except RepositoryError:  # the first push of a branch has no commit before it
            progress(f"there is no commit {options.base}")
    return repository.base()


def build(folder: Path, name: str, now: Measured, rows: Sequence[Row], engine: Engine, baseline: Baseline) -> Reference:
    """Builds and measures an earlier commit. A row may cost more by what `baseline` allows over that commit's baseline.

    Raises RepositoryError where the commit cannot be measured, and Unable where another compiler built it.
    """
    repository = Repository(folder)
    commit = repository.commit(name)
    what = f"commit {commit[:12]}"
    progress(f"building {what}")
    with tempfile.TemporaryDirectory() as temporary:
        site = repository.build(commit, Path(temporary))
        before = take(Engine(site, engine.clock), rows, what)
    if not before.figures:
        raise RepositoryError(f"no row of {what} could be counted")
    if before.environment.build != now.environment.build:
        raise Unable(
            f"{what} was built by {before.environment.build}, and what is measured by {now.environment.build}: "
            "install this tree here (python -m pip install .)"
        )
    figures = allow_renewed(before.figures, repository.baseline(commit), baseline)
    return Reference(what, figures, comparison.STRICT, failures=before.failures)


def allow_renewed(figures: Figures, old: Baseline, new: Baseline) -> Figures:
    """The figures, raised by what the first environment that was renewed between two baselines lets a row cost more."""
    for environment in sorted(old.environments.keys() & new.environments.keys()):
        pair = old.environments[environment].figures, new.environments[environment].figures
        if pair[0] != pair[1]:
            progress(f"what the baseline of {environment} allows more is allowed here")
            return comparison.allow(figures, *pair)
    return figures
