# SPDX-License-Identifier: MIT
"""Who provides a module: the file that an import finds, and the distribution that installed it.

For messages only: reading the metadata of everything that is installed takes its time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.machinery import PathFinder


def distribution_of(name: str, path: str) -> str | None:
    """The distribution that installed the file ``path`` of the module ``name``, with its version.

    None where none did, or none says so.
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
    """One line for each module of an installed cyncore-shim that another one hides on ``path``, with the remedy."""
    from importlib import metadata

    try:
        shim = metadata.distribution("cyncore-shim")
    except metadata.PackageNotFoundError:
        return
    for file in shim.files or []:
        if file.suffix != ".py" or len(file.parts) != 1:
            continue
        # Of the path alone: what is in `sys.modules`, or bound by install(), says nothing of the next program.
        found = PathFinder.find_spec(file.stem, path)
        origin = found.origin if found is not None else None
        if origin is not None and os.path.realpath(origin) != os.path.realpath(str(shim.locate_file(file))):
            other = described(file.stem, origin)
            yield f"cyncore-shim {shim.version} is hidden: import {file.stem} finds {other}; uninstall that"
