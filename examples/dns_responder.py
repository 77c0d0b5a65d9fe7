# SPDX-License-Identifier: MIT
"""A DNS server for a small zone, over UDP: A, AAAA and TXT records of the names that it knows.

Try it with ``dig @127.0.0.1 -p 5300 www.example.test``. A zone file has a record a line, ``NAME TTL TYPE VALUE``, and
comments behind ``#``. The wire format is that of RFC 1035, with the larger answers of RFC 6891 (EDNS).
"""

from __future__ import annotations

import argparse
import ipaddress
import struct
from pathlib import Path
from typing import Any

from cyncore import Datagram, Loop

ZONE = """
example.test      300 TXT  "a zone for examples"
www.example.test  300 A    192.0.2.1
www.example.test  300 A    192.0.2.2
www.example.test  300 AAAA 2001:db8::1
"""

TYPES = {"A": 1, "TXT": 16, "AAAA": 28}
OPT = 41
CLASS_IN = 1
NO_ERROR, FORMAT_ERROR, NAME_ERROR, NOT_IMPLEMENTED, REFUSED = 0, 1, 3, 4, 5
RESPONSE, AUTHORITATIVE, TRUNCATED, RECURSION_DESIRED = 0x8000, 0x0400, 0x0200, 0x0100
OPCODE = 0x7800
HEADER = struct.Struct("!6H")
PLAIN_SIZE = 512  # bytes of an answer to a resolver without EDNS
LARGEST = 1232  # and to one with it: what passes nearly everywhere without fragments

Records = list[tuple[int, int, bytes]]  # type, seconds to live, data


class FormatError(Exception):
    """The query cannot be read."""


class Zone:
    """The records by their names, which are kept as they are on the wire, in lower case."""

    def __init__(self, text: str) -> None:
        self.names: dict[bytes, Records] = {}
        self.parents: set[bytes] = set()  # of names: they are there, too, with or without records
        self.tops: set[bytes] = set()  # the last two labels of each name: for others this server has no authority
        for number, line in enumerate(text.splitlines(), 1):
            words = line.partition("#")[0].split(None, 3)
            if not words:
                continue
            try:
                name, seconds, kind, value = words
                self._add(wire_name(name), int(seconds), TYPES[kind.upper()], value.strip())
            except (KeyError, ValueError) as error:
                raise ValueError(f"line {number} of the zone, {line.strip()!r}, is no record: {error}") from None

    def _add(self, name: bytes, seconds: int, kind: int, value: str) -> None:
        self.names.setdefault(name, []).append((kind, seconds, record_data(kind, value)))
        self.parents.update(name[at:] for at in label_places(name))
        self.tops.add(top_of(name))

    def find(self, name: bytes, kind: int) -> tuple[int, Records]:
        """The code of the answer, and the records."""
        if top_of(name) not in self.tops:
            return REFUSED, []
        records = self.names.get(name)
        if records is not None:
            return NO_ERROR, [record for record in records if record[0] == kind]
        return (NO_ERROR if name in self.parents else NAME_ERROR), []


def wire_name(text: str) -> bytes:
    labels = [label.encode("ascii") for label in text.lower().rstrip(".").split(".")]
    if not all(0 < len(label) < 64 for label in labels):
        raise ValueError(f"{text!r} is no name")
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def label_places(name: bytes) -> list[int]:
    """Where the labels of a name begin."""
    places = []
    at = 0
    while name[at]:
        places.append(at)
        at += name[at] + 1
    return places


def top_of(name: bytes) -> bytes:
    """The last two labels of a name."""
    places = label_places(name)
    return name[places[-2] :] if len(places) > 1 else name


def record_data(kind: int, value: str) -> bytes:
    if kind == TYPES["TXT"]:
        data = value.strip('"').encode()
        pieces = [data[at : at + 255] for at in range(0, len(data), 255)] or [b""]
        return b"".join(bytes([len(piece)]) + piece for piece in pieces)
    address = ipaddress.IPv4Address(value) if kind == TYPES["A"] else ipaddress.IPv6Address(value)
    return address.packed


