# SPDX-License-Identifier: MIT
"""CPython's own tests of ftplib, poplib, smtplib, ssl and logging, whose servers are programs on the old modules.

Unchanged, with the old names bound by `install`: each test comes out as it does over the old modules.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support import stdlib

pytestmark = pytest.mark.timeout(300)

# What is run, and how many tests 3.10.13 and 3.11.7 have of it at least.
SERVERS = [
    ("test.test_ftplib", 90),
    ("test.test_poplib", 70),
    ("test.test_smtplib", 80),
    ("test.test_ssl.ThreadedTests.test_asyncore_server", 1),
    ("test.test_logging.SMTPHandlerTest", 1),
]
if sys.version_info < (3, 11):
    SERVERS.append(("test.test_os.TestSendfile", 10))  # later ones use something else


@pytest.mark.parametrize(("name", "most"), SERVERS, ids=[name for name, _ in SERVERS])
def test_every_test_comes_out_as_over_the_old_modules(tmp_path: Path, name: str, most: int) -> None:
    old, new = stdlib.run_both(name, tmp_path)
    assert new["run"] == old["run"] >= most
    unlike = [(test, trace) for test, trace in new["failed"] if test not in dict(old["failed"])]
    assert not unlike, "\n\n".join(f"{test}\n{trace}" for test, trace in unlike)
    assert new["skipped"] == old["skipped"]
