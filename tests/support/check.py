# SPDX-License-Identifier: MIT
"""Programs that are written for the tests of ``python -m cyncore check``, and what it finds in them."""

from __future__ import annotations

from pathlib import Path

from cyncore._check import check
from cyncore._check.rule import Finding

HEAD = "import asyncore, asynchat, smtpd, socket, threading, queue\n"


def findings(folder: Path, **files: str) -> list[Finding]:
    """All that is found where ``name=source`` are the files; two underscores in a name stand for a package."""
    for name, source in files.items():
        path = folder.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        for parent in path.parents:
            if parent == folder:
                break
            (parent / "__init__.py").touch()
        path.write_text(source, encoding="utf-8")
    return check([str(folder)]).findings


def told(folder: Path, *codes: str, base: str = "asyncore.dispatcher", **parts: str) -> list[str]:
    """``code message; remedy`` of what is found by those rules in a class of that base.

    ``body`` is what its body holds, and ``tail`` what follows it in the file.
    """
    body = "\n".join(f"    {line}" for line in parts["body"].splitlines())
    source = f"{HEAD}class C({base}):\n{body}\n{parts.get('tail', '')}\n"
    return [f"{one.code} {one.message}; {one.remedy}" for one in findings(folder, main=source) if one.code in codes]


def found(folder: Path, *codes: str, **files: str) -> list[str]:
    """``file:line code`` of what is found, notes left out unless they are named in ``codes``."""
    return [
        f"{Path(one.path).stem}:{one.line} {one.code}"
        for one in findings(folder, **files)
        if (one.code in codes if codes else one.rule.severity != "note")
    ]
