# SPDX-License-Identifier: MIT
"""What Cython must know of a stream to derive from it: its size and its table of methods, made from the .pxd files.

``python docs/layout.py`` writes `src/cyncore/capi.pxd`, and the name of the layout in `capi.py`.

The layout is in the name of the class that a program derives from. A module that was compiled against another one asks
for a name that is not there, and cannot be imported. Only what matters to such a module is in the name: private methods
are counted, and private members are measured.
"""

from __future__ import annotations

import re
from hashlib import sha256
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "cyncore"
DECLARED, MODULE = PACKAGE / "capi.pxd", PACKAGE / "capi.py"

CHAIN = ("watcher.Watcher", "endpoint.Endpoint", "channel.Channel")  # from the base up
CHAIN += ("stream_output.StreamOutput", "stream_input.StreamInput", "stream.StreamChannel")
OFFERED = ("handle_bytes", "handle_frame_bytes", "write_bytes")
# bytes, and alignment
SIZES = {"unsigned": (4, 4), "int": (4, 4), "bint": (4, 4), "uint16_t": (2, 2), "cyn_peer": (28, 4)}
POINTERS = ("object", "list", "bytearray", "Py_ssize_t")  # as wide as a pointer, beside the classes

METHOD = re.compile(r"    cdef [\w ]*?\b(\w+)\(.*")
MEMBER = re.compile(r"    cdef (?:public |readonly )?(\w+) (\w+(?:, \w+)*)(?: +#.*)?")


def classes() -> list[list[str]]:
    """The lines of the body of each class in the chain."""
    found = []
    for place in CHAIN:
        module, name = place.split(".")
        text = (PACKAGE / "_native" / f"{module}.pxd").read_text(encoding="utf-8")
        body = re.split(rf"^cdef class {name}\(\w+\):\n", text, flags=re.MULTILINE)[1].splitlines()
        found.append(list(takewhile(lambda line: not line or line.startswith("    "), body)))
    return found


def measure(kind: str, pointer: int) -> tuple[int, int]:
    """The bytes of a member, and its alignment, where a pointer has so many bytes."""
    if kind in POINTERS or kind[0].isupper():
        return pointer, pointer
    if kind == "uint64_t":
        return 8, pointer  # as on i386
    return SIZES[kind]


def size(pointer: int) -> int:
    """The bytes of a stream behind the header of the object, where a pointer has so many."""
    at = pointer  # that to the table of methods; the header ends at a multiple of a pointer, too
    for body in classes():
        for line in body:
            if found := MEMBER.fullmatch(line):
                width, alignment = measure(found[1], pointer)
                for _ in found[2].split(", "):
                    at = -(-at // alignment) * alignment + width
        at = -(-at // pointer) * pointer  # what a class adds begins behind the end of the structure of its base
    return at - pointer


def methods() -> list[str]:
    """The declarations of the table of methods, in its order; of those that are not offered, empty ones."""
    found = []
    for body in classes():
        for line in body:
            if method := METHOD.fullmatch(line):
                found.append(line.strip() if method[1] in OFFERED else "")
    return found


def layout() -> tuple[str, str]:
    """The name of the layout, and the text of `capi.pxd`."""
    wide, narrow = size(8), size(4)
    pointers = (wide - narrow) // 4  # with these two numbers, the size is right on both kinds of machines
    ints = (narrow - 4 * pointers) // 4
    table = methods()
    declared = [text or f"cdef void _{at}(self)" for at, text in enumerate(table)]
    body = ["cdef object _object", f"cdef void *_pointers[{pointers - 1}]", f"cdef int _ints[{ints}]", *declared]
    name = "Layout_" + sha256("\n".join(body).encode()).hexdigest()[:8]
    lines = [
        "# SPDX-License-Identifier: MIT",
        "# What a class in Cython derives from: see docs/cython.md. Written by docs/layout.py.",
        "# Names with an underscore stand for what is private: their order and their size is all that is true of them.",
        "from cyncore.capi cimport " + name + " as NativeStream",
        "",
        "",
        f"cdef class {name}:",
        *("    " + line for line in body),
    ]
    return name, "\n".join(lines) + "\n"


def files() -> dict[Path, str]:
    """The files as they should be."""
    name, declared = layout()
    module = re.sub(r'^LAYOUT = ".*"', f'LAYOUT = "{name}"', MODULE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {DECLARED: declared, MODULE: module}


def check() -> None:
    """RuntimeError if a file is not as it should be: for the build, so that no wheel has such a file."""
    for path, text in files().items():
        if path.read_text(encoding="utf-8") != text:
            raise RuntimeError(f"{path.name} does not describe what is built: run python docs/layout.py")


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
