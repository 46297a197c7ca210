"""What is done follows from selection, prompt and strength."""

from __future__ import annotations

import pytest

from photoshop_plugin.document import Document
from photoshop_plugin.errors import DocumentRefused
from photoshop_plugin.task import Task, resolve
from scumble.client import Bounds, Extent


def document(selected: bool) -> Document:
    return Document(
        id=1,
        name="photo.psd",
        extent=Extent(640, 480),
        resolution=72.0,
        mode="RGB",
        bits=8,
        profile="",
        quick_mask=False,
        selection=Bounds(10, 20, 30, 40) if selected else None,
    )


@pytest.mark.parametrize(
    ("selected", "prompt", "strength", "task"),
    [
        (True, "moss", 1.0, Task.FILL),
        (True, "moss", 0.6, Task.RESTYLE),
        (True, " ", 1.0, Task.REMOVE),
        (False, "moss", 1.0, Task.LAYER),
        (False, "moss", 0.6, Task.RESTYLE),
    ],
)
def test_auto(*, selected: bool, prompt: str, strength: float, task: Task) -> None:
    assert resolve(Task.AUTO, document(selected), prompt, strength) is task


@pytest.mark.parametrize("task", [it for it in Task if it is not Task.AUTO])
def test_what_is_asked_for_is_done(task: Task) -> None:
    assert resolve(task, document(selected=True), "moss", 0.5) is task


@pytest.mark.parametrize(
    ("task", "selected", "prompt", "code"),
    [
        (Task.AUTO, False, "", "nothing_asked"),
        (Task.FILL, False, "moss", "no_selection"),
        (Task.REMOVE, False, "", "no_selection"),
        (Task.FILL, True, "", "no_prompt"),
        (Task.LAYER, True, "", "no_prompt"),
    ],
)
def test_what_cannot_be_done(*, task: Task, selected: bool, prompt: str, code: str) -> None:
    with pytest.raises(DocumentRefused) as refused:
        resolve(task, document(selected), prompt, 1.0)
    assert refused.value.code == code
