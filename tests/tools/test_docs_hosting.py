# SPDX-License-Identifier: MIT
"""The recipes of docs/hosting.md serve a loop, whichever library hosts it, and say right what becomes of an error."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from cyncore import Loop
from tests.support.docs import block
from tests.support.examples import PATIENCE
from tests.support.script import run_script

PAGE = "docs/hosting.md"

LEAVING = """
import sys

sys.stderr = sys.stdout


def leave():
    raise cyncore.asyncore.ExitNow("leaves poll")


loop.call_soon(leave)
"""


def whole(recipe: str) -> str:
    """A program: the loop that is served, the recipe, and the end."""
    return "\n".join([block(PAGE, "class Shout"), recipe, block(PAGE, "loop.drain")])


def failing(recipe: str) -> str:
    """The program, where an exception leaves poll(0) before all else. It ends without cleaning up."""
    return "\n".join([block(PAGE, "class Shout"), LEAVING, recipe, "import os\nsys.stdout.flush()\nos._exit(0)"])


def need(*modules: str) -> None:
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A display for Tk: the one that is there, or one without a screen."""
    if os.environ.get("DISPLAY"):
        yield
        return
    if shutil.which("Xvfb") is None:
        pytest.skip("there is neither a display nor Xvfb")
    ours, theirs = os.pipe()
    with subprocess.Popen(["Xvfb", "-displayfd", str(theirs)], pass_fds=[theirs], stderr=subprocess.DEVNULL) as server:
        os.close(theirs)
        number = b""
        while not number.endswith(b"\n") and (part := os.read(ours, 100)):
            number += part
        os.close(ours)
        monkeypatch.setenv("DISPLAY", f":{number.decode().strip()}")
        yield
        server.terminate()


# asyncio


def test_asyncio_hosts_it() -> None:
    assert run_script(whole(block(PAGE, "import host"))) == "HELLO\n"


def test_uvloop_hosts_it() -> None:
    need("uvloop")
    recipe = block(PAGE, "import host").replace("asyncio.run(", "__import__('uvloop').run(")
    assert run_script(whole(recipe)) == "HELLO\n"


def test_asyncio_is_a_guest_of_a_loop_that_runs() -> None:
    assert run_script(whole(block(PAGE, "loop.run()\nguest.close()"))) == "HELLO\nASYNCIO TOO\n"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.Runner is of Python 3.11")
def test_asyncio_runs_and_a_loop_is_beside_it() -> None:
    assert run_script(whole(block(PAGE, "asyncio.Runner"))) == "HELLO\n"


def test_loop_in_a_thread_and_asyncio_call_each_other(loop: Loop) -> None:
    thread = threading.Thread(target=loop.run, kwargs={"forever": True})
    thread.start()

    async def main() -> str:
        running = asyncio.get_running_loop()
        done = running.create_future()
        loop.call_soon_threadsafe(running.call_soon_threadsafe, done.set_result, "called")
        return str(await asyncio.wait_for(done, PATIENCE))

    try:
        assert asyncio.run(main()) == "called"
    finally:
        loop.stop()
        thread.join()


# Others


def test_any_loop_hosts_it() -> None:
    assert run_script(whole(block(PAGE, "timers=False"))) == "HELLO\n"


def test_tk_hosts_it(display: None) -> None:
    need("tkinter", "_tkinter")
    assert run_script(whole(block(PAGE, "tkinter"))) == "HELLO\n"


def test_error_ends_the_main_loop_of_tk(display: None) -> None:
    need("tkinter", "_tkinter")
    recipe = block(PAGE, "tkinter").replace("root.mainloop()", CATCHING.format(call="root.mainloop()"))
    assert run_script(failing(recipe)) == "caught leaves poll\n"


CATCHING = """
try:
    {call}
except cyncore.asyncore.ExitNow as error:
    print("caught", error)
"""


def test_qt_hosts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    need("PySide6")
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    assert run_script(whole(block(PAGE, "PySide6"))) == "HELLO\n"


def test_error_is_printed_by_qt(monkeypatch: pytest.MonkeyPatch) -> None:
    need("PySide6")
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    said = run_script(failing(block(PAGE, "PySide6")))
    assert "ExitNow: leaves poll" in said
    assert said.endswith("HELLO\n")


def test_glib_hosts_it() -> None:
    need("gi")
    assert run_script(whole(block(PAGE, "GLib")), "-W", "ignore::ImportWarning") == "HELLO\n"


def test_error_ends_the_watch_of_glib() -> None:
    need("gi")
    stop = 'GLib.timeout_add(300, lambda: print("no more") or main.quit())\nmain.run()'
    recipe = block(PAGE, "GLib").replace("main.run()", stop)
    recipe = recipe.replace("GLib.source_remove(watch)", "")  # it is gone already
    said = run_script(failing(recipe), "-W", "ignore::ImportWarning")
    assert "ExitNow: leaves poll" in said
    assert said.endswith("no more\n")
    assert "HELLO" not in said


def test_twisted_hosts_it() -> None:
    need("twisted")
    assert run_script(whole(block(PAGE, "twisted"))) == "HELLO\n"


def test_error_is_logged_by_twisted() -> None:
    need("twisted")
    recipe = block(PAGE, "twisted").replace(
        '        """An exception has left', '        print("lost", reason.value)\n        reactor.stop()\n        """An'
    )
    assert run_script(failing(recipe)).endswith("lost leaves poll\n")


def test_trio_hosts_it() -> None:
    need("trio")
    assert run_script(whole(block(PAGE, "wait_readable"))) == "HELLO\n"


def test_trio_is_a_guest() -> None:
    need("trio")
    assert run_script(whole(block(PAGE, "start_guest_run"))) == "HELLO\ntrio is done\n"


def test_gevent_hosts_it() -> None:
    need("gevent")
    assert run_script(whole(block(PAGE, "wait_read\n"))) == "HELLO\n"
