"""The machine: what it is, and how many descriptors a process may open on it."""

from __future__ import annotations

import os
import platform
import resource
from pathlib import Path

UNLIMITED = 1 << 20  # descriptors, where the hard limit is none


def processor() -> str:
    """The name that the kernel gives it, or else the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def describe_machine() -> str:
    kernel = ".".join(platform.release().split(".")[:2])
    return (
        f"{processor()}, {os.cpu_count()} cores, {platform.system()} {kernel} {platform.machine()}, "
        f"{platform.python_implementation()} {platform.python_version()}"
    )


def raise_fd_limit(wanted: int = UNLIMITED) -> int:
    """Raises the soft limit of descriptors to `wanted`, or to the hard limit if that is lower. Returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most