def read_question(query: bytes) -> tuple[bytes, int, int, int]:
    """The name in lower case, the type, the class, and the place behind the question."""
    at = HEADER.size
    while True:
        if at >= len(query) or query[at] >= 64 or at - HEADER.size > 254:
            raise FormatError
        if query[at] == 0:
            break
        at += query[at] + 1
    at += 1
    if at + 4 > len(query):
        raise FormatError
    kind, group = struct.unpack_from("!2H", query, at)
    return query[HEADER.size : at].lower(), kind, group, at + 4


def edns_size(query: bytes, at: int, additional: int) -> int | None:
    """The size of an answer that the resolver takes, from its OPT record; None: it has none."""
    if additional == 0:
        return None
    if at + 11 > len(query) or query[at] != 0:
        raise FormatError
    kind, size, _, length = struct.unpack_from("!HHIH", query, at + 1)
    if kind != OPT or at + 11 + length > len(query):
        raise FormatError
    return max(PLAIN_SIZE, min(size, LARGEST))


def answer(query: bytes, zone: Zone) -> bytes | None:
    """The answer to a query; None: it deserves none."""
    if len(query) < HEADER.size:
        return None
    number, flags, questions, answers, authorities, additional = HEADER.unpack_from(query)
    if flags & RESPONSE:
        return None  # two servers that answer each other's answers would never end
    flags = flags & (OPCODE | RECURSION_DESIRED) | RESPONSE
    if flags & OPCODE:
        return HEADER.pack(number, flags | NOT_IMPLEMENTED, 0, 0, 0, 0)
    try:
        if questions != 1 or answers or authorities or additional > 1:
            raise FormatError
        name, kind, group, end = read_question(query)
        size = edns_size(query, end, additional)
    except FormatError:
        return HEADER.pack(number, flags | FORMAT_ERROR, 0, 0, 0, 0)
    code, records = zone.find(name, kind) if group == CLASS_IN else (REFUSED, [])
    if code != REFUSED:
        flags |= AUTHORITATIVE
    body = b"".join(
        struct.pack("!HHHIH", 0xC000 | HEADER.size, kind, CLASS_IN, seconds, len(data)) + data
        for kind, seconds, data in records
    )
    opt = b"" if size is None else struct.pack("!BHHIH", 0, OPT, LARGEST, 0, 0)
    if end + len(body) + len(opt) > (size or PLAIN_SIZE):
        flags |= TRUNCATED
        body, records = b"", []
    header = HEADER.pack(number, flags | code, 1, len(records), 0, 1 if opt else 0)
    return header + query[HEADER.size : end] + body + opt


class Responder(Datagram):
    wants_destination = True  # so that an answer comes from the address that was asked, whichever of ours that is
    max_size = 4096

    def __init__(self, zone: Zone) -> None:
        super().__init__()
        self.zone = zone

    def handle_datagram(self, data: bytes, address: Any, destination: Any = None) -> None:
        reply = answer(data, self.zone)
        if reply is not None:
            self.send(reply, address, destination)

    def handle_truncated(self, data: bytes, address: Any, size: int) -> None:
        """No query is so long."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help='an address in digits; "": all of IPv4')
    parser.add_argument("--port", type=int, default=5300, help="0: any")
    parser.add_argument("--zone", type=Path, help="a zone file; without it there is a zone example.test")
    options = parser.parse_args()
    zone = Zone(options.zone.read_text() if options.zone else ZONE)
    with Loop() as loop:
        loop.drain_on_signals(10)
        responder = loop.bind((options.host, options.port), lambda: Responder(zone))
        print("ready {}:{}".format(*responder.address), flush=True)
        loop.run()


if __name__ == "__main__":
    main()
