# SPDX-License-Identifier: MIT
"""The address in a MAIL, RCPT or VRFY command.

RFC 5321, 4.1.2, has the grammar that a client should keep to: ``<local@domain>``, the local part perhaps quoted, the
domain perhaps an address in brackets, a source route (to be ignored) perhaps before it. What was accepted beside that
is accepted still, after the grammar of RFC 5322: no angle brackets, or only the first, white space and (comments)
between the parts, words without a dot between them. An encoded word (RFC 2047) is no part of an envelope: it is taken
as the characters that it is written with.

Everything here scans forward once, without recursion: a command is short, but it comes from a stranger.
"""

from __future__ import annotations

import re

NULL_PATH = "<>"

_BLANK = " \t"
_ENDS_LOCAL = frozenset(")<>@,:;[]")  # a dot, a quote, a comment and a stray backslash do not end a local part
_NO_WORD = _ENDS_LOCAL | {".", ""}  # before these, as behind a dot, white space does not count
_QUOTED_IF = re.compile(r'[()<>@,:;\\"\[\] \t]')

_atom = re.compile(r'[^()<>@,:;.\\"\[\] \t]+').match
# Nearly every address of nearly every client.
_plain = re.compile(
    r"<([!#$%&'*+\-/0-9=?A-Z^_`a-z{|}~.]+@[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)*)>(?: +(?=[A-Za-z])|\Z)"
).match


class AddressError(ValueError):
    """The text is not an address."""


def parse_path(text: str) -> tuple[str, str]:
    """The address at the start of ``text``, without its brackets, and what follows it.

    The null path is ``"<>"``. AddressError where there is no address.
    """
    found = _plain(text)
    if found is not None:
        return found.group(1), text[found.end() :]
    if text.lstrip().startswith("<"):
        return _in_brackets(text)
    local, domain, at = _mailbox(text, 0)
    return _written(local, domain), text[at:]


def _in_brackets(text: str) -> tuple[str, str]:
    at = _expect("<", text, _skip(text, 0))
    if text.startswith(">", at):
        return NULL_PATH, text[at + 1 :]
    if text[_skip(text, at) :][:1] in ("@", ","):
        at = _skip_route(text, at)
    local, domain, at = _mailbox(text, at)
    if text.startswith(">", at):
        at += 1
    # An empty local part has to be seen as one.
    return _written(local, domain) if local else f'""{_written(local, domain)}', text[_skip(text, at) :]


def _written(local: str, domain: str | None) -> str:
    if _QUOTED_IF.search(local):
        local = '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return local if domain is None else f"{local}@{domain}"


def _expect(char: str, text: str, at: int) -> int:
    if not text.startswith(char, at):
        raise AddressError(f"expected {char} at {at}")
    return at + 1


def _skip(text: str, at: int) -> int:
    """Past white space and comments, which may hold comments. A comment without an end reaches to that of the text."""
    while at < len(text) and text[at] in " \t(":
        at = _skip_comment(text, at) if text[at] == "(" else _skip_blank(text, at)
    return at


def _skip_blank(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _skip_comment(text: str, at: int) -> int:
    depth = 0
    while at < len(text):
        char = text[at]
        at += 1
        if char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
            if not depth:
                break
        elif char == "\\" and at < len(text) and text[at] not in _BLANK:
            at += 1
    return at


def _skip_route(text: str, at: int) -> int:
    """Past ``@one,@two:``, the hosts that the message was once to go through."""
    while at < len(text) and text[at] in " \t(,":
        at = at + 1 if text[at] == "," else _skip(text, at)
    at = _domain(text, _expect("@", text, at))[1]
    while text.startswith(",", at):
        at = _skip(text, at + 1)
        if text.startswith("@", at):
            at = _domain(text, at + 1)[1]
    return _expect(":", text, at)


def _mailbox(text: str, at: int) -> tuple[str, str | None, int]:
    local, at = _local_part(text, at)
    if not text.startswith("@", at):
        return local, None, at
    domain, at = _domain(text, at + 1)
    return local, domain, at


def _local_part(text: str, at: int) -> tuple[str, int]:
    """Words, quoted or not, and what is between them. White space around a dot and at both ends does not count."""
    start = _skip(text, at)
    if start >= len(text) or text[start] in _ENDS_LOCAL:
        raise AddressError(f"expected a local part at {start}")
    at, parts, before = start, [], "."
    while at < len(text) and text[at] not in _ENDS_LOCAL:
        behind = _skip(text, at)
        if behind > at:
            at = behind
            follows = text[at : at + 1]
            if before != "." and follows not in _NO_WORD and not before == follows == "\\":
                parts.append(" ")
            continue
        before = text[at]
        word, at = _word(text, at)
        parts.append(word)
    return "".join(parts), at


def _word(text: str, at: int) -> tuple[str, int]:
    if text[at] == '"':
        return _quoted(text, at + 1)
    found = _atom(text, at)
    return (text[at], at + 1) if found is None else (found.group(), found.end())


def _quoted(text: str, at: int) -> tuple[str, int]:
    """What stands in quotes, from behind the first to behind the last; without a last, all that is left."""
    if at >= len(text):
        raise AddressError("a quote at the very end")
    parts = []
    while at < len(text) and text[at] != '"':
        if text[at] == "\\":
            at += 1
            if at >= len(text) or text[at] in _BLANK:
                continue
        parts.append(text[at])
        at += 1
    return "".join(parts), at + 1


def _domain(text: str, at: int) -> tuple[str, int]:
    at = _skip(text, at)
    if text.startswith("[", at):
        return _literal(text, at + 1)
    parts = []
    while True:
        found = _atom(text, _skip(text, at))
        if found is None:
            raise AddressError(f"expected a domain at {at}")
        parts.append(found.group())
        at = _skip(text, found.end())
        if not text.startswith(".", at):
            break
        parts.append(".")
        at += 1
    if text.startswith("@", at):
        raise AddressError(f"two domains at {at}")
    return "".join("".join(parts).split()), at


def _literal(text: str, at: int) -> tuple[str, int]:
    """An address in brackets, from behind the first to behind the last."""
    at = _skip_blank(text, at)
    parts = ["["]
    while at < len(text) and text[at] not in "[] \t":
        if text[at] == "\\":
            at += 1
            if at >= len(text) or text[at] in _BLANK:
                continue
        parts.append(text[at])
        at += 1
    at = _expect("]", text, _skip_blank(text, at))
    parts.append("]")
    return "".join("".join(parts).split()), _skip(text, at)
