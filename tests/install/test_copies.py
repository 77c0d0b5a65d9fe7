# SPDX-License-Identifier: MIT
"""Copies of the old modules inside packages: the named ones are replaced, and of those that stay somebody is told.

Each test has a process of its own: what it binds would stay.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.script import ENGINE_FOLDER, run_script

ASYNCORE = """
socket_map = {}
class ExitNow(Exception): pass
class dispatcher: pass
def poll(): pass
def loop(): pass
"""
ASYNCHAT = "from . import asyncore\nclass async_chat(asyncore.dispatcher): pass\n"
SMTPD = "class SMTPChannel: pass\nclass SMTPServer: pass\n"
TOLD = "package.asyncore is a copy of asyncore with a loop of its own, which is not cyncore's; "


def write(folder: Path, **files: str) -> str:
    """A package with these modules, and the start of a script that finds it."""
    package = folder / "package"
    package.mkdir(exist_ok=True)
    for name, text in {"__init__": "", **files}.items():
        (package / f"{name}.py").write_text(text)
    return f"import sys; sys.path.insert(0, {str(folder)!r})\nimport cyncore\n"


@pytest.fixture
def package(tmp_path: Path) -> str:
    """The start of a script that finds a package with a copy of asyncore that it imports, and a server that uses it."""
    return write(
        tmp_path,
        __init__="from .server import Server\nfrom . import asyncore as mine\n",
        asyncore=ASYNCORE,
        server="from package import asyncore\nfrom .asyncore import loop\nclass Server(asyncore.dispatcher): pass\n",
    )


def told(script: str) -> str:
    """What the script writes to stderr; it must not fail."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), ENGINE_FOLDER]))},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def refusal(script: str, names: object) -> str:
    """What `install` says when it refuses to replace these copies."""
    end = f"\ntry: cyncore.install(replace_copies={names!r})\nexcept cyncore.InstallError as error: print(error)\n"
    return run_script(script + end)


# What is replaced


def test_copy_is_replaced_however_its_package_imports_it(package: str) -> None:
    run_script(
        f"{package}cyncore.install(replace_copies=['package.asyncore'])\n"
        "import package, package.asyncore as third; ours = cyncore.asyncore\n"
        "assert package.asyncore is package.mine is package.server.asyncore is third is ours\n"
        "assert package.server.loop is ours.loop and issubclass(package.Server, cyncore.dispatcher)\n"
        "assert sys.modules['package.asyncore'] is ours and ours.__name__ == ours.__spec__.name == 'cyncore.asyncore'\n"
    )


def test_copy_named_in_full_is_an_attribute_of_its_package_from_the_first_import_on(tmp_path: Path) -> None:
    script = write(tmp_path, __init__="import package.asyncore\nloop = package.asyncore.loop\n", asyncore=ASYNCORE)
    run_script(
        f"{script}cyncore.install(replace_copies=['package.asyncore'])\n"
        "import package; assert package.loop is cyncore.asyncore.loop\n"
    )


def test_package_is_not_imported_to_replace_its_copy(tmp_path: Path) -> None:
    script = write(tmp_path, __init__="raise RuntimeError('imported')", asyncore=ASYNCORE)
    run_script(f"{script}cyncore.install(replace_copies=['package.asyncore']); assert 'package' not in sys.modules\n")


@pytest.mark.parametrize(
    ("name", "text", "ours"),
    [
        ("asyncore", "", "asyncore"),
        ("_asyncore", ASYNCORE, "asyncore"),
        ("asyncore_25", ASYNCORE, "asyncore"),
        ("asynchat", ASYNCHAT, "asynchat"),
        ("smtpd", SMTPD, "smtpd"),
        ("wasyncore", ASYNCORE, "wasyncore"),
        ("events", ASYNCORE, "asyncore"),
        ("lines", ASYNCHAT, "asynchat"),
        ("mail", SMTPD, "smtpd"),
    ],
)
def test_stand_in_goes_by_the_name_of_a_copy_or_by_what_it_defines(
    tmp_path: Path, name: str, text: str, ours: str
) -> None:
    script = write(tmp_path, **{name: text})
    run_script(
        f"{script}cyncore.install(replace_copies=['package.{name}'])\n"
        f"import package, package.{name} as copy; assert copy is cyncore.{ours} is package.{name}\n"
    )


