# SPDX-License-Identifier: MIT
"""What ``python -m cyncore check`` says of the loops that a program runs, and of those that it leaves alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.check import found


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("PAUSE = 0.001\nwhile True:\n    asyncore.loop(PAUSE, count=1)\n", "CYN104"),
        (
            "class Server:\n    pause = 0.001\n    def run(self):\n        asyncore.loop(self.pause, count=1)\n",
            "CYN104",
        ),
        ("PAUSE = -1\nasyncore.loop(PAUSE)\n", "CYN215"),
        ("class A:\n    pause = 1\nclass B:\n    pause = 2\nwhile True:\n    asyncore.poll(x.pause)\n", "CYN311"),
        ("def serve():\n    while True:\n        asyncore.poll(unknown)\n", "CYN311"),
    ],
)
def test_timeout_is_known_by_its_name(source: str, code: str, tmp_path: Path) -> None:
    assert [one.split()[1] for one in found(tmp_path, code, main=f"import asyncore\n{source}")] == [code]


@pytest.mark.parametrize(
    ("target", "patched"), [("socket.socket.send", True), ("socket.socket.more", False), ("other.send", False)]
)
def test_method_put_into_the_socket_class_is_found(target: str, patched: bool, tmp_path: Path) -> None:
    assert len(found(tmp_path, "CYN217", main=f"import asyncore, socket\n{target} = mine\n")) == patched


GUARDS = """\
while True:
    try:
        asyncore.loop()
    except KeyboardInterrupt:
        break
    except:
        print("again")
"""


@pytest.mark.parametrize(
    "source",
    [
        "asyncore.loop()",
        "asyncore.loop(timeout=1)",
        "asyncore.loop(0.05)",  # without a count it is a loop that ends by itself
        "def f():\n    asyncore.poll()",
        "while True:\n    try:\n        asyncore.loop()\n    except Exception:\n        time.sleep(1)",
        GUARDS,
        "try:\n    asyncore.loop()\nexcept:\n    asyncore.close_all()\n    raise",
        "for c in list(asyncore.socket_map.values()):\n    c.close()",
        "for c in asyncore.socket_map.values():\n    print(c)",
        "select.select([sock], [], [])",
        "while True:\n    time.sleep(1)",
    ],
)
def test_good_loop_is_left_alone(source: str, tmp_path: Path) -> None:
    assert found(tmp_path, main=f"import asyncore, select, time\n{source}\n") == []
