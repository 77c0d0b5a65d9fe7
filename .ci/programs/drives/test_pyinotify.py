# SPDX-License-Identifier: MIT
"""pyinotify's AsyncNotifier tells of real files that are made, written, moved and deleted."""

from __future__ import annotations

import asyncore
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyinotify
import pytest
from deadline import wait_until


class Told(pyinotify.ProcessEvent):  # type: ignore[misc]
    def my_init(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.renamed: list[tuple[str, str]] = []

    def process_default(self, event: Any) -> None:
        self.events.append((event.maskname, event.name))

    def process_IN_MOVED_TO(self, event: Any) -> None:
        self.events.append((event.maskname, event.name))
        self.renamed.append((Path(getattr(event, "src_pathname", "")).name, event.name))


class Watch:
    def __init__(self, folder: Path, map: Any) -> None:
        self.folder = folder
        self.map = map
        self.told = Told()
        self.manager = pyinotify.WatchManager()
        self.notifier = pyinotify.AsyncNotifier(self.manager, self.told, channel_map=map)
        self.manager.add_watch(str(folder), pyinotify.ALL_EVENTS, rec=True, auto_add=True)

    def turn(self) -> None:
        asyncore.loop(timeout=0.1, map=self.map, count=1)

    def until_told(self, *events: tuple[str, str]) -> None:
        wait_until(lambda: set(events) <= set(self.told.events), self.turn)


@pytest.fixture(params=[True, False], ids=["own map", "global map"])
def watch(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Watch]:
    made = Watch(tmp_path, {} if request.param else None)
    yield made
    made.notifier.close()
    made.notifier.stop()
    assert not made.map
    assert not asyncore.socket_map


def test_file_made_written_and_closed(watch: Watch) -> None:
    (watch.folder / "a").write_bytes(b"data")
    watch.until_told(("IN_CREATE", "a"), ("IN_OPEN", "a"), ("IN_MODIFY", "a"), ("IN_CLOSE_WRITE", "a"))
    names = [what for what, name in watch.told.events if name == "a"]
    assert names == ["IN_CREATE", "IN_OPEN", "IN_MODIFY", "IN_CLOSE_WRITE"]


def test_move_tells_both_names(watch: Watch) -> None:
    (watch.folder / "old").write_bytes(b"")
    (watch.folder / "old").rename(watch.folder / "new")
    watch.until_told(("IN_MOVED_FROM", "old"), ("IN_MOVED_TO", "new"))
    assert watch.told.renamed == [("old", "new")]


def test_deletion(watch: Watch) -> None:
    (watch.folder / "a").write_bytes(b"")
    (watch.folder / "a").unlink()
    watch.until_told(("IN_DELETE", "a"))


def test_file_in_a_folder_that_came_later(watch: Watch) -> None:
    (watch.folder / "sub").mkdir()
    watch.until_told(("IN_CREATE|IN_ISDIR", "sub"))
    (watch.folder / "sub" / "deep").write_bytes(b"data")
    watch.until_told(("IN_CREATE", "deep"), ("IN_CLOSE_WRITE", "deep"))


def test_hundreds_of_files_in_order(watch: Watch) -> None:
    wanted = [f"f{number}" for number in range(300)]
    for name in wanted:
        (watch.folder / name).write_bytes(b"")
    watch.until_told(("IN_CLOSE_WRITE", wanted[-1]))
    assert [name for what, name in watch.told.events if what == "IN_CREATE"] == wanted


def test_idle_notifier_is_told_nothing(watch: Watch) -> None:
    for _ in range(3):
        asyncore.loop(timeout=0.01, map=watch.map, count=1)
    assert watch.told.events == []