def test_copy_in_an_archive_is_replaced(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("package/__init__.py", "")
        archive.writestr("package/events.py", ASYNCORE)
    run_script(
        f"import cyncore, sys; sys.path.insert(0, {str(tmp_path / 'all.zip')!r})\n"
        "cyncore.install(replace_copies=['package.events'])\n"
        "from package import events; assert events is cyncore.asyncore\n"
    )


@pytest.mark.parametrize("outer", [True, False])
def test_copy_below_folders_without_an_init_is_replaced(tmp_path: Path, outer: bool) -> None:
    script = write(tmp_path)
    if not outer:
        (tmp_path / "package" / "__init__.py").unlink()
    (tmp_path / "package" / "vendor" / "inner").mkdir(parents=True)
    (tmp_path / "package" / "vendor" / "inner" / "asyncore.py").write_text(ASYNCORE)
    run_script(
        f"{script}cyncore.install(replace_copies=['package.vendor.inner.asyncore'])\n"
        "from package.vendor.inner import asyncore; assert asyncore is cyncore.asyncore\n"
    )


def test_copy_in_a_folder_that_is_in_one_place_of_two_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    script = write(tmp_path / "one")
    (tmp_path / "one" / "package" / "__init__.py").unlink()
    for folder in tmp_path / "one" / "package" / "vendor", tmp_path / "two" / "package":
        folder.mkdir(parents=True)
    (tmp_path / "one" / "package" / "vendor" / "asyncore.py").write_text(ASYNCORE)
    run_script(
        f"{script}sys.path.insert(0, {str(tmp_path / 'two')!r})\n"
        "cyncore.install(replace_copies=['package.vendor.asyncore'])\n"
        "from package.vendor import asyncore; assert asyncore is cyncore.asyncore\n"
    )


def test_top_level_copy_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "events.py").write_text(ASYNCORE)
    script = f"import cyncore, sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    run_script(
        f"{script}cyncore.install(replace_copies=['events']); import events; assert events is cyncore.asyncore\n"
    )


def test_more_copies_may_be_named_later(tmp_path: Path) -> None:
    script = write(tmp_path, asyncore=ASYNCORE, asynchat=ASYNCHAT)
    run_script(
        f"{script}cyncore.install(replace_copies=['package.asyncore']); from package import asyncore\n"
        "before = list(sys.meta_path); cyncore.install(replace_copies=iter(['package.asynchat', 'package.asyncore']))\n"
        "from package import asynchat; assert sys.meta_path == before\n"
        "assert (asyncore, asynchat) == (cyncore.asyncore, cyncore.asynchat)\n"
    )


def test_replaced_copy_is_reloaded_as_what_it_is(package: str) -> None:
    run_script(
        f"{package}cyncore.install(replace_copies=['package.asyncore'])\n"
        "import importlib, package; assert importlib.reload(package.asyncore) is cyncore.asyncore is package.asyncore\n"
    )


def test_replaced_copy_that_was_taken_out_gives_the_same_module_again(package: str) -> None:
    run_script(
        f"{package}cyncore.install(replace_copies=['package.asyncore']); import package\n"
        "del sys.modules['package.asyncore'], package.asyncore\n"
        "import package.asyncore; assert package.asyncore is cyncore.asyncore\n"
    )


def test_copy_that_was_bound_by_hand_becomes_an_attribute_of_its_package(tmp_path: Path) -> None:
    script = write(tmp_path, asyncore=ASYNCORE)
    run_script(
        f"{script}sys.modules['package.asyncore'] = cyncore.asyncore; import package\n"
        "cyncore.install(replace_copies=['package.asyncore']); assert package.asyncore is cyncore.asyncore\n"
    )


# What is in use


def test_copy_that_was_only_imported_is_replaced_in_its_package_too(tmp_path: Path) -> None:
    script = write(tmp_path, __init__="from . import asyncore\n", asyncore=ASYNCORE)
    run_script(
        f"{script}import package; assert package.asyncore is not cyncore.asyncore\n"
        "cyncore.install(replace_copies=['package.asyncore'])\n"
        "assert package.asyncore is sys.modules['package.asyncore'] is cyncore.asyncore\n"
    )


