# SPDX-License-Identifier: MIT
"""`cyncore.install`: the old names give cyncore's modules, or a copy that is in use keeps them.

Each test has a process of its own: what it binds would stay.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

import cyncore
from tests.support.coverage import not_measured
from tests.support.script import run_script

PACKAGE = Path(cyncore.__file__).parent

OLD_ASYNCORE = """
socket_map = {}
class ExitNow(Exception): pass
class dispatcher: pass
def loop(): pass
last = ExitNow()
"""
OLD_ASYNCHAT = """
import asyncore
class async_chat(asyncore.dispatcher): pass
"""


@pytest.fixture
def copies(tmp_path: Path) -> str:
    """The start of a script that finds other copies of asyncore and asynchat, one using the other."""
    (tmp_path / "asyncore.py").write_text(OLD_ASYNCORE)
    (tmp_path / "asynchat.py").write_text(OLD_ASYNCHAT)
    return f"import cyncore, sys\nsys.path.insert(0, {str(tmp_path)!r})\n"


def refusal(script: str) -> str:
    """What `install` says at the end of the script, which it has to refuse."""
    return run_script(f"{script}\ntry: cyncore.install()\nexcept cyncore.InstallError as error: print(error)\n")


# What is bound


def test_old_names_give_cyncore_s_modules_themselves() -> None:
    run_script(
        "import cyncore; cyncore.install()\n"
        "import asyncore, asynchat, smtpd\n"
        "assert (asyncore, asynchat, smtpd) == (cyncore.asyncore, cyncore.asynchat, cyncore.smtpd)\n"
        "from asynchat import async_chat\n"
        "assert issubclass(async_chat, asyncore.dispatcher) and asyncore.dispatcher is cyncore.dispatcher\n"
        "assert asyncore.socket_map is cyncore.socket_map\n"
    )


def test_modules_stay_attributes_of_the_package_without_install() -> None:
    run_script("import cyncore; assert cyncore.asyncore.dispatcher is cyncore.dispatcher; cyncore.asynchat.async_chat")


def test_package_has_no_other_attributes() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'asyncorn'"):
        cyncore.asyncorn  # type: ignore[attr-defined]  # noqa: B018


def test_importing_the_package_binds_nothing() -> None:
    run_script(
        "import sys; before = list(sys.meta_path)\nimport cyncore\n"
        "assert not {'asyncore', 'asynchat', 'smtpd', 'cyncore.asynchat', 'cyncore.smtpd'} & set(sys.modules)\n"
        "assert not {'waitress.wasyncore', 'cyncore.wasyncore', 'cyncore._install', 'logging'} & set(sys.modules)\n"
        "assert sys.meta_path == before\n"
    )


def test_second_call_does_nothing() -> None:
    run_script(
        "import cyncore, sys; cyncore.install(); before = list(sys.meta_path); import smtpd\n"
        "cyncore.install(); cyncore.install(replace=True)\n"
        "assert sys.meta_path == before and sys.modules['smtpd'] is smtpd is cyncore.smtpd\n"
    )


def test_smtpd_is_imported_when_it_is_asked_for() -> None:
    run_script(
        "import cyncore, sys; cyncore.install()\n"
        "assert {'asyncore', 'asynchat'} <= set(sys.modules) and not {'smtpd', 'cyncore.smtpd'} & set(sys.modules)\n"
        "import smtpd; assert smtpd is sys.modules['cyncore.smtpd']\n"
    )


def test_smtpd_that_is_there_already_is_bound_at_once() -> None:
    run_script(
        "import cyncore.smtpd, sys; cyncore.install(); assert sys.modules['smtpd'] is cyncore.smtpd\n"
        "import runpy; assert runpy.run_module('smtpd')['__package__'] == 'cyncore'\n"
    )


@pytest.mark.parametrize("name", ["asyncore", "asynchat", "smtpd"])
def test_name_that_was_taken_out_gives_the_same_module_again(name: str) -> None:
    run_script(
        f"import cyncore, sys; cyncore.install(); import {name} as first\n"
        f"del sys.modules[{name!r}]; import {name} as second\nassert first is second\n"
    )


def test_name_that_was_barred_is_bound() -> None:
    run_script("import cyncore, sys; sys.modules['asynchat'] = None; cyncore.install(); import asynchat")


# What else programs do with a module


@pytest.mark.parametrize("name", ["asyncore", "asynchat", "smtpd"])
def test_module_is_found_reloaded_and_run(name: str) -> None:
    run_script(
        "import cyncore, importlib.util, inspect, pathlib, runpy; cyncore.install()\n"
        f"assert importlib.util.find_spec({name!r}).origin == importlib.util.find_spec('cyncore.{name}').origin\n"
        f"assert runpy.run_module({name!r}, alter_sys=True)['__package__'] == 'cyncore'\n"
        f"import {name} as module\n"
        f"assert runpy.run_module({name!r}, alter_sys=True)['__package__'] == 'cyncore'\n"
        f"assert (module.__name__, module.__spec__.name) == ('cyncore.{name}', 'cyncore.{name}')\n"
        f"assert inspect.getsource(module) == pathlib.Path(module.__file__).read_text()\n"
        f"assert importlib.reload(module) is module is cyncore.{name}\n"
    )


def test_loader_of_a_name_has_the_source_and_the_file() -> None:
    run_script(
        "import cyncore, importlib.util, pathlib; cyncore.install()\n"
        "loader = importlib.util.find_spec('smtpd').loader\n"
        "assert loader.get_filename('smtpd') == cyncore.smtpd.__file__ and not loader.is_package('smtpd')\n"
        "assert loader.get_source('smtpd') == pathlib.Path(cyncore.smtpd.__file__).read_text()\n"
    )


def test_loader_of_a_name_can_be_copied() -> None:
    run_script(
        "import copy, cyncore; cyncore.install()\n"
        "loader = cyncore.asyncore.__spec__.loader\n"
        "assert copy.copy(loader).path == loader.path == cyncore.asyncore.__file__\n"
    )


def test_star_import_gives_the_public_names() -> None:
    run_script("import cyncore; cyncore.install()\nfrom asyncore import *\nassert dispatcher is cyncore.dispatcher\n")


def test_patched_name_is_patched_in_the_module_and_put_back() -> None:
    run_script(
        "import cyncore; cyncore.install(); from unittest import mock\n"
        "loop = cyncore.asyncore.loop\n"
        "with mock.patch('asyncore.loop') as fake: assert cyncore.asyncore.loop is fake\n"
        "assert cyncore.asyncore.loop is loop\n"
    )


def test_pickle_of_the_old_module_is_read() -> None:
    run_script(
        "import cyncore, pickle; cyncore.install(); assert pickle.loads(b'casyncore\\nExitNow\\n.') is cyncore.ExitNow"
    )


@pytest.mark.parametrize(
    "option", ["-I", "-S", "-E", pytest.param("-P", marks=pytest.mark.skipif("sys.version_info < (3, 11)"))]
)
def test_options_of_the_interpreter_do_not_matter(option: str) -> None:
    run_script(
        f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r})\nimport cyncore; cyncore.install()\n"
        "import asyncore, smtpd; assert asyncore is cyncore.asyncore and smtpd is cyncore.smtpd\n",
        option,
    )


def test_names_are_bound_to_modules_in_an_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for file in PACKAGE.rglob("*.py"):
            archive.write(file, f"cyncore/{file.relative_to(PACKAGE).as_posix()}")
    run_script(
        f"import sys; sys.path.insert(0, {str(tmp_path / 'all.zip')!r})\nimport cyncore, runpy; cyncore.install()\n"
        "import smtpd; assert 'all.zip' in smtpd.__file__ and smtpd is cyncore.smtpd\n"
        "assert runpy.run_module('asyncore')['__package__'] == 'cyncore'\n"
    )


def test_threads_that_import_at_once_get_one_module() -> None:
    run_script(
        "import cyncore, sys, threading; cyncore.install(); sys.setswitchinterval(1e-6)\n"
        "gate, got = threading.Barrier(8), []\n"
        "def work():\n    gate.wait()\n    import smtpd\n    got.append((smtpd, smtpd.SMTPServer))\n"
        "threads = [threading.Thread(target=work) for _ in range(8)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "assert got == [(cyncore.smtpd, cyncore.smtpd.SMTPServer)] * 8\n"
    )


def test_threads_that_install_at_once_install_once() -> None:
    run_script(
        "import cyncore, sys, threading; before = len(sys.meta_path); sys.setswitchinterval(1e-6)\n"
        "gate, done = threading.Barrier(8), []\n"
        "def work():\n    gate.wait()\n    cyncore.install()\n    import asyncore\n    done.append(asyncore)\n"
        "threads = [threading.Thread(target=work) for _ in range(8)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "assert done == [cyncore.asyncore] * 8 and len(sys.meta_path) == before + 1\n"
    )


# Other copies


def test_copies_that_were_only_imported_are_replaced(copies: str) -> None:
    run_script(
        f"{copies}for name in 'asyncore', 'asynchat': assert __import__(name) is not None\n"
        "assert 'cyncore' not in sys.modules['asynchat'].async_chat.__module__\n"
        "cyncore.install(); import asyncore, asynchat\n"
        "assert (asyncore, asynchat) == (cyncore.asyncore, cyncore.asynchat)\n"
    )


@pytest.mark.skipif("sys.version_info >= (3, 12)", reason="the standard library has none")
def test_standard_library_s_own_are_replaced_and_found_no_more() -> None:
    run_script(
        "import warnings\n"
        "with warnings.catch_warnings():\n    warnings.simplefilter('ignore'); __import__('smtpd')\n"
        "import cyncore; cyncore.install()\n"
        "import asyncore, asynchat, smtpd\n"
        "assert (asyncore, asynchat, smtpd) == (cyncore.asyncore, cyncore.asynchat, cyncore.smtpd)\n"
    )


@not_measured("it holds the names of __main__ as well")
@pytest.mark.parametrize(
    ("use", "told"),
    [
        ("import asyncore", "modules that hold it or a part of it: __main__ (asyncore)"),
        ("from asyncore import loop as run", "modules that hold it or a part of it: __main__ (run)"),
        ("from asyncore import socket_map", "modules that hold it or a part of it: __main__ (socket_map)"),
        ("import asynchat", "modules that hold it or a part of it: __main__ (asynchat)"),
        ("kept = [type('Mine', (__import__('asyncore').dispatcher,), {})]", "classes derived from it: __main__.Mine"),
        ("kept = [type('Chat', (__import__('asynchat').async_chat,), {})]", "classes derived from it: __main__.Chat"),
        ("kept = [__import__('asyncore').dispatcher()]", "instances of its classes: asyncore.dispatcher"),
        ("__import__('asyncore').socket_map[3] = object()", "1 in its socket_map: builtins.object"),
    ],
)
def test_copy_in_use_is_not_replaced(copies: str, use: str, told: str) -> None:
    assert f"    {told}\n" in refusal(copies + use)


def test_refusal_names_the_copies_their_files_and_the_remedy(copies: str, tmp_path: Path) -> None:
    said = refusal(f"{copies}import asyncore, asynchat")
    assert said.startswith("another copy of asyncore, asynchat is in use")
    assert f"asyncore is {tmp_path / 'asyncore.py'}:" in said
    assert f"asynchat is {tmp_path / 'asynchat.py'}:" in said
    assert "python -m cyncore" in said
    assert "install(replace=True)" in said


def test_refusal_names_the_distribution(copies: str, tmp_path: Path) -> None:
    info = tmp_path / "old_asyncore-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: old-asyncore\nVersion: 1.5\n")
    (info / "top_level.txt").write_text("asyncore\n")
    (info / "RECORD").write_text("asyncore.py,,\n")
    assert f"asyncore is {tmp_path / 'asyncore.py'} (old-asyncore 1.5):" in refusal(f"{copies}import asyncore")


def test_refusal_shows_three_of_many(copies: str) -> None:
    said = refusal(f"{copies}import asyncore\nkept = [type(f'C{{n}}', (asyncore.dispatcher,), {{}}) for n in range(9)]")
    assert "__main__.C0, __main__.C1, __main__.C2 and 6 more\n" in said


def test_refusal_can_be_read_by_a_program(copies: str) -> None:
    run_script(
        f"{copies}import asyncore\n"
        "try: cyncore.install()\n"
        "except RuntimeError as error: assert list(error.uses) == ['asyncore'] and len(error.uses['asyncore']) == 1\n"
        "else: raise AssertionError\n"
    )


def test_refused_install_binds_none_of_the_names(copies: str) -> None:
    run_script(
        f"{copies}import asynchat; old, before = dict(sys.modules), list(sys.meta_path)\n"
        "try: cyncore.install()\nexcept cyncore.InstallError: pass\n"
        "for name in 'asyncore', 'asynchat', 'smtpd': assert sys.modules.get(name) is old.get(name)\n"
        "assert sys.meta_path == before\n"
    )


def test_class_that_is_gone_is_no_use(copies: str) -> None:
    run_script(
        f"{copies}import gc; gc.disable(); import asyncore\n"
        "class Mine(asyncore.dispatcher): pass\n"
        "del Mine, asyncore; cyncore.install()\n"
    )


def test_replacing_leaves_the_other_copy_to_who_holds_it(copies: str) -> None:
    run_script(
        f"{copies}import asyncore as old\nclass Mine(old.dispatcher): pass\n"
        "cyncore.install(replace=True); import asyncore\n"
        "assert asyncore is cyncore.asyncore is not old and not issubclass(Mine, asyncore.dispatcher)\n"
    )


def test_copy_that_is_being_imported_is_in_use(copies: str, tmp_path: Path) -> None:
    (tmp_path / "smtpd.py").write_text("import cyncore; cyncore.install()")
    said = run_script(f"{copies}try: import smtpd\nexcept cyncore.InstallError as error: print(error)")
    assert "    it is being imported at this moment\n" in said


def test_module_that_is_no_module_is_replaced(copies: str) -> None:
    run_script(
        f"{copies}sys.modules['asyncore'] = type('Fake', (), {{'__slots__': ()}})()\n"
        "cyncore.install(); import asyncore; assert asyncore is cyncore.asyncore\n"
    )


def test_lazy_module_of_the_program_is_not_imported_by_the_search(copies: str, tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text("print('imported')")
    script = (
        "import asyncore, importlib.util\n"
        "spec = importlib.util.find_spec('late'); spec.loader = importlib.util.LazyLoader(spec.loader)\n"
        "late = sys.modules['late'] = importlib.util.module_from_spec(spec); spec.loader.exec_module(late)\n"
    )
    assert "imported\n" not in refusal(copies + script)


def test_copies_elsewhere_are_left_alone(copies: str, tmp_path: Path) -> None:
    (tmp_path / "vendored").mkdir()
    (tmp_path / "vendored" / "__init__.py").write_text("from . import asyncore")
    (tmp_path / "vendored" / "asyncore.py").write_text(OLD_ASYNCORE)
    run_script(f"{copies}import vendored; cyncore.install(); import asyncore; assert vendored.asyncore is not asyncore")


def test_script_is_told_what_python_this_is() -> None:
    """The tests above mean what they say only if the scripts run in this Python, with this cyncore."""
    said = run_script("import cyncore, sys; print(sys.executable, cyncore.__file__, cyncore.native)")
    assert said == f"{sys.executable} {cyncore.__file__} {cyncore.native}\n"
