# SPDX-License-Identifier: MIT
"""CPython's own tests of asyncore, unchanged, over ours."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import stdlib

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the old tests said, run once."""
    return stdlib.run("test.test_asyncore", ["asyncore"], tmp_path_factory.mktemp("stdlib"))


def test_none_of_the_old_tests_fails(outcome: dict[str, Any]) -> None:
    stdlib.check_none_failed(outcome)


def test_all_of_the_old_tests_ran(outcome: dict[str, Any]) -> None:
    # 3.10.13 and 3.11.7 have 101 each; a module that silently shrank to nothing would pass the test above.
    assert outcome["run"] >= 100


def test_only_what_no_unix_socket_can_do_is_skipped(outcome: dict[str, Any]) -> None:
    for name, reason in outcome["skipped"]:
        assert "UnixSockets" in name, (name, reason)
        assert reason in ("Not applicable to AF_UNIX sockets.", "test specific to AF_INET and AF_INET6"), (name, reason)
