# SPDX-License-Identifier: MIT
"""Who imports whom in the package: arrows point down only, and no circle.

Every import is read, wherever it stands: inside a function, under ``TYPE_CHECKING``, a ``cimport``, or one in a stub.
What is imported by a name that is computed is not seen: the names of the old modules, which `install` binds.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = next(folder for folder in Path(__file__).parents if (folder / "src" / "cyncore").is_dir())
PACKAGE = ROOT / "src" / "cyncore"

# From the top down. A module may import those of the rows below its own, and of its own row. A folder stands for all
# that is in it.
LAYERS = (
    ("faces", "__init__ __main__ asynchat asyncio asyncore capi smtpd wasyncore"),
    ("what the faces are made of", "_smtp _check _net _stats _hosting"),
    ("who has the old names", "_install"),
    ("the thin classes", "_async_chat _datagram _deadlines _dispatcher _stream _tls"),
    ("which engine", "_engine"),
    ("the compiled engine", "_native"),
    ("the engine in plain Python", "_python _plain_chat"),
    (
        "what both engines share",
        (
            "_attributes _descriptor _destination _framing _inspection _spin _stuck _watchdog"
            " _rules _report _patched _version"
        ),
    ),
    ("what Cython knows of csrc", "_native.csrc"),
)


# Reading


def name_of(path: Path, top: Path) -> str:
    """``_check.rules.loops`` for ``_check/rules/loops.py``, and the folder's name for an ``__init__`` in it."""
    parts = path.relative_to(top).with_suffix("").parts
    if len(parts) > 1 and parts[-1] == "__init__":
        parts = parts[:-1]
    return ".".join(parts)


def sources(top: Path) -> dict[str, list[Path]]:
    """The files of each module: its code, its stub and what other Cython modules know of it."""
    found: dict[str, list[Path]] = {}
    for path in sorted(top.rglob("*")):
        if path.suffix in (".py", ".pyi", ".pyx", ".pxd"):
            found.setdefault(name_of(path, top), []).append(path)
    return found


def from_python(text: str) -> Iterator[tuple[int, str, list[str]]]:
    """The imports in Python: how many dots, the module behind them, and the names that are taken out of it."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or "", [alias.name for alias in node.names]


CYTHON = re.compile(r"^[ \t]*(?:from[ \t]+(\.*)([\w.]*)[ \t]+)?c?import[ \t]+(\([^)]*\)|.*)", re.MULTILINE)


def from_cython(text: str) -> Iterator[tuple[int, str, list[str]]]:
    """The same for Cython, which `ast` cannot read. Text in triple quotes does not count."""
    text = re.sub(r'("""|\'\'\').*?\1', '""', text, flags=re.DOTALL)
    text = re.sub(r"#.*", "", text)
    for found in CYTHON.finditer(text):
        dots, module, rest = found.groups()
        names = [words.split()[0] for words in rest.strip("()\n ").split(",") if words.strip()]
        if module is None:
            yield from ((0, name, []) for name in names)
        else:
            yield len(dots), module, names


def imported(path: Path, top: Path, modules: set[str]) -> Iterator[str]:
    """The modules of the package that one file imports."""
    read = from_python if path.suffix in (".py", ".pyi") else from_cython
    inside = ("cyncore", *path.relative_to(top).parts[:-1])
    for dots, module, names in read(path.read_text(encoding="utf-8")):
        start = inside[: len(inside) - dots + 1] if dots else ()
        whole = [*start, *filter(None, module.split("."))]
        if whole[:1] != ["cyncore"]:
            continue
        target = ".".join(whole[1:])
        for name in names or [""]:
            inner = ".".join(filter(None, (target, name)))
            yield inner if inner in modules else target or "__init__"


def read_arrows(top: Path) -> dict[str, set[str]]:
    """Which modules of the package each of them imports."""
    files = sources(top)
    return {
        name: {other for path in paths for other in imported(path, top, set(files))} - {name}
        for name, paths in files.items()
    }


# Judging


