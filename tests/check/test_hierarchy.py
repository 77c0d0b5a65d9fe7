# SPDX-License-Identifier: MIT
"""``python -m cyncore check`` finds channels whatever way they come to be, and whatever their bases are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.check import findings, found

BODY = "\n    def handle_write(self):\n        self.send(b'x')\n"  # of a class that spins, if it is a channel
COPY = """\
class dispatcher:
    def create_socket(self): pass
    def set_socket(self, sock): pass
    def handle_error(self): raise
    def readable(self): return self.x()

class dispatcher_with_send(dispatcher):
    def writable(self): return self.y()

def loop(): pass
"""


@pytest.mark.parametrize(
    "head",
    [
        "import asyncore\nclass C(asyncore.dispatcher):",
        "import asyncore as ac\nclass C(ac.dispatcher):",
        "from asyncore import dispatcher\nclass C(dispatcher):",
        "from asyncore import dispatcher as d\nclass C(d):",
        "from asyncore import *\nclass C(dispatcher):",
        "from cyncore import dispatcher\nclass C(dispatcher):",
        "import cyncore\nclass C(cyncore.dispatcher):",
        "import cyncore.asyncore as asyncore\nclass C(asyncore.dispatcher):",
        "import cyncore.asyncore\nclass C(cyncore.asyncore.dispatcher):",
        "from cyncore import asyncore\nclass C(asyncore.dispatcher):",
        "from hazelcast import asyncore\nclass C(asyncore.dispatcher):",
        "import fail2ban.compat.asyncore as a\nclass C(a.dispatcher):",
        "from fail2ban.compat import asyncore\nclass C(asyncore.dispatcher):",
        "from supervisor.medusa import asyncore_25 as asyncore\nclass C(asyncore.dispatcher):",
        "from waitress import wasyncore\nclass C(wasyncore.dispatcher):",
        "from .x import y\nfrom . import asyncore\nclass C(asyncore.dispatcher):",
        "try:\n    import asyncore\nexcept ImportError:\n    from own import asyncore\nclass C(asyncore.dispatcher):",
        "import asyncore\nclass A(asyncore.dispatcher): pass\nclass B(A): pass\nclass C(B):",
        "import asyncore\nclass M: pass\nclass C(M, asyncore.dispatcher):",
        "import asyncore, six\nclass C(six.with_metaclass(asyncore.Meta, asyncore.dispatcher)):",
        "import asyncore\nBase = asyncore.dispatcher\nclass C(Base):",
        "import asyncore\ndef make():\n  class C(asyncore.dispatcher):",
    ],
)
def test_channel_is_known_by_its_base(head: str, tmp_path: Path) -> None:
    body = BODY.replace("\n    ", "\n      ") if "  class" in head else BODY
    if "six" in head:
        body = "\n    def handle_error(self):\n        raise\n"  # of what is not known whole, less can be said
        assert [one.split()[1] for one in found(tmp_path, main=head + body)] == ["CYN206"]
    else:
        assert [one.split()[1] for one in found(tmp_path, main=head + body)] == ["CYN204"]


@pytest.mark.parametrize(
    "head",
    [
        "class C:",
        "class dispatcher: pass\nclass C(dispatcher):",
        "from blinker import dispatcher\nclass C(dispatcher):",
        "import asyncore\nclass C(asyncore.something):",
        "import asyncore\nclass C(asyncore.dispatcher_with_send):",
        "import asynchat\nclass C(asynchat.async_chat):",
        "import smtpd\nclass C(smtpd.SMTPChannel):",
        "import asyncore, other\nclass C(other.Writer, asyncore.dispatcher):",
        "import asyncore\nclass M:\n    def writable(self): return bool(self.out)\nclass C(M, asyncore.dispatcher):",
    ],
)
def test_what_is_no_spinning_channel_is_left_alone(head: str, tmp_path: Path) -> None:
    assert found(tmp_path, main=head + BODY) == []


def test_classes_are_followed_from_file_to_file(tmp_path: Path) -> None:
    assert found(
        tmp_path,
        package__base="import asyncore\nclass Base(asyncore.dispatcher):\n    pass\n",
        package__api="from .base import Base as Channel\n",
        package__sub__leaf=f"from ..api import Channel\nclass Leaf(Channel):{BODY}",
        script=f"import package.api\nclass Other(package.api.Channel):{BODY}",
    ) == ["leaf:3 CYN204", "script:3 CYN204"]


def test_folder_with_a_dot_in_its_name_is_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path / "program-1.0"
    files = {"package__base": "import asyncore\nclass Base(asyncore.dispatcher):\n    pass\n"}
    found(folder, package__leaf=f"from .base import Base\nclass Leaf(Base):{BODY}", **files)
    assert [one.code for one in findings(tmp_path) if one.rule.severity != "note"] == ["CYN204"]


def test_classes_that_derive_from_each_other_end(tmp_path: Path) -> None:
    found(
        tmp_path,
        a="from b import *\nfrom b import B\nimport asyncore\nclass A(B): pass\n",
        b="from a import *\nfrom a import A\nclass B(A): pass\nclass C(C): pass\n",
    )


def test_handler_of_a_mixin_in_another_file_is_looked_at(tmp_path: Path) -> None:
    assert found(
        tmp_path,
        mixin="import time\nclass Slow:\n    def handle_read(self):\n        time.sleep(1)\n",
        main="import asyncore\nfrom mixin import Slow\nclass C(Slow, asyncore.dispatcher):\n    pass\n",
    ) == ["mixin:4 CYN205"]


def test_copy_under_any_name_is_known_and_spared(tmp_path: Path) -> None:
    files = {"package__net": COPY, "package__main": f"from .net import dispatcher\nclass C(dispatcher):{BODY}"}
    assert found(tmp_path, **files) == ["main:3 CYN204"]
    assert found(tmp_path, "CYN302", **files) == ["net:1 CYN302"]


def test_inherited_predicate_is_reported_once(tmp_path: Path) -> None:
    source = """\
