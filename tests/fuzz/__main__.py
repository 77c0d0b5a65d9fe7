# SPDX-License-Identifier: MIT
"""Looks for an input that is not treated as it must be: ``python -m tests.fuzz TARGET --seconds 300``.

Inputs are those of the corpus, changed at random; the same seed makes the same inputs. With ``--atheris`` (PyPI) it is
led by what the engine in plain Python runs. An input that fails is written to the working folder, and shown.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
import traceback
from pathlib import Path
from types import ModuleType

from tests.fuzz.mutation import Mutation

CORPUS = Path(__file__).parent / "corpus"
TARGETS = ("framing", "terminators", "proxy_header", "smtp")
MOST = 5  # findings, after which it ends


def corpus(name: str) -> list[bytes]:
    """The inputs of the tree, in the order of their names."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


def target(name: str) -> ModuleType:
    return importlib.import_module(f"tests.fuzz.{name}")


def search(name: str, seconds: float, seed: int, folder: Path) -> int:
    """Tries inputs for so long. Returns how many have failed."""
    module = target(name)
    mutation = Mutation(corpus(name), module.TOKENS, seed)
    count, findings, end, begun = 0, set[str](), time.monotonic() + seconds, time.monotonic()
    while time.monotonic() < end and len(findings) < MOST:
        data = mutation.next()
        count += 1
        try:
            module.run(data)
        except Exception as error:
            place = "".join(traceback.format_tb(error.__traceback__)[-1:])
            if place not in findings:
                findings.add(place)
                path = folder / f"{name}-{count}.input"
                path.write_bytes(data)
                print(f"{path}: {data!r}", "".join(traceback.format_exception(error)), sep="\n", flush=True)
    passed = time.monotonic() - begun
    print(f"{name}: {count:,} inputs in {passed:.0f} s ({count / passed:,.0f} a second), seed {seed}; "
          f"{len(findings)} findings")  # fmt: skip
    return len(findings)


def led(name: str, seconds: float, seed: int, folder: Path) -> None:
    """The same, led by coverage. Ends the process."""
    import atheris  # type: ignore[import-not-found]

    with atheris.instrument_imports(include=["cyncore", "cyncore_in_python"], enable_loader_override=False):
        from tests.fuzz.engines import engines

        for engine in engines():
            importlib.import_module(f"{engine.package.__name__}.smtpd")
        module = target(name)
    known = folder / f"{name}-corpus"
    known.mkdir(exist_ok=True)
    words = [sys.argv[0], f"-max_total_time={int(seconds)}", f"-seed={seed or 1}", "-max_len=4096"]
    words += ["-print_final_stats=1", f"-artifact_prefix={folder}{os.sep}{name}-", str(known), str(CORPUS / name)]
    atheris.Setup(words, module.run)
    atheris.Fuzz()


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=[*TARGETS, "all"])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long, for each target (60)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path(), help="where inputs that fail are written")
    parser.add_argument("--atheris", action="store_true", help="be led by coverage (one target)")
    options = parser.parse_args(words)
    names = TARGETS if options.target == "all" else (options.target,)
    if options.atheris:
        led(names[0], options.seconds, options.seed, options.folder)
    return 1 if sum(search(name, options.seconds, options.seed, options.folder) for name in names) else 0


if __name__ == "__main__":
    sys.exit(main())
