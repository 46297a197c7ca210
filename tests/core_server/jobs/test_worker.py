"""The worker's loop: what it does when there is nothing to do."""

from __future__ import annotations

import gc
import multiprocessing
from pathlib import Path

import pytest

from core_server.jobs import worker
from tests.fakes.runtime import FakeRuntime


class Rested(Exception):
    """Ends the loop, which nothing else does."""


class Tired(FakeRuntime):
    settled = 0

    def rest(self) -> None:
        super().rest()
        self.settled = gc.get_freeze_count()
        raise Rested


def test_without_work_the_runtime_gives_its_memory_back(tmp_path: Path) -> None:
    commands, events = multiprocessing.Pipe(duplex=False)
    runtime = Tired("tiny", "cpu", tmp_path)
    with pytest.raises(Rested):
        worker._Worker(commands, events, idle_seconds=0.01).serve(runtime)
    gc.unfreeze()
    assert runtime.calls == ["load ", "rest"]
    assert runtime.settled, "what is loaded is not looked through again in the midst of a picture"
