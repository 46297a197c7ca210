"""What the panel does, without its window: nothing blocks, nothing is lost, every end is told."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from photoshop_plugin.panel.events import (
    Applied,
    DocumentSeen,
    Finished,
    Sent,
    ServerSeen,
    Stopped,
    Working,
)
from photoshop_plugin.panel.history import History
from photoshop_plugin.settings import Settings
from scumble.client import Event, JobState, NotRunning, OutOfMemory
from tests.fakes.photoshop import Application
from tests.fakes.photoshop.objects import Enum
from tests.photoshop_plugin.panel.conftest import Desk
from tests.photoshop_plugin.scene import CHANGED, FILL_TITLE, Seen, open_document
from tests.photoshop_plugin.scripted_server import EVENTS

RETRY_LATER = -2147417846
"""RPC_E_SERVERCALL_RETRYLATER: a dialog or a transform is open."""
SETTINGS = Settings(prompt="a red barn", seed=40, count=3)


def test_a_generation_from_the_selection_to_layers(photoshop: Application, desk: Desk) -> None:
    document = open_document(photoshop)
    before = Seen(document)
    desk.controller.generate(SETTINGS)
    finished = desk.wait_for(Finished)
    kinds = [type(event) for event in desk.seen]
    assert kinds == [Sent, Sent, *[Working] * len(EVENTS), Finished]
    assert [event.job_id for event in desk.seen[:2]] == ["", "job-1"]
    assert not desk.controller.working
    assert [result.seed for result in finished.entry.results] == [40, 41, 42]
    assert before.differences(Seen(document)) == [], "nothing is laid back unasked"

    desk.controller.apply("job-1", [2, 0])
    applied = desk.wait_for(Applied)
    assert [layer.name for layer in applied.layers] == [
        "Scumble: a red barn (42)",
        "Scumble: a red barn (40)",
    ]
    assert [state.name for state in document.history[-1:]] == [FILL_TITLE]
    assert before.differences(Seen(document), but=CHANGED) == []


def test_the_history_outlives_the_panel_and_the_document(
    photoshop: Application, desk: Desk
) -> None:
    document = open_document(photoshop)
    desk.controller.generate(SETTINGS)
    entry = desk.wait_for(Finished).entry
    folder = desk.history.thumbnail(entry.job_id, 0).parent.parent
    reopened = History(folder)
    assert reopened.entries == (entry,)
    assert reopened.thumbnail("job-1", 1).read_bytes().startswith(b"PNG")
    assert reopened.place(entry).icc_profile == document.icc_profile
    box = entry.bounds
    rows, columns = slice(box.y, box.bottom), slice(box.x, box.right)
    kept = reopened.place(entry).mask
    assert kept is not None
    assert np.array_equal(kept.numpy()[..., 0], document.selected[rows, columns])

    document.close(Enum("SaveOptions.DONOTSAVECHANGES"))
    desk.controller.apply("job-1", [0])
    assert "No document is open" in desk.wait_for(Stopped).sentence
    assert desk.controller.entries == (entry,), "still offered"

    again = open_document(photoshop)
    desk.controller.apply("job-1", [0])
    assert len(desk.wait_for(Applied).layers) == 1
    assert again.history[-1].name == FILL_TITLE


def test_a_busy_photoshop_holds_up_nobody(photoshop: Application, desk: Desk) -> None:
    open_document(photoshop)
    desk.com.failures = [RETRY_LATER] * 10_000
    desk.controller.look()
    desk.controller.generate(SETTINGS)
    desk.controller.look_at_server()
    assert desk.wait_for(ServerSeen).info is not None
    assert "busy" in desk.wait_for(Stopped).sentence
    desk.com.failures.clear()
    desk.controller.look()
    assert desk.wait_for(DocumentSeen, lambda it: it.ready).document is not None


def test_photoshop_comes_and_goes(desk: Desk) -> None:
    desk.controller.look()
    assert "not running" in desk.wait_for(DocumentSeen).trouble
    desk.com.running = Application()
    open_document(desk.com.running)
    desk.controller.look()
    assert desk.wait_for(DocumentSeen).ready


def test_results_can_be_applied_while_the_next_ones_are_painted(
    photoshop: Application, desk: Desk
) -> None:
    open_document(photoshop)
    desk.controller.generate(SETTINGS)
    desk.wait_for(Finished)
    go_on = threading.Event()

    def painting() -> Iterator[Event]:
        yield EVENTS[0]
        assert go_on.wait(60)
        yield EVENTS[-1]

    desk.server.events = painting()
    desk.controller.generate(SETTINGS)
    desk.wait_for(Working)
    desk.controller.apply("job-1", [1])
    assert [layer.name for layer in desk.wait_for(Applied).layers] == ["Scumble: a red barn (41)"]
    assert desk.controller.working
    go_on.set()
    desk.wait_for(Finished)


def test_a_call_that_hangs_keeps_no_program_alive() -> None:
    """In a process of its own: Python waits at its end for every thread but daemons."""
    text = (
        "import threading\n"
        "from photoshop_plugin.panel.worker import Worker\n"
        "worker = Worker('hangs')\n"
        "worker.submit(threading.Event().wait)\n"
        "worker.shutdown()\n"
    )
    assert subprocess.run([sys.executable, "-c", text], check=False, timeout=300).returncode == 0


def test_cancelling_reaches_the_job(photoshop: Application, desk: Desk) -> None:
    document = open_document(photoshop)
    before = Seen(document)
    pressed = threading.Event()

    def painting() -> Iterator[Event]:
        yield EVENTS[0]
        assert pressed.wait(60)
        yield Event(9, state=JobState.CANCELLED)

    desk.server.events = painting()
    desk.controller.generate(SETTINGS)
    desk.wait_for(Working)
    desk.server.jobs[0].patches.clear()
    desk.controller.cancel()
    pressed.set()
    desk.wait_for(Working, lambda it: it.event.state is JobState.CANCELLED)
    deadline = time.monotonic() + 60
    while not desk.server.jobs[0].cancelled and time.monotonic() < deadline:
        time.sleep(0.01)
    assert desk.server.jobs[0].cancelled == 1
    assert before.differences(Seen(document)) == []


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ({"fails": OutOfMemory("Too large.")}, "Too large."),
        ({"plan_fails": NotRunning("No server.")}, "No server."),
        ({"documents": 0}, "No document"),
    ],
    ids=["the job fails", "the server is gone", "no document"],
)
def test_a_generation_that_fails_says_why(
    photoshop: Application, desk: Desk, trouble: dict[str, Any], words: str
) -> None:
    if trouble.pop("documents", 1):
        open_document(photoshop)
    for name, error in trouble.items():
        setattr(desk.server, name, error)
    desk.controller.generate(SETTINGS)
    assert words in desk.wait_for(Stopped).sentence
    assert not desk.controller.working
    assert desk.controller.entries == ()


def test_a_prompt_is_data(photoshop: Application, desk: Desk) -> None:
    document = open_document(photoshop)
    prompt = "'); app.activeDocument.close(); ('\n\"\\ \N{CAT FACE}"
    desk.controller.generate(Settings(prompt=prompt, seed=1))
    desk.wait_for(Finished)
    desk.controller.apply("job-1", [0])
    [layer] = desk.wait_for(Applied).layers
    assert document in photoshop.open_documents
    assert document.stack[0]._state.name == layer.name
    assert "activeDocument.close()" in layer.name


def test_discarded_pictures_leave_the_list(photoshop: Application, desk: Desk) -> None:
    open_document(photoshop)
    desk.controller.generate(SETTINGS)
    desk.wait_for(Finished)
    desk.controller.discard("job-1", [0, 2])
    [entry] = desk.controller.entries
    assert [result.index for result in entry.results] == [1]
    assert not desk.history.thumbnail("job-1", 0).exists()
    desk.controller.discard("job-1", [1])
    assert desk.controller.entries == ()


def test_a_broken_history_is_set_aside(desk: Desk) -> None:
    folder = desk.history.thumbnail("x", 0).parent.parent
    folder.mkdir(parents=True)
    (folder / "history.json").write_text('[{"job_id": 1}]')
    assert History(folder).entries == ()
    assert (folder / "history.json.broken").read_text() == '[{"job_id": 1}]'


def test_the_capture_shown_is_the_capture_sent(photoshop: Application, desk: Desk) -> None:
    document = open_document(photoshop)
    desk.controller.generate(SETTINGS)
    sent = desk.wait_for(Sent).prepared
    box = sent.plan.context
    visible = document.flatten()[box.y : box.bottom, box.x : box.right]
    assert np.array_equal(sent.capture.image.numpy()[..., :3], visible[..., :3])