def test_copy_in_use_is_refused_and_its_users_are_named(package: str, tmp_path: Path) -> None:
    said = refusal(f"{package}import package", ["package.asyncore"])
    assert said.startswith("another copy of package.asyncore is in use")
    assert f"package.asyncore is {tmp_path / 'package' / 'asyncore.py'}:" in said
    assert "classes derived from it: package.server.Server\n" in said
    assert "modules that hold it or a part of it: package.server (asyncore, loop), package (mine)\n" in said
    assert "`python -m cyncore --replace package.asyncore`." in said


def test_refused_copy_leaves_all_as_it_was(package: str) -> None:
    run_script(
        f"{package}import package; old, before = dict(sys.modules), list(sys.meta_path)\n"
        "try: cyncore.install(replace_copies=['package.asyncore'])\n"
        "except cyncore.InstallError as error: assert list(error.uses) == ['package.asyncore']\n"
        "assert sys.meta_path == before and 'asyncore' not in sys.modules\n"
        "assert sys.modules['package.asyncore'] is package.asyncore is old['package.asyncore']\n"
    )


def test_copy_in_use_is_replaced_where_that_is_insisted_on(package: str) -> None:
    run_script(
        f"{package}import package; cyncore.install(replace=True, replace_copies=['package.asyncore'])\n"
        "assert package.asyncore is cyncore.asyncore is not package.mine\n"
    )


def test_refusal_of_a_copy_names_the_distribution(package: str, tmp_path: Path) -> None:
    info = tmp_path / "of_package-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: of-package\nVersion: 1.5\n")
    (info / "top_level.txt").write_text("package\n")
    (info / "RECORD").write_text("package/asyncore.py,,\n")
    assert "asyncore.py (of-package 1.5):" in refusal(f"{package}import package", ["package.asyncore"])


# What cannot be replaced


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("package.nothing", "there is no module package.nothing to be replaced"),
        ("nothing.asyncore", "there is no module nothing.asyncore to be replaced"),
        ("package.asyncore.deeper", "there is no module package.asyncore.deeper to be replaced"),
        ("package..asyncore", "'package..asyncore' is no name of a module"),
        ("", "'' is no name of a module"),
        ("cyncore.asyncore", "cyncore.asyncore is cyncore's own, and no copy"),
        ("package.user", "it defines nothing that makes up asyncore, asynchat or smtpd"),
        ("package.both", "it defines what makes up asyncore and asynchat, so nothing says what it is a copy of"),
        ("package.smtpd", "package.smtpd cannot be replaced: it defines what makes up asyncore and asynchat"),
        ("package.broken", "it defines nothing that makes up asyncore, asynchat or smtpd"),
        ("_socket", "it defines nothing that makes up asyncore, asynchat or smtpd"),
    ],
)
def test_what_is_no_copy_is_refused_with_the_reason(tmp_path: Path, name: str, why: str) -> None:
    script = write(
        tmp_path,
        asyncore=ASYNCORE,
        user="from .asyncore import dispatcher, loop, poll, socket_map\nclass Mine(dispatcher): pass\n",
        both=f"{ASYNCORE}class async_chat: pass\n",
        smtpd=f"{ASYNCORE}class async_chat: pass\n",
        broken="class (",
    )
    assert why in refusal(script, [name])


def test_copy_whose_package_no_finder_can_look_for_is_refused(tmp_path: Path) -> None:
    run_script(
        f"{write(tmp_path)}class Finder:\n    def find_spec(self, name, *more):\n"
        "        if name == 'broken': raise ImportError('cannot look')\n"
        "sys.meta_path.insert(0, Finder())\n"
        "try: cyncore.install(replace_copies=['broken.asyncore'])\n"
        "except cyncore.InstallError as error: assert 'broken.asyncore' in str(error)\n"
        "else: raise AssertionError('installed')\n"
    )


def test_one_string_is_refused() -> None:
    run_script(
        "import cyncore\n"
        "try: cyncore.install(replace_copies='package.asyncore')\n"
        "except TypeError as error: assert \"['package.asyncore']\" in str(error)\n"
        "else: raise AssertionError\n"
    )


# Who is told


def test_copy_that_is_imported_and_stays_is_told_of_once(package: str) -> None:
    said = told(f"{package}cyncore.install()\nimport importlib, package; importlib.reload(package.asyncore)\n")
    assert said.count("\n") == 1
    assert said.startswith(TOLD)
    assert "`python -m cyncore --replace package.asyncore`" in said
    assert "cyncore.install(replace_copies=['package.asyncore'])" in said


