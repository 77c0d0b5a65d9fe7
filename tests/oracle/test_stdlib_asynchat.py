# SPDX-License-Identifier: MIT
"""CPython's own tests of asynchat, unchanged, over ours."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import stdlib

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the old tests said, run once."""
    return stdlib.run("test.test_asynchat", ["asyncore", "asynchat"], tmp_path_factory.mktemp("stdlib"))


def test_none_of_the_old_tests_fails(outcome: dict[str, Any]) -> None:
    stdlib.check_none_failed(outcome)


def test_all_of_the_old_tests_ran(outcome: dict[str, Any]) -> None:
    assert outcome["run"] >= 25  # what 3.10.13 and 3.11.7 have


def test_none_is_skipped(outcome: dict[str, Any]) -> None:
    assert outcome["skipped"] == []
