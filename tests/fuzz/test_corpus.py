# SPDX-License-Identifier: MIT
"""The corpus of the fuzzer, and some of what it makes of it: nothing is treated as it must not be."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.fuzz import engines
from tests.fuzz.__main__ import CORPUS, TARGETS, corpus, target
from tests.fuzz.mutation import Mutation

FILES = sorted(path.relative_to(CORPUS).as_posix() for path in CORPUS.glob("*/*"))
INPUTS = 150  # of each target, which are the same at every run


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    engines.close()


def test_every_target_has_a_corpus_and_it_is_small() -> None:
    assert {file.split("/")[0] for file in FILES} == set(TARGETS)
    assert sum((CORPUS / file).stat().st_size for file in FILES) < 200_000


@pytest.mark.parametrize("file", FILES)
def test_input_of_the_corpus_is_treated_as_it_must_be(file: str) -> None:
    target(file.split("/")[0]).run((CORPUS / file).read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_inputs_made_of_the_corpus_are_treated_as_they_must_be(name: str) -> None:
    module = target(name)
    mutation = Mutation(corpus(name), module.TOKENS, 1)
    for _ in range(INPUTS):
        data = mutation.next()
        try:
            module.run(data)
        except Exception as error:
            raise AssertionError(f"{name}: {data!r}") from error


def test_the_same_seed_makes_the_same_inputs() -> None:
    inputs = [corpus("smtp"), target("smtp").TOKENS]
    first, second = (list(itertools.islice(iter(Mutation(*inputs, 5).next, None), 50)) for _ in range(2))
    assert first == second
