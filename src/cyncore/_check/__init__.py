# SPDX-License-Identifier: MIT
"""``python -m cyncore check PATH...``: what in a program will be slow, or is fragile, and what helps.

The program is read, never imported or run. docs/check.md says what is looked for.
"""

from __future__ import annotations

import argparse
import ast
import gc
import os
import re
import sys
from collections.abc import Iterable

from .channel import Channel
from .module import Module, parts_of
from .program import Program
from .report import Report, as_json, as_text, summary
from .rule import NOTE, RULES
from .rules import handlers, loops, predicates, state, threads
from .source import Unread, find, parse, read, unread

# A file without any of these words has no channel unless it derives from one of another file.
_SEEDS = re.compile(
    rb"asyncore|asynchat|async_chat|smtpd|SMTPServer|SMTPChannel|dispatcher|cyncore|ioloop|socket_map|AsyncNotifier"
)


def main(argv: list[str]) -> int:
    """Runs the command. Returns 0 where there is nothing to report, 1 where there is, 2 for wrong arguments."""
    parser = _parser()
    try:
        options = parser.parse_args(argv)
    except SystemExit as ended:  # argparse's way to say that it is done
        return 2 if ended.code else 0
    if options.rules:
        _write("".join(f"{rule.code} {rule.severity}: {rule.title}; {rule.remedy}\n" for rule in RULES.values()))
        return 0
    chosen = _codes(options.select), _codes(options.ignore)
    wrong = [path for path in options.paths if not os.path.lexists(path)]
    if not options.paths or wrong or None in chosen:
        parser.print_usage(sys.stderr)
        reason = f"no such file or folder: {wrong[0]}" if wrong else "unknown code"
        print(f"cyncore check: {reason if options.paths else 'a path is needed'}", file=sys.stderr)
        return 2
    gc.disable()  # trees have no cycles, and looking for some takes a third of the time
    try:
        report = check(options.paths)
    finally:
        gc.enable()
    return _tell(report, options, chosen[0] or frozenset(), chosen[1] or frozenset())


def check(paths: Iterable[str]) -> Report:
    """Checks the files and folders of one program, together. Raises nothing for whatever is in them."""
    report = Report()
    program = Program()
    seen: set[str] = set()
    for top in paths:
        for path in find(top, seen):
            _load(program, path, top if os.path.isdir(top) else os.path.dirname(path), report)
    program.prepare()
    _recall(program)
    for module in program.modules:
        if module.tree is not None:
            _check_module(program, module, report)
    report.findings.sort()
    return report


def _load(program: Program, path: str, top: str, report: Report) -> None:
    report.files += 1
    try:
        data = read(path)
        tree = parse(data, path)
        made = Module(path, parts_of(path, top), os.path.basename(path) == "__init__.py", data, tree)
        made.read(tree)
    except Unread as error:
        report.findings.append(unread(path, error))
        return
    except RecursionError:  # it could be parsed, and is still too deep to be walked
        report.findings.append(unread(path, Unread("CYN002", "cannot be checked: it is nested too deeply", 1)))
        return
    if not _SEEDS.search(data):
        made.forget()
    program.add(made)


def _recall(program: Program) -> None:
    """Reads those files again that turned out to define, import or run channels."""
    wanted = {module for module in program.modules if program.concerns(module)}
    for module in list(wanted):
        for channel in program.channels(module):
            wanted |= {cls.module for cls in program.ancestors(channel)}
    for module in program.modules:
        if module not in wanted:
            module.forget()
        elif module.tree is None:
            module.recall(parse(module.text, module.path))
    program.prepare()


def _check_module(program: Program, module: Module, report: Report) -> None:
    copied = program.copy_of(module)
    if copied:  # what is in it is not the program's
        if "cyncore" in module.parts[:-1]:
            return
        report.add(module, ast.Pass(), "CYN302", f"the file holds a copy of {copied}, with its defects")
        return
    try:
        loops.check(program, module, report)
        threads.check(program, module, report)
        for cls in program.channels(module):
            channel = Channel(program, cls)
            for rules in (predicates, handlers, state):
                rules.check(channel, report)
    except RecursionError:  # a tree that could be made may still be too deep to be walked
        report.findings.append(unread(module.path, Unread("CYN002", "cannot be checked: it is nested too deeply", 1)))


def _tell(report: Report, options: argparse.Namespace, select: frozenset[str], ignore: frozenset[str]) -> int:
    wanted = [one for one in report.findings if one.code not in ignore and (not select or one.code in select)]
    shown = [one for one in wanted if options.all or select or one.rule.severity != NOTE]
    hidden = len(wanted) - len(shown)
    if options.json:
        _write(as_json(shown, report.files, hidden) + "\n")
    else:
        _write(as_text(shown))
        print(f"cyncore check: {summary(shown, report.files, hidden)}", file=sys.stderr)
    return 1 if shown else 0


def _write(text: str) -> None:
    """Writes to stdout whatever its encoding can show; names of files may hold anything."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has closed the pipe. Without this, Python would print an error when it flushes stdout at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _codes(text: str) -> frozenset[str] | None:
    """The rules named by a comma-separated list of codes, or beginnings of codes. None: one of them names no rule."""
    found: set[str] = set()
    for word in filter(None, (one.strip().upper() for one in text.split(","))):
        named = {code for code in RULES if code.startswith(word)}
        if not named:
            return None
        found |= named
    return frozenset(found)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cyncore check",
        description="Says what in a program will be slow on cyncore, or is fragile, with the remedy. Nothing is run.",
        epilog="Ends with 0 where there is nothing to report, 1 where there is, 2 for arguments that are wrong.",
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="a file, or a folder with a program in it")
    parser.add_argument("--json", action="store_true", help="for programs; docs/check.md has the keys")
    parser.add_argument("--all", action="store_true", help="notes, too")
    parser.add_argument(
        "--select", default="", metavar="CODES", help="only these, such as CYN201 or CYN1, comma-separated"
    )
    parser.add_argument("--ignore", default="", metavar="CODES", help="all but these")
    parser.add_argument("--rules", action="store_true", help="list the rules")
    return parser
