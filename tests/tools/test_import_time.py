# SPDX-License-Identifier: MIT
"""What importing cyncore imports: nothing that takes long, unless whoever asked for it needs it."""

from __future__ import annotations

import pytest

import cyncore
from tests.support.script import run_script

# What can not be done without, with all that these import themselves.
NEEDED = "__future__, collections, errno, os, select, socket, time, types, warnings"
LOADED = """
import sys
before = set(sys.modules)
import {names}
print(*sorted(set(sys.modules) - before))
"""

compiled_only = pytest.mark.skipif(
    not cyncore.native, reason="of the compiled engine; the other one is made to be read"
)


def loaded(names: str) -> set[str]:
    """The modules that ``import NAMES`` adds to those that every Python has."""
    return set(run_script(LOADED.format(names=names)).split())


def is_ours(module: str) -> bool:
    """Is it one of cyncore's, or what Cython makes up?"""
    return module.partition(".")[0] == "cyncore" or module.startswith(("_cython_", "cython_runtime"))


@compiled_only
@pytest.mark.parametrize("name", ["cyncore", "cyncore.asyncore", "cyncore.asynchat"])
def test_import_needs_little_more_than_socket(name: str) -> None:
    more = loaded(name) - loaded(NEEDED)
    assert {module for module in more if not is_ours(module)} == set()


@compiled_only
def test_import_of_the_package_leaves_out_what_few_programs_use() -> None:
    ours = {module for module in loaded("cyncore") if module.startswith("cyncore.")}
    assert "cyncore._dispatcher" in ours
    assert {module for module in ours if module.startswith(("cyncore._python", "cyncore._check"))} == set()
    few = {"_native.chat", "_native.chat_input", "_install.names", "_plain_chat", "_async_chat", "asyncore", "smtpd"}
    assert ours & {f"cyncore.{name}" for name in few} == set()


def test_import_of_smtpd_leaves_out_what_it_may_never_need() -> None:
    few = {"asyncio", "email", "smtplib", "ssl", "pwd"}
    assert {module for module in loaded("cyncore.smtpd") if module.partition(".")[0] in few} == set()


def test_every_public_name_can_be_imported() -> None:
    assert (
        run_script("from cyncore import *\nprint(install.__name__, InstallError.__name__)") == "install InstallError\n"
    )


def test_the_old_modules_are_attributes_of_the_package() -> None:
    script = "import cyncore\nprint(cyncore.asyncore.__name__, cyncore.asynchat.__name__, cyncore.smtpd.__name__)"
    assert run_script(script) == "cyncore.asyncore cyncore.asynchat cyncore.smtpd\n"
    assert run_script("import cyncore\nprint(cyncore.wasyncore.__name__)") == "cyncore.wasyncore\n"


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        cyncore.nonsense  # noqa: B018
