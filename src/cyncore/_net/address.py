# SPDX-License-Identifier: MIT
"""Addresses: which sockets an address of a server means, and which order a client tries the addresses of a name in."""

from __future__ import annotations

import os
import socket
import stat
from errno import EAFNOSUPPORT, ECONNREFUSED, ENAMETOOLONG
from typing import Any


def is_path(address: Any) -> bool:
    """Is it the address of a Unix socket: a path, or an abstract name, which begins with a zero byte?"""
    return isinstance(address, (str, bytes, os.PathLike))


def path_family(address: Any) -> int:
    """AF_UNIX. OSError, which names the path, where Python has no Unix sockets: on Windows."""
    family = getattr(socket, "AF_UNIX", None)
    if family is None:
        raise OSError(EAFNOSUPPORT, f"{os.strerror(EAFNOSUPPORT)}: Unix sockets, for {words(address)}")
    return int(family)


def words(address: Any) -> str:
    """An address as an error shows it."""
    if is_path(address):
        text = os.fspath(address)
        return repr(text if isinstance(text, str) else os.fsdecode(text))
    if isinstance(address, tuple) and len(address) >= 2:
        host, port = address[:2]
        return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
    return repr(address)


def check_pair(address: Any) -> tuple[Any, Any]:
    """The host and the port of ``address``. TypeError if it is no pair, OverflowError for a port that cannot be."""
    if not isinstance(address, tuple) or len(address) < 2:
        raise TypeError(f"an address is (host, port), a path or a socket, not {address!r}")
    host, port = address[:2]
    if isinstance(port, int) and not 0 <= port <= 65535:  # the system's resolver would take it modulo 65536
        raise OverflowError(f"a port is a number from 0 to 65535, not {port!r}")
    return host, port


def check_path(path: Any) -> None:
    """TypeError for a host, or a host and its port, in place of a path: as such it would be a file of this folder."""
    if not isinstance(path, str) or "/" in path or "\0" in path:
        return
    host, colon, port = path.rpartition(":")
    if path == "localhost" or _is_numeric(path):
        meant = f"({path!r}, port)"
    elif colon and port.isdecimal():
        meant = repr((host.strip("[]"), int(port)))
    else:
        return
    raise TypeError(f"{path!r} would be the path of a Unix socket: TCP has the address {meant}")


def _is_numeric(host: str) -> bool:
    is_ipv6 = "::" in host and "[" not in host
    return is_ipv6 or (host.count(".") == 3 and host.strip("0123456789.") == "")


def name_failed(error: socket.gaierror, host: Any) -> socket.gaierror:
    """The error of the resolver, which does not say what it was asked for, with the name."""
    return socket.gaierror(error.errno, f"{error.strerror}: {host!r}")


def numeric(host: Any, port: Any) -> list[tuple[Any, ...]] | None:
    """The addresses of a host that is written in digits, in the form of `socket.getaddrinfo`; None for a name."""
    try:
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))
    except (socket.gaierror, UnicodeError):
        return None


def interleaved(found: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The addresses in turn, one of each family, beginning with the family of the first (RFC 8305, section 4)."""
    families: dict[Any, list[tuple[Any, ...]]] = {}
    for info in found:
        families.setdefault(info[0], []).append(info)
    order = []
    queues = list(families.values())
    for place in range(max(map(len, queues), default=0)):
        order += [queue[place] for queue in queues if place < len(queue)]
    return order


def bound_sockets(address: Any, reuse_port: bool, mode: int | None) -> list[socket.socket]:
    """Makes the sockets of a server, bound and not yet listening. OSError, which names the address."""
    if is_path(address):
        check_path(address)
        return [_bound_unix(address, mode)]
    host, port = check_pair(address)
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise name_failed(error, host) from None
    made: list[socket.socket] = []
    try:
        for family, kind, protocol, _, target in dict.fromkeys(found):
            if not host and made and not _is_there(family):
                continue  # all addresses were asked for, and the system lacks this family
            if port == 0 and made:
                target = (target[0], made[0].getsockname()[1], *target[2:])  # one port for all families
            made.append(_bound(family, kind, protocol, target, reuse_port))
    except BaseException:
        for sock in made:
            sock.close()
        raise
    return made


def _is_there(family: int) -> bool:
    try:
        socket.socket(family, socket.SOCK_STREAM).close()
    except OSError:
        return False
    return True


def _bound(family: int, kind: int, protocol: int, target: Any, reuse_port: bool) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == getattr(socket, "AF_INET6", None):
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 has a socket of its own
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # Linux hands it on to the accepted sockets
        sock.bind(target)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"{error.strerror}: {words(target)}") from None
    except BaseException:
        sock.close()
        raise
    return sock


def _bound_unix(address: Any, mode: int | None) -> socket.socket:
    sock = socket.socket(path_family(address), socket.SOCK_STREAM)
    try:
        bound_path(sock, os.fspath(address), mode)
    except BaseException:
        sock.close()
        raise
    return sock


def bound_path(sock: socket.socket, path: Any, mode: int | None) -> None:
    """Binds a Unix socket, in the place of one whose server is gone. OSError, which names the path."""
    is_abstract = path[:1] in ("\0", b"\0")
    try:
        if not is_abstract:
            _remove_stale(path, sock.type)
        before = os.umask(0o177) if mode is not None and not is_abstract else None  # nobody connects before chmod
        try:
            sock.bind(path)
        finally:
            if before is not None:
                os.umask(before)
        if mode is not None and not is_abstract:
            os.chmod(path, mode)
    except OSError as error:  # Python itself refuses a path that is too long, without a number
        raise OSError(error.errno or ENAMETOOLONG, f"{error.strerror or error}: {words(path)}") from None


def _remove_stale(path: Any, kind: int) -> None:
    """Removes the file of a server that is gone. A file on which somebody listens stays, and so does any other file.

    Another server may replace the file meanwhile. The file must be the one that was probed, or it stays. What remains
    is the moment between that comparison and the removal: no system call removes a file only if it is a certain one.
    """
    try:
        probed = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(probed.st_mode):
        return  # bind says that the address is in use
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.setblocking(False)  # a server with a full backlog is there as well
        error = probe.connect_ex(path)
    if error == ECONNREFUSED:
        try:
            if _identity(os.lstat(path)) == _identity(probed):
                os.unlink(path)
        except FileNotFoundError:
            pass


def _identity(found: os.stat_result) -> tuple[int, int, int]:
    """What tells a file from one that has replaced it, which may have the same inode number."""
    return found.st_dev, found.st_ino, found.st_ctime_ns
