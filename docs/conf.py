# SPDX-License-Identifier: MIT
"""The site of the documentation: ``nox -s docs`` builds it, and finds every link in it that leads nowhere.

The pages are Markdown, and read as well where the repository is looked at: a link in them is the path of a file. Here
such a path becomes the page that the file is on the site, or its address in the repository. What only the site has,
its front page and the reference, is reStructuredText.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from pathlib import Path
from runpy import run_path
from typing import Any

from sphinx.pycode import ModuleAnalyzer

os.environ.setdefault("CYNCORE_BACKEND", "python")  # whose methods have signatures, and which needs no compiler

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT / "src"))

project = "cyncore"
author = "the contributors to cyncore"
release = run_path(str(ROOT / "src/cyncore/_version.py"))["__version__"]
version = release
language = "en"

extensions = ["sphinx.ext.autodoc", "myst_parser", "sphinx_copybutton"]
exclude_patterns = ["_build", "README.md"]
smartquotes = False  # docstrings quote what a program writes

html_theme = "furo"
html_theme_options = {"navigation_with_keys": True}
html_title = f"cyncore {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/icon.svg"
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
html_last_updated_fmt = None  # two builds of the same files are the same
copybutton_exclude = ".linenos, .gp, .go"
pygments_style = "friendly"
pygments_dark_style = "one-dark"

myst_heading_anchors = 4

# Docstrings name what they speak of in single backticks: a link where the reference has it, else only its name.
default_role = "py:obj"
# What is not in this reference: names of the standard library, whose own site is not asked, and types of the package.
nitpick_ignore_regex = [
    ("py:obj", r".*"),
    ("py:class", r"(?!cyncore\.[A-Za-z]).*"),
    ("py:exc", r"(?!cyncore\.).*"),
]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
# These look for the source of a class in the public module, where it is not.
autodoc_preserve_defaults = False
autodoc_use_type_comments = False
add_module_names = False
python_maximum_signature_line_length = 80
toc_object_entries_show_parents = "hide"

# Files outside of docs/, and the pages that have their text on the site
PAGES = {
    ROOT / "CHANGELOG.md": "project/changelog",
    ROOT / "CONTRIBUTING.md": "project/contributing",
    ROOT / "SECURITY.md": "project/security",
    ROOT / "benchmarks/README.md": "project/benchmarks",
    ROOT / "examples/README.md": "project/examples",
}
FRONT = (ROOT / "README.md", DOCS / "README.md")
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?![a-z]+:|#)([^)\s]+)\)")
TITLE = re.compile(r"# (.+)")
REPOSITORY = run_path(str(DOCS / "readme.py"))["repository"]()
WITH_ENTRIES = run_path(str(DOCS / "sought.py"))["with_entries"]


def with_links_of_the_site(text: str, folder: Path, page: str) -> str:
    """``text``, of a file in ``folder``, with links that lead from ``page`` of the site.

    A page that is called by the name of its file is called by its title there. Where the repository is not known, what
    leads to a file of it is no link.
    """
    here = (DOCS / page).parent

    def link(match: re.Match[str]) -> str:
        name, _, anchor = match[2].partition("#")
        file = (folder / name).resolve()
        if not file.exists():
            return match[0]  # Sphinx reports it
        if file in FRONT:
            target = os.path.relpath(DOCS / "index.rst", here) + (anchor and f"#{anchor}")
        elif file in PAGES or (DOCS in file.parents and file.suffix in (".md", ".svg", ".png")):
            target = os.path.relpath(DOCS / f"{PAGES[file]}.md" if file in PAGES else file, here)
            target += anchor and f"#{anchor}"
            if file.suffix == ".md" and match[1].rpartition("/")[2] == file.name != "README.md":
                return f"[{TITLE.match(file.read_text(encoding='utf-8'))[1]}]({target})"
        elif REPOSITORY is not None:
            url, commit = REPOSITORY
            target = f"{url}/{'tree' if file.is_dir() else 'blob'}/{commit}/{file.relative_to(ROOT)}"
        else:
            return match[1]
        return f"[{match[1]}]({target})"

    return LINK.sub(link, text)


def source_read(app: Any, page: str, source: list[str]) -> None:
    """What Sphinx calls with the text of each page."""
    if not (DOCS / f"{page}.md").exists():
        return
    file = next((file for file, name in PAGES.items() if name == page), DOCS / f"{page}.md")
    for read in (file, DOCS / "sought.py"):
        app.env.note_dependency(str(read))
    text = WITH_ENTRIES(file.read_text(encoding="utf-8"), page)
    source[0] = with_links_of_the_site(text, file.parent, page)


# Public classes say that they are in the public module; their sources, with what is said of attributes, are here.
SOURCES = {
    "cyncore": [
        *("_dispatcher", "_datagram", "_framing", "_inspection", "_rules", "_install/error"),
        *("_net/process", "_net/server", "_stream/stream", "_stream/tls"),
        *("_python/loop", "_python/services", "_python/hosted", "_python/dispatch", "_python/inspection"),
        *("_python/channel", "_python/calls", "_python/registry"),
    ],
    "cyncore.asyncore": ["asyncore", "_dispatcher"],
    "cyncore.asynchat": ["_async_chat", "_plain_chat"],
    "cyncore.smtpd": ["_smtp/server", "_smtp/options", "_smtp/channel", "_smtp/session", "_smtp/proxy"],
}


def read_sources() -> None:
    """Has autodoc find the sources."""
    for module, names in SOURCES.items():
        files = [ROOT / f"src/cyncore/{name}.py" for name in names]
        text = "\n".join(file.read_text(encoding="utf-8") for file in files)
        ModuleAnalyzer.cache["module", module] = ModuleAnalyzer.for_string(text, module)


# What the stub of Loop calls by names of its own
SHOWN = {"_Made": "Any", "Listening": "Server", "ServingStats": "Any"}


def stub_signatures() -> dict[str, tuple[str, str]]:
    """The arguments of the methods of Loop, and what they return, as its stub has them."""
    tree = ast.parse((ROOT / "src/cyncore/_native/loop.pyi").read_text(encoding="utf-8"))
    (loop,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Loop")
    found = {}
    for node in loop.body:
        if isinstance(node, ast.FunctionDef) and node.returns is not None:
            del node.args.args[:1]  # self
            texts = (ast.unparse(node.args), ast.unparse(node.returns))
            shown = [re.sub(r"\w+", lambda match: SHOWN.get(match[0], match[0]), text) for text in texts]
            found[f"cyncore.Loop.{node.name}"] = (f"({shown[0]})", shown[1])
    return found


SIGNATURES = stub_signatures()


def signature(
    app: Any, kind: str, name: str, what: Any, options: Any, shown: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """The signature from the stub, for a method that passes its options on without naming them."""
    return SIGNATURES[name] if shown is not None and "**options" in shown and name in SIGNATURES else (shown, returned)


COMPILED = run_path(str(DOCS / "compiled.py"))["Docstrings"]()


def docstring(app: Any, kind: str, name: str, what: Any, options: Any, lines: list[str]) -> None:
    """In place of what the plain engine says of itself, what the compiled one does, which is the one in use."""
    function = what.fget if isinstance(what, property) else what
    if kind != "class" and not getattr(function, "__module__", "").startswith("cyncore._python"):
        return
    names = getattr(function, "__qualname__", ""), ".".join(name.split(".")[-2:])  # a base may be in one engine only
    text = next(filter(None, map(COMPILED.of, names)), None)
    if text is not None:
        lines[:] = [*text.splitlines(), ""]


def setup(app: Any) -> None:
    """What Sphinx calls when it has read this file."""
    read_sources()
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-process-docstring", docstring)
    app.connect("source-read", source_read)
