# SPDX-License-Identifier: MIT
"""Where a module comes from: the file that an import finds, and the distribution that installed it.

Used for messages only, because reading the metadata of all installed distributions is slow.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.machinery import PathFinder


def distribution_of(name: str, path: str) -> str | None:
    """The distribution that installed the file ``path`` of the module ``name``, with its version.

    None where no installed distribution lists the file.
    """
    from importlib import metadata

    for candidate in dict.fromkeys(metadata.packages_distributions().get(name.partition(".")[0], [])):
        distribution = metadata.distribution(candidate)
        for file in distribution.files or []:
            if os.path.realpath(str(distribution.locate_file(file))) == os.path.realpath(path):
                return f"{candidate} {distribution.version}"
    return None


def described(name: str, path: str | None) -> str:
    """The file of a module in words, with the distribution where there is one."""
    if not isinstance(path, str):
        return "a module without a file"
    distribution = distribution_of(name, path)
    return f"{path} ({distribution})" if distribution else path


def hidden_shims(path: list[str]) -> Iterator[str]:
    """A line, with the remedy, for each module of an installed cyncore-shim that another one on ``path`` hides."""
    from importlib import metadata

    try:
        shim = metadata.distribution("cyncore-shim")
    except metadata.PackageNotFoundError:
        return
    for file in shim.files or []:
        if file.suffix != ".py" or len(file.parts) != 1:
            continue
        # Only the path is searched: what `sys.modules` has, or install() has bound, says nothing of the next program.
        found = PathFinder.find_spec(file.stem, path)
        origin = found.origin if found is not None else None
        if origin is not None and os.path.realpath(origin) != os.path.realpath(str(shim.locate_file(file))):
            other = described(file.stem, origin)
            yield f"cyncore-shim {shim.version} is hidden: import {file.stem} finds {other}; uninstall that"