def test_copy_that_was_imported_before_is_told_of_once(package: str) -> None:
    said = told(f"{package}import package; cyncore.install(); cyncore.install()")
    assert said.startswith(TOLD)
    assert said.count("\n") == 1


def test_module_that_has_all_from_a_copy_is_no_other_one(tmp_path: Path) -> None:
    script = write(tmp_path, asyncore=ASYNCORE, more_asyncore="from .asyncore import *\n")
    assert told(f"{script}cyncore.install(); import package.more_asyncore").count("\n") == 1


def test_program_that_logs_is_told_by_its_log(package: str) -> None:
    start = "import logging; logging.basicConfig(format='%(name)s %(levelname)s %(message)s')\n"
    assert told(f"{start}{package}cyncore.install(); import package").startswith(f"cyncore WARNING {TOLD}")


@pytest.mark.parametrize(
    "use",
    [
        "cyncore.install(replace_copies=['package.asyncore']); import package",
        "import package",  # nobody has asked for cyncore's loop
        "cyncore.install(); from importlib.util import find_spec; import package.user; find_spec('package.asyncore')",
        "cyncore.install(); import package.asyncorereactor",
        "cyncore.install(); import package.green_asyncore",
        "cyncore.install(); import package.star_asyncore",
    ],
)
def test_nobody_is_told_without_need(tmp_path: Path, use: str) -> None:
    script = write(
        tmp_path,
        asyncore=ASYNCORE,
        user="class dispatcher: pass\nsocket_map = {}\n",
        asyncorereactor="import cyncore\nclass Connection(cyncore.dispatcher): pass\n",
        green_asyncore="from cyncore.asyncore import *\nclass dispatcher(dispatcher): pass\n",
        star_asyncore="from cyncore.asyncore import *\n",
    )
    assert told(script + use) == ""


def test_module_that_was_looked_at_shows_its_own_loader(package: str) -> None:
    told(
        f"{package}cyncore.install()\nimport inspect, package\n"
        "module, spec = package.asyncore, package.asyncore.__spec__\n"
        "from importlib.machinery import SourceFileLoader\n"
        "assert type(spec.loader) is SourceFileLoader and module.__loader__ is spec.loader\n"
        "assert 'class dispatcher' in inspect.getsource(module) and spec.name == 'package.asyncore'\n"
        "assert module.__file__ == spec.origin\n"
    )


def test_copy_can_be_found_run_and_imported_late_while_it_is_looked_at(package: str) -> None:
    told(
        f"{package}cyncore.install()\nimport importlib.util, runpy; from pathlib import Path\n"
        "spec = importlib.util.find_spec('package.asyncore')\n"
        "assert spec.loader.get_source('package.asyncore') == Path(spec.origin).read_text()\n"
        "del sys.modules['package.asyncore']\n"
        "assert 'dispatcher' in runpy.run_module('package.asyncore')\n"
        "spec = importlib.util.find_spec('package.asyncore')\n"
        "spec.loader = importlib.util.LazyLoader(spec.loader)\n"
        "late = importlib.util.module_from_spec(spec); spec.loader.exec_module(late)\n"
        "assert late.dispatcher.__module__ == 'package.asyncore'\n"
    )


def test_loader_of_a_copy_that_is_looked_at_can_be_copied(package: str) -> None:
    told(
        f"{package}cyncore.install()\nimport copy, importlib.util\n"
        "spec = importlib.util.find_spec('package.asyncore')\n"
        "assert copy.copy(spec.loader).path == spec.loader.path == spec.origin\n"
    )


def test_copy_that_fails_to_import_fails_as_ever(tmp_path: Path) -> None:
    script = write(tmp_path, asyncore=f"{ASYNCORE}raise RuntimeError('mine')\n")
    said = told(
        f"{script}cyncore.install()\n"
        "try: import package.asyncore\nexcept RuntimeError as error: assert str(error) == 'mine'\n"
        "assert 'package.asyncore' not in sys.modules\n"
        "try: import package.no_asyncore\n"
        "except ModuleNotFoundError as error: assert error.name == 'package.no_asyncore'\n"
    )
    assert said == ""