def layer_of(module: str) -> int | None:
    """The row of a module: that of the longest pattern which names it, or a folder around it."""
    parts = module.split(".")
    outer = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    for name in outer:
        for row, (_, patterns) in enumerate(LAYERS):
            if any(fnmatch(name, pattern) for pattern in patterns.split()):
                return row
    return None


def upward(arrows: dict[str, set[str]]) -> list[str]:
    """The arrows that point to a row above their own, and those from or to a module without a row."""
    wrong = []
    for module, others in sorted(arrows.items()):
        row = layer_of(module)
        for other in sorted(others):
            below = layer_of(other)
            if row is None or below is None or below < row:
                wrong.append(f"{module} imports {other}")
    return wrong


def circles(arrows: dict[str, set[str]]) -> set[frozenset[str]]:
    """The sets of modules each of which imports, perhaps by way of others, all others of its set."""
    reach = {module: reached(module, arrows) for module in arrows}
    return {
        frozenset({other for other in reach[module] if module in reach.get(other, ())})
        for module in arrows
        if module in reach[module]
    }


def reached(start: str, arrows: dict[str, set[str]]) -> set[str]:
    """All that ``start`` imports, and what that imports, and so on."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        more = arrows.get(waiting.pop(), set()) - found
        found |= more
        waiting += more
    return found


@pytest.fixture(scope="module")
def arrows() -> dict[str, set[str]]:
    return read_arrows(PACKAGE)


def test_every_module_has_a_layer(arrows: dict[str, set[str]]) -> None:
    assert [module for module in arrows if layer_of(module) is None] == []


def test_no_import_points_upwards(arrows: dict[str, set[str]]) -> None:
    assert upward(arrows) == []


def test_no_modules_import_each_other_in_a_circle(arrows: dict[str, set[str]]) -> None:
    assert sorted(map(sorted, circles(arrows))) == []


# Does the reader see them?

SAMPLES = {
    "_dispatcher.py": "def late():\n    from . import asyncore\n",
    "asyncore.py": "from . import _dispatcher as classes\n",
    "_check/one.py": "TYPE_CHECKING = False\nif TYPE_CHECKING:\n    from .two import thing\n",
    "_check/two.py": "import cyncore._check.one\n",
    "_check/__init__.py": "from cyncore._check import one\n",
    "_native/loop.pyx": '"""\nfrom .fifo import docs\n"""\nfrom .channel cimport (\n    A,\n    B,\n)\ncimport other\n',
    "_native/channel.pxd": "from . cimport csrc as c, loop\n",
    "_native/csrc.pxd": "from libc.errno cimport errno  # and not from .loop cimport x\n",
    "nowhere.py": "import cyncore\n",
}
FOUND = {
    "_dispatcher": {"asyncore"},
    "asyncore": {"_dispatcher"},
    "_check.one": {"_check.two"},
    "_check.two": {"_check.one"},
    "_check": {"_check.one"},
    "_native.loop": {"_native.channel"},
    "_native.channel": {"_native.csrc", "_native.loop"},
    "_native.csrc": set(),
    "nowhere": {"__init__"},
}


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    for name, text in SAMPLES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def test_imports_of_every_form_are_read(sample: Path) -> None:
    assert read_arrows(sample) == FOUND


def test_circles_and_arrows_upwards_are_found() -> None:
    assert circles(FOUND) == {
        frozenset({"_dispatcher", "asyncore"}),
        frozenset({"_check.one", "_check.two"}),
        frozenset({"_native.loop", "_native.channel"}),
    }
    assert upward(FOUND) == ["_dispatcher imports asyncore", "nowhere imports __init__"]


def test_layers_are_those_of_the_table() -> None:
    rows = [layer_of(name) for name in ("smtpd", "_smtp.channel", "_install", "_dispatcher", "_engine", "_native.loop")]
    assert all(above < below for above, below in pairwise(rows) if above is not None and below is not None)
    assert layer_of("_native.csrc") == len(LAYERS) - 1
