# SPDX-License-Identifier: MIT
"""The site of the documentation has every page and every public name; ``nox -s docs`` builds it."""

from __future__ import annotations

import fnmatch
import importlib
import inspect
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cyncore
from cyncore import asynchat, asyncio, smtpd
from tests.support.docs import PAGES, ROOT

DOCS = ROOT / "docs"
COMPILED = ("loop", "calls", "channel", "stream", "outbox", "datagram")
REFERENCE = "\n".join(path.read_text(encoding="utf-8") for path in sorted((DOCS / "reference").glob("*.rst")))


def entries(page: Path) -> list[str]:
    """What the contents of a page list."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"^\.\. toctree::\n(?:   :.*\n)*\n((?:   \S+\n)+)", text, flags=re.MULTILINE)
    return " ".join(found).split()


def test_front_page_leads_to_every_page() -> None:
    listed = entries(DOCS / "index.rst")
    pages = {page.removeprefix("docs/")[:-3] for page in PAGES if page.startswith("docs/")} - {"README"}
    pages |= {f"project/{path.stem}" for path in (DOCS / "project").glob("*.md")} | {"reference/index"}
    assert {page for page in pages if not any(fnmatch.fnmatch(page, pattern) for pattern in listed)} == set()


def test_reference_leads_to_each_of_its_pages() -> None:
    pages = {path.stem for path in (DOCS / "reference").glob("*.rst")} - {"index"}
    assert set(entries(DOCS / "reference/index.rst")) == pages


@pytest.mark.parametrize(
    "names",
    [
        [name for name in cyncore.__all__ if not name.startswith("_")],
        asyncio.__all__,
        smtpd.__all__,
        [asynchat.async_chat.__name__, asynchat.simple_producer.__name__, asynchat.find_prefix_at_end.__name__],
    ],
    ids=["cyncore", "asyncio", "smtpd", "asynchat"],
)
def test_reference_has_every_public_name(names: list[str]) -> None:
    directives = r"\.\. (?:auto(?:class|function|exception)|py:data):: (\w+)"
    assert set(names) - set(re.findall(directives, REFERENCE)) == set()


@pytest.fixture(scope="module")
def dead_links() -> Callable[[Path], list[str]]:
    found: Callable[[Path], list[str]] = runpy.run_path(str(DOCS / "links.py"))["dead_links"]
    return found


@pytest.mark.parametrize(
    ("link", "is_dead"),
    [
        ("other.html", False),
        ("other.html#place", False),
        ("#here", False),
        ("a%20picture.svg", False),
        ("https://example.org/gone", False),
        ("mailto:ann@example.org", False),
        ("gone.html", True),
        ("other.html#gone", True),
        ("#gone", True),
        ("../other.html", True),
    ],
)
def test_links_that_lead_nowhere_are_found(
    tmp_path: Path, dead_links: Callable[[Path], list[str]], link: str, is_dead: bool
) -> None:
    (tmp_path / "index.html").write_text(f'<a id="here" href="{link}">there</a>', encoding="utf-8")
    (tmp_path / "other.html").write_text('<p id="place">', encoding="utf-8")
    (tmp_path / "a picture.svg").touch()
    assert dead_links(tmp_path) == ([f"index.html: {link}"] if is_dead else [])


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What docs/conf.py defines."""
    pytest.importorskip("sphinx")
    monkeypatch.setenv("CYNCORE_BACKEND", "")  # it sets one
    monkeypatch.syspath_prepend(str(ROOT / "src"))
    return runpy.run_path(str(DOCS / "conf.py"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[a page](streams.md#tls)", "[a page](../streams.md#tls)"),
        ("[a page](../CHANGELOG.md)", "[a page](changelog.md)"),
        ("[the examples](../examples/README.md)", "[the examples](examples.md)"),
        ("[streams.md](streams.md)", "[Streams: servers and clients for new programs](../streams.md)"),
        ("[docs/loop.md](loop.md#rules)", "[The loop, for new programs](../loop.md#rules)"),
        ("[docs/streams.md](streams.md)", "[Streams: servers and clients for new programs](../streams.md)"),
        ("[home](../README.md)", "[home](../index.rst)"),
        ("[a part](../README.md#part)", "[a part](../index.rst#part)"),  # which is not there: Sphinx reports it
        ("![a chart](benchmarks/echo.svg)", "![a chart](benchmarks/echo.svg)"),
        ("[elsewhere](https://example.org/)", "[elsewhere](https://example.org/)"),
        ("[gone](gone.md)", "[gone](gone.md)"),
    ],
)
def test_links_between_files_are_links_between_pages(settings: dict[str, Any], text: str, shown: str) -> None:
    assert settings["with_links_of_the_site"](text, DOCS, "project/security") == shown


@pytest.mark.parametrize(
    ("repository", "shown"),
    [
        (("https://example.org/owner/name", "c0ffee"), "[it](https://example.org/owner/name/blob/c0ffee/setup.py)"),
        (None, "it"),
    ],
)
def test_link_to_a_source_leads_into_the_repository(
    settings: dict[str, Any], repository: tuple[str, str] | None, shown: str
) -> None:
    rewrite = settings["with_links_of_the_site"]
    rewrite.__globals__["REPOSITORY"] = repository
    assert rewrite("[it](../setup.py)", DOCS, "loop") == shown


@pytest.fixture(scope="module")
def sought() -> dict[str, Any]:
    """What docs/sought.py defines."""
    return runpy.run_path(str(DOCS / "sought.py"))


def test_words_that_readers_search_for_belong_to_headings_that_there_are(sought: dict[str, Any]) -> None:
    for page, sections in sought["SOUGHT"].items():
        text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
        assert sought["with_entries"](text, page).count("```{index} ! ") == len(sections)


def test_words_of_a_section_come_before_its_heading(sought: dict[str, Any]) -> None:
    sought["SOUGHT"]["page"] = {"A page": ["pages"], "A part": ["parts", "pieces"]}
    assert sought["with_entries"]("# A page\n\n## A part\n", "page") == (
        "# A page\n\n```{index} ! pages\n```\n\n\n```{index} ! parts, ! pieces\n```\n\n## A part\n"
    )


def test_words_of_a_heading_that_is_gone_are_refused(sought: dict[str, Any]) -> None:
    sought["SOUGHT"]["page"] = {"Gone": ["pages"]}
    with pytest.raises(ValueError, match="page has no section 'Gone'"):
        sought["with_entries"]("# A page\n", "page")


METHODS = [
    *("Loop", "Loop.run", "Loop.listen", "Loop.call_soon", "Loop.spin_guard", "Loop.stats", "Handle", "Handle.cancel"),
    *("TimerHandle", "TimerHandle.when", "Channel", "Channel.recv", "Channel.connected", "Channel.pause_reading"),
    *("StreamChannel.write", "StreamChannel.unread", "StreamChannel.close", "DatagramChannel.send"),
    *("OutboxChannel.send", "OutboxChannel.out_buffer"),
]


@pytest.mark.skipif(not cyncore.native, reason="the compiled engine is not in use")
@pytest.mark.parametrize("name", METHODS)
def test_docstrings_of_the_compiled_engine_are_read_from_its_sources(name: str) -> None:
    kind, _, method = name.partition(".")
    modules = [importlib.import_module(f"cyncore._native.{module}") for module in COMPILED]
    (found,) = {vars(module)[kind] for module in modules if kind in vars(module)}
    text = inspect.getdoc(getattr(found, method) if method else found)
    assert text is not None
    assert runpy.run_path(str(DOCS / "compiled.py"))["Docstrings"]().of(name) == text
