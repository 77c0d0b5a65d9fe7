# SPDX-License-Identifier: MIT
"""README.md for a package index, which cannot resolve relative links. setup.py runs this at every build."""

from __future__ import annotations

import email
import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(!?)(\[[^\]]*\]\()(?!https?:)([^)\s]+)\)")
# A remote may carry a password, which must not be published: only host and path are kept.
REMOTES = (
    re.compile(r"https://(?:[^@/]*@)?([^/]+)/(.+?)(?:\.git)?/?"),
    re.compile(r"(?:ssh://)?[^@/]+@([^/:]+)(?::\d+/|[:/])(.+?)(?:\.git)?/?"),
)


def readme() -> str:
    """README.md with absolute links, or with relative ones if the repository is not known.

    An sdist keeps the links that it was built with, so that a wheel which is built from it has the same.
    """
    built = ROOT / "PKG-INFO"
    if built.exists():
        return str(email.message_from_string(built.read_text(encoding="utf-8")).get_payload())
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    source = repository()
    return text if source is None else absolute(text, *source)


def absolute(text: str, url: str, commit: str) -> str:
    """``text`` with its links leading to ``commit`` of the repository at ``url``."""

    def link(match: re.Match[str]) -> str:
        image, start, target = match.groups()
        if target.startswith("#"):
            target = f"README.md{target}"
        return f"{image}{start}{url}/{'raw' if image else 'blob'}/{commit}/{target})"

    return LINK.sub(link, text)


def repository() -> tuple[str, str] | None:
    """The URL and the commit of what is built: those of the CI run, else those of the checkout; None for neither."""
    server, name, commit = (os.environ.get(f"GITHUB_{key}") for key in ("SERVER_URL", "REPOSITORY", "SHA"))
    if server and name and commit:
        return f"{server}/{name}", commit
    if git("rev-parse", "--show-prefix") != "":  # no checkout, or a folder inside somebody else's
        return None
    remote, commit = git("remote", "get-url", "origin"), git("rev-parse", "HEAD")
    for form in REMOTES:
        if remote and commit and (found := form.fullmatch(remote)):
            return f"https://{found[1]}/{found[2]}", commit
    return None


def git(*words: str) -> str | None:
    """What git prints, or None if it fails or is not there."""
    try:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