import asyncore
class A(asyncore.dispatcher):
    def readable(self):
        return self.flag
class B(A):
    pass
"""
    assert found(tmp_path, main=source) == ["main:3 CYN101"]


def test_remedy_for_a_constant_does_not_uncover_a_base(tmp_path: Path) -> None:
    source = """\
import asyncore
class A(asyncore.dispatcher):
    def readable(self):
        return self.flag
class B(A):
    def readable(self):
        return True
"""
    found(tmp_path, main=source)
    (one,) = [one for one in findings(tmp_path) if one.line == 6]
    assert (one.code, one.remedy) == ("CYN102", "write `readable = asyncore.dispatcher.readable` in its place")


# What a name stands for


@pytest.mark.parametrize(
    "files",
    [
        {"main": f"import asyncore\nBase = asyncore.dispatcher if new else asyncore.dispatcher_with_send\n"
                 f"class C(Base):{BODY}"},
        {"base": "import asyncore\nclass B(asyncore.dispatcher): pass\n",
         "main": f"from base import *\nclass C(B):{BODY}"},
        {"main": f"import asyncore\nfrom typing import Generic\nclass C(Generic[int], asyncore.dispatcher):{BODY}"},
        {"main": f"import asyncore\nclass C(asyncore.dispatcher[int]):{BODY}"},
        {"main": f"import asyncore\nclass C(asyncore.dispatcher):\n    a, b = 1, 2\n    size: int = 3{BODY}"},
    ],
)  # fmt: skip
def test_base_is_found_however_it_is_named(files: dict[str, str], tmp_path: Path) -> None:
    assert [one.split()[1] for one in found(tmp_path, **files)] == ["CYN204"]


def test_name_of_two_modules_is_the_nearer_one_s(tmp_path: Path) -> None:
    files = {
        "a__base": "import asyncore\nclass B(asyncore.dispatcher): pass\n",
        "b__base": "class B: pass\n",
        "a__user": f"from base import B\nclass C(B):{BODY}",
        "b__user": f"from base import B\nclass C(B):{BODY}",
    }
    assert found(tmp_path, **files) == ["user:3 CYN204"]
    assert [Path(one.path).parent.name for one in findings(tmp_path) if one.code == "CYN204"] == ["a"]


def test_names_that_modules_have_from_each_other_end(tmp_path: Path) -> None:
    one = f"import asyncore\nfrom two import B\nclass C(B):{BODY}"
    assert found(tmp_path, one=one, two="from three import B\n", three="from two import B\n") == []


def test_class_of_thousands_of_generations_is_no_obstacle(tmp_path: Path) -> None:
    """They stand in the opposite order, so that each is looked up before the one that it derives from."""
    chain = "".join(f"class C{number}(C{number - 1}): pass\n" for number in range(3000, 0, -1))
    source = f"import asyncore\nclass C(asyncore.dispatcher):{BODY}{chain}class C0(asyncore.dispatcher): pass\n"
    assert found(tmp_path, main=source) == ["main:3 CYN204"]


def test_copy_of_an_old_module_may_use_its_own_classes(tmp_path: Path) -> None:
    user = f"from package import asyncore\nclass C(asyncore.file):{BODY}"
    copy = COPY + "class file(dispatcher): pass\n"
    assert [one.split()[1] for one in found(tmp_path, package__asyncore=copy, main=user)] == ["CYN204"]


def test_cyncore_s_own_modules_are_no_copies(tmp_path: Path) -> None:
    assert found(tmp_path, "CYN302", cyncore__asyncore=COPY) == []


def test_package_that_is_named_itself_is_known_by_the_name_of_its_folder(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("import asyncore\nclass B(asyncore.dispatcher): pass\n")
    (package / "user.py").write_text(f"from package import B\nclass C(B):{BODY}")
    assert [one.code for one in findings(package) if one.code == "CYN204"] == ["CYN204"]
