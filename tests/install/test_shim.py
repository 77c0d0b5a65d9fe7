# SPDX-License-Identifier: MIT
"""The distribution cyncore-shim, and what `pip install cyncore` alone may provide.

The wheels are built without the network, and unpacked as pip does; the scripts find them first on their path, so that
these tests run on Pythons with an asyncore of their own as well, on which pip does not install the shim.
"""

from __future__ import annotations

import email.message
import email.parser
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import cyncore
from tests.support.script import ENGINE_FOLDER, run_script

ROOT = Path(__file__).parents[2]
SHIM = ROOT / "src" / "cyncore-shim"
NAMES = ("asyncore", "asynchat", "smtpd")
SKIPPED = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "*.so", "*.c", "venv", "build", "dist", "tests")


def built(source: Path, folder: Path) -> Path:
    """The wheel of a copy of that source tree."""
    shutil.copytree(source, folder / "tree", ignore=SKIPPED)
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder / "dist", folder / "tree"],
        env={**os.environ, "CYNCORE_NO_EXTENSIONS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = (folder / "dist").iterdir()
    return wheel


def unpack(wheel: Path, site: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def provided(wheel: Path) -> set[str]:
    """What the wheel puts beside other distributions' files. Its manual page goes elsewhere."""
    names = zipfile.ZipFile(wheel).namelist()
    return {Path(name).parts[0] for name in names if ".dist-info/" not in name and ".data/data/share/man/" not in name}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(SHIM, tmp_path_factory.mktemp("shim"))


@pytest.fixture
def site(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the shim installed, first on the path of every script."""
    folder = unpack(wheel, tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), ENGINE_FOLDER]))
    return folder


def install_other(site: Path, distribution: str, name: str, version: str = "1.0.5") -> None:
    """Installs a stand-in for a distribution that has ``name`` as a package, as all of the known ones do."""
    (site / name).mkdir()
    (site / name / "__init__.py").write_text("socket_map = {}\nclass dispatcher: pass\nclass async_chat: pass\n")
    info = site / f"{distribution}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    (info / "top_level.txt").write_text(f"{name}\n")
    (info / "RECORD").write_text(f"{name}/__init__.py,,\n{info.name}/RECORD,,\n")


def uninstall_other(site: Path, distribution: str, name: str) -> None:
    shutil.rmtree(site / name)
    for info in site.glob(f"{distribution}-*.dist-info"):
        shutil.rmtree(info)


def python(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs Python with the path of the ``site`` fixture."""
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


# What the distributions hold


def test_cyncore_alone_provides_nothing_but_its_package(tmp_path: Path) -> None:
    assert provided(built(ROOT, tmp_path)) == {"cyncore"}


def test_shim_provides_the_three_modules_and_nothing_else(wheel: Path) -> None:
    assert provided(wheel) == {f"{name}.py" for name in NAMES}
    assert wheel.name == f"cyncore_shim-{cyncore.__version__}-py3-none-any.whl"


def test_shim_asks_for_python_and_cyncore_as_it_should(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata: email.message.Message = email.parser.BytesParser().parsebytes(archive.read(name))
    assert metadata["Requires-Python"] == ">=3.12"
    assert metadata.get_all("Requires-Dist") == [f"cyncore>={cyncore.__version__}"]
    assert metadata["Version"] == cyncore.__version__


def test_shim_carries_the_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/LICENSE"))
        assert archive.read(name) == (ROOT / "LICENSE").read_bytes()


def test_readme_of_the_shim_names_what_it_clashes_with() -> None:
    text = (SHIM / "README.md").read_text(encoding="utf-8")
    others = {"pyasyncore", "pyasynchat", "standard-asyncore", "standard-asynchat", "standard-smtpd"}
    assert {name for name in others if not re.search(rf"\b{name}\b", text)} == set()


# Importing it


def test_modules_are_cyncore_s_own(site: Path) -> None:
    run_script(
        "import asyncore, asynchat, smtpd, cyncore\n"
        "assert (asyncore, asynchat, smtpd) == (cyncore.asyncore, cyncore.asynchat, cyncore.smtpd)\n"
        "assert asyncore.socket_map is cyncore.socket_map and asyncore.dispatcher is cyncore.dispatcher\n"
    )


@pytest.mark.parametrize("name", NAMES)
def test_each_module_can_be_the_first(site: Path, name: str) -> None:
    run_script(f"import {name}, sys; assert {name} is sys.modules['cyncore.{name}'] is sys.modules[{name!r}]")


def test_importing_one_does_not_import_smtpd(site: Path) -> None:
    run_script("import asyncore, asynchat, sys; assert not {'smtpd', 'cyncore.smtpd'} & set(sys.modules)")


@pytest.mark.parametrize("name", NAMES)
def test_module_can_be_reloaded_and_run(site: Path, name: str) -> None:
    run_script(
        "import importlib, importlib.util, runpy\n"
        f"import {name} as module\nassert importlib.util.find_spec({name!r}).origin == module.__file__\n"
        f"assert runpy.run_module({name!r})['__package__'] == 'cyncore'\nassert importlib.reload(module) is module\n"
    )


def test_install_agrees_with_the_shim(site: Path) -> None:
    run_script("import asyncore, cyncore; cyncore.install(); import smtpd; assert asyncore is cyncore.asyncore")
    run_script("import cyncore; cyncore.install(); import smtpd; assert smtpd is cyncore.smtpd")


def test_thread_that_finds_it_half_imported_gets_cyncore_s_names(site: Path) -> None:
    run_script(
        "import sys, threading\n"
        "inside, got = threading.Event(), []\n"
        "class Slow:\n"  # makes the import that the shim waits for last until the other thread has begun
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'cyncore.asyncore':\n"
        "            other.start(); inside.wait(10)\n"
        "sys.meta_path.insert(0, Slow())\n"
        "def work():\n"
        "    inside.set()\n"
        "    import asyncore\n"
        "    got.append(asyncore)\n"
        "other = threading.Thread(target=work)\n"
        "import asyncore, cyncore\n"
        "other.join()\n"
        "assert asyncore is cyncore.asyncore and got[0].dispatcher is cyncore.dispatcher\n"
        "assert got[0].socket_map is cyncore.socket_map\n"
    )


def test_asyncore_and_asynchat_as_programs_do_nothing(site: Path) -> None:
    for name in NAMES[:2]:
        done = python("-W", "error", "-m", name)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_smtpd_runs_as_a_program(site: Path) -> None:
    old, new = python("-W", "error", "-m", "smtpd", "--version"), python("-m", "cyncore.smtpd", "--version")
    assert (old.returncode, old.stdout, old.stderr) == (new.returncode, new.stdout, new.stderr)
    assert old.returncode == 0


# Beside a distribution that provides the same names


def test_package_of_another_distribution_hides_the_shim(site: Path) -> None:
    install_other(site, "pyasyncore", "asyncore")
    run_script("import asyncore, cyncore; assert asyncore is not cyncore.asyncore")


def test_order_of_installing_does_not_matter(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    site.mkdir()
    install_other(site, "pyasyncore", "asyncore")
    unpack(wheel, site)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), ENGINE_FOLDER]))
    run_script("import asyncore, cyncore; assert asyncore is not cyncore.asyncore")


def test_other_distribution_that_goes_leaves_the_shim_whole(site: Path) -> None:
    install_other(site, "pyasyncore", "asyncore")
    uninstall_other(site, "pyasyncore", "asyncore")
    run_script("import asyncore, cyncore; assert asyncore is cyncore.asyncore")


@pytest.mark.parametrize("name", ["asynchat", "smtpd"])
def test_mixture_with_another_asyncore_warns_and_names_both(site: Path, name: str) -> None:
    install_other(site, "pyasyncore", "asyncore")
    said = run_script(
        "import warnings\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        f"    warnings.simplefilter('always')\n    import {name}\n"
        "(warning,) = caught\nprint(warning.category.__name__, warning.filename, warning.lineno, warning.message)\n"
    )
    assert said.startswith(f"RuntimeWarning <string> 4 {name} comes from cyncore-shim {cyncore.__version__} ")
    assert f"asyncore comes from {site / 'asyncore' / '__init__.py'} (pyasyncore 1.0.5)" in said
    assert "Uninstall" in said


def test_mixture_warns_once_a_process(site: Path) -> None:
    install_other(site, "pyasyncore", "asyncore")
    run_script(
        "import warnings\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n    import asyncore, asynchat, smtpd\n"
        "assert len(caught) == 1, caught\n"
    )


def test_mixture_with_an_asyncore_of_the_program_warns(site: Path, tmp_path: Path) -> None:
    (tmp_path / "asyncore.py").write_text("class dispatcher: pass\n")
    said = run_script(
        f"import sys, warnings; sys.path.insert(0, {str(tmp_path)!r})\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n    import asynchat\nprint(caught[0].message)\n"
    )
    assert f"asyncore comes from {tmp_path / 'asyncore.py'}, whose" in said


def test_mixture_with_an_asyncore_that_was_made_by_hand_warns(site: Path) -> None:
    said = run_script(
        "import sys, types, warnings; sys.modules['asyncore'] = types.ModuleType('asyncore')\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n    import asynchat\nprint(caught[0].message)\n"
    )
    assert "asyncore comes from a module made by hand, whose" in said


def test_asynchat_without_any_asyncore_is_no_mixture(site: Path) -> None:
    """Where somebody bars the name, nobody can wait in a loop of that name."""
    (site / "asyncore.py").unlink()
    finder = "type('Finder', (), {'find_spec': lambda self, name, *more: None})()"
    run_script(
        f"import sys, cyncore, importlib.util\nsys.path_importer_cache.clear(); sys.meta_path.append({finder})\n"
        f"kept = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *more: None if name == 'asyncore' else kept(name, *more)\n"
        "import asynchat; assert asynchat is cyncore.asynchat\n"
    )


def test_another_asynchat_on_cyncore_s_loop_is_no_mixture(site: Path) -> None:
    install_other(site, "pyasynchat", "asynchat")
    run_script(
        "import asyncore, asynchat, smtpd, cyncore; assert (asyncore, smtpd) == (cyncore.asyncore, cyncore.smtpd)"
    )


def test_install_wins_over_both(site: Path) -> None:
    install_other(site, "pyasyncore", "asyncore")
    run_script(
        "import cyncore; cyncore.install()\nimport asyncore, asynchat, smtpd\n"
        "assert (asyncore, asynchat, smtpd) == (cyncore.asyncore, cyncore.asynchat, cyncore.smtpd)\n"
    )


def test_version_tells_what_hides_the_shim(site: Path) -> None:
    install_other(site, "pyasyncore", "asyncore")
    install_other(site, "standard_smtpd", "smtpd", "3.13.0")
    version = f"cyncore-shim {cyncore.__version__} is hidden: import"
    done = python("-m", "cyncore", "--version")
    assert done.returncode == 0
    assert sorted(done.stdout.splitlines()[1:]) == [
        f"{version} asyncore finds {site / 'asyncore' / '__init__.py'} (pyasyncore 1.0.5); uninstall that",
        f"{version} smtpd finds {site / 'smtpd' / '__init__.py'} (standard_smtpd 3.13.0); uninstall that",
    ]


def test_version_does_not_take_the_current_folder_s_modules_for_installed_ones(site: Path, tmp_path: Path) -> None:
    (tmp_path / "asyncore.py").write_text("")
    assert len(python("-m", "cyncore", "--version", cwd=tmp_path).stdout.splitlines()) == 1


def test_version_has_nothing_to_tell_where_nothing_hides_the_shim(site: Path) -> None:
    assert len(python("-m", "cyncore", "--version").stdout.splitlines()) == 1
