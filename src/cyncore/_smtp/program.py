# SPDX-License-Identifier: MIT
"""The command line of ``python -m cyncore.smtpd``."""

from __future__ import annotations

import getopt
import sys
from types import ModuleType
from typing import Any, NoReturn

from . import settings

program = sys.argv[0] if getattr(sys, "argv", None) else "smtpd"

_USAGE = """\
usage: %(program)s [-n] [-c CLASS] [-s BYTES] [-u] [-d] [HOST:PORT [REMOTE:PORT]]

Takes mail at HOST:PORT (localhost:8025) and gives it to CLASS, which may pass it on to REMOTE:PORT (localhost:25).

  -n, --nosetuid      go on as the user who started it; without, it becomes the user nobody, which only root can
  -c, --class CLASS   PureProxy (the default) passes mail on, DebuggingServer prints it; module.Class is your own
  -s, --size BYTES    refuse messages larger than this (%(size)d; 0: take any)
  -u, --smtputf8      offer SMTPUTF8 (RFC 6531)
  -d, --debug         print what happens
  -V, --version       print the version and end
  -h, --help          print this and end

%(version)s
"""


class Options:
    """What the command line says. `parseargs` adds ``localhost``, ``localport``, ``remotehost`` and ``remoteport``."""

    setuid = True
    classname = "PureProxy"
    size_limit: int | None = None
    enable_SMTPUTF8 = False
    debug = False
    localhost: str
    localport: int
    remotehost: str
    remoteport: int


def usage(code: int, msg: object = "") -> NoReturn:
    """Prints how the program is called, and ``msg``, to stderr. SystemExit with ``code``."""
    print(
        _USAGE % {"program": program, "size": settings.DATA_SIZE_DEFAULT, "version": settings.__version__},
        file=sys.stderr,
    )
    if msg:
        print(msg, file=sys.stderr)
    sys.exit(code)


def parseargs() -> Options:
    """Reads ``sys.argv``. SystemExit where it asks for help or the version, or cannot be understood."""
    try:
        found, specs = getopt.getopt(
            sys.argv[1:], "nVhc:s:du", ["class=", "nosetuid", "version", "help", "size=", "debug", "smtputf8"]
        )
    except getopt.error as error:
        usage(1, error)
    options = Options()
    for name, value in found:
        _take(options, name, value)
    if len(specs) > 2:
        usage(1, f"Too many arguments: {settings.COMMASPACE.join(specs)}")
    local, remote = [*specs, "localhost:8025", "localhost:25"][:2] if not specs else [*specs, "localhost:25"][:2]
    options.localhost, options.localport = _host_and_port("local", local)
    options.remotehost, options.remoteport = _host_and_port("remote", remote)
    return options


def _take(options: Options, name: str, value: str) -> None:
    if name in ("-h", "--help"):
        usage(0)
    elif name in ("-V", "--version"):
        print(settings.__version__)
        sys.exit(0)
    elif name in ("-n", "--nosetuid"):
        options.setuid = False
    elif name in ("-c", "--class"):
        options.classname = value
    elif name in ("-d", "--debug"):
        options.debug = True
    elif name in ("-u", "--smtputf8"):
        options.enable_SMTPUTF8 = True
    else:  # -s, --size
        try:
            options.size_limit = int(value)
        except ValueError:
            print(f"Invalid size: {value}", file=sys.stderr)
            sys.exit(1)


def _host_and_port(which: str, spec: str) -> tuple[str, int]:
    """``host:port``, or ``[host]:port`` for a host with colons in it."""
    host, colon, port = spec.rpartition("]:") if spec.startswith("[") else spec.partition(":")
    if not colon:
        usage(1, f"Bad {which} spec: {spec}")
    try:
        return host.removeprefix("["), int(port)
    except ValueError:
        usage(1, f"Bad {which} port: {spec}")


def _become_nobody() -> None:
    try:
        import os
        import pwd
    except ImportError:
        _give_up("There is no user to become here: use -n.")
    nobody = pwd.getpwnam("nobody")
    try:
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)
    except PermissionError:
        _give_up('Cannot become the user "nobody" without being root: use -n.')


def _give_up(why: str) -> NoReturn:
    print(why, file=sys.stderr)
    sys.exit(1)


def _server_class(name: str, smtpd: ModuleType) -> Any:
    """The class of that name: of the module that it says, else of ``smtpd`` or of the main program."""
    module, dot, name = name.rpartition(".")
    if dot:
        __import__(module)
        return getattr(sys.modules[module], name)
    return getattr(smtpd if hasattr(smtpd, name) else sys.modules["__main__"], name)


def main(smtpd: ModuleType) -> None:
    """Serves as the command line says, until KeyboardInterrupt. ``smtpd``: the module of that name, which is looked at
    for a class without a module.

    The module of the class gets cyncore's modules by their old names: one that says ``import smtpd`` would otherwise
    find none, or another one, on a loop that does not run.
    """
    from cyncore._install.names import install  # a program that imports smtpd may never ask for it

    options = smtpd.parseargs()
    install(replace=True)
    kind = _server_class(options.classname, smtpd)
    size = settings.DATA_SIZE_DEFAULT if options.size_limit is None else options.size_limit
    try:
        kind(
            (options.localhost, options.localport),
            (options.remotehost, options.remoteport),
            size,
            enable_SMTPUTF8=options.enable_SMTPUTF8,
        )
        if options.setuid:
            _become_nobody()
        smtpd.asyncore.loop()
    except KeyboardInterrupt:
        pass
