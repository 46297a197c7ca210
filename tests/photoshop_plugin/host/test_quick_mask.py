"""Documents in Quick Mask mode: the mask counts as the selection and stays what it is."""

from __future__ import annotations

import numpy as np
import pytest

from photoshop_plugin.document import Arrangement, Sides
from photoshop_plugin.errors import DocumentRefused, ScriptFailed
from photoshop_plugin.flow import generate
from photoshop_plugin.host.photoshop import ComPhotoshop
from photoshop_plugin.live import region_of
from photoshop_plugin.settings import Settings
from photoshop_plugin.task import Task, resolve
from scumble.client import Bounds
from tests.fakes.photoshop import Application, Document
from tests.fakes.photoshop.com import Com
from tests.fakes.photoshop.layer import ArtLayer
from tests.fakes.photoshop.objects import Fault
from tests.photoshop_plugin.scene import (
    CHANGED,
    CONTEXT,
    FILL_TITLE,
    LATER,
    SELECTED,
    SIZE,
    TITLE,
    Seen,
    assert_applied,
    open_document,
    patch_for,
    soft_selection,
)
from tests.photoshop_plugin.scripted_server import ScriptedServer

ROWS, COLUMNS = slice(CONTEXT.y, CONTEXT.bottom), slice(CONTEXT.x, CONTEXT.right)


def masked_document(application: Application, *, painted: bool = True) -> Document:
    """In Quick Mask mode since the last save, with SELECTED as the mask. painted: with a stroke in that mode."""
    document = open_document(application)
    if painted:
        document.select(soft_selection(SIZE, LATER))
    document.quickMaskMode = True
    if painted:
        document.quick_mask = soft_selection(SIZE, SELECTED)
        document.step("Brush Tool")
    document.saved_state = document.history[document.position]
    return document


@pytest.mark.parametrize("painted", [True, False])
@pytest.mark.parametrize("is_a_step", [True, False], ids=["steps", "no-steps"])
@pytest.mark.parametrize("keeps_selection", [True, False])
def test_the_mask_is_read_as_the_selection_and_nothing_changes(
    com: Com, host: ComPhotoshop, *, keeps_selection: bool, is_a_step: bool, painted: bool
) -> None:
    com.running = Application(
        duplicates_keep_selection=keeps_selection, quick_mask_is_a_step=is_a_step
    )
    document = masked_document(com.running, painted=painted)
    before, described = Seen(document), host.describe()
    assert (described.quick_mask, described.selection) == (True, None)
    assert resolve(Task.AUTO, described, "moss", 1.0) is Task.FILL, "as the panel guesses"
    found = host.unmasked(described)
    assert (found.quick_mask, found.selection) == (False, Bounds(*SELECTED))
    capture = host.capture(found, CONTEXT)
    assert np.array_equal(capture.image.numpy(), before.picture[ROWS, COLUMNS, :3])
    mask = soft_selection(SIZE, SELECTED)
    assert np.array_equal(capture.selection.numpy()[..., 0], mask[ROWS, COLUMNS])
    assert before.differences(Seen(document)) == []


@pytest.mark.parametrize("value", [0, 255])
def test_a_mask_of_nothing_and_one_never_painted_on_select_nothing(
    photoshop: Application, host: ComPhotoshop, value: int
) -> None:
    document = masked_document(photoshop)
    document.quick_mask = np.full(SIZE[::-1], value, np.uint8)
    document.step("Fill")
    before = Seen(document)
    assert host.unmasked(host.describe()).selection is None
    assert before.differences(Seen(document)) == []


@pytest.mark.parametrize("sides", [Sides(), Sides(3, 5, 7, 9)])
@pytest.mark.parametrize("is_a_step", [True, False], ids=["steps", "no-steps"])
def test_a_layer_comes_in_one_step_and_the_mask_stays(
    com: Com, host: ComPhotoshop, *, is_a_step: bool, sides: Sides
) -> None:
    com.running = Application(quick_mask_is_a_step=is_a_step)
    document = masked_document(com.running)
    before, patch = Seen(document), patch_for(document)
    host.apply(host.unmasked(host.describe()), [patch], TITLE, Arrangement(grow=sides))
    if not any(sides):
        assert_applied(before, [patch])
    assert [state.name for state in document.history[-2:]] == ["Brush Tool", TITLE]
    assert document.quick_mask is not None
    kept = document.quick_mask[sides.top :, sides.left :][: SIZE[1], : SIZE[0]]
    assert np.array_equal(kept, soft_selection(SIZE, SELECTED))
    document.activeHistoryState = document.history[-2]
    assert before.differences(Seen(document)) == []


@pytest.mark.parametrize("is_a_step", [True, False], ids=["steps", "no-steps"])
def test_a_failing_command_leaves_the_mode_and_the_mask(
    com: Com, host: ComPhotoshop, monkeypatch: pytest.MonkeyPatch, *, is_a_step: bool
) -> None:
    com.running = Application(quick_mask_is_a_step=is_a_step)
    document = masked_document(com.running)

    def fail(*_: object) -> None:
        raise Fault("Disque de travail plein.")

    fail.is_method = True  # type: ignore[attr-defined]
    monkeypatch.setattr(ArtLayer, "translate", fail)
    before = Seen(document)
    with pytest.raises(ScriptFailed, match="Disque de travail plein"):
        host.apply(host.unmasked(host.describe()), [patch_for(document)], TITLE)
    assert before.differences(Seen(document)) == []
    monkeypatch.setattr(Document, "saveAs", fail)
    with pytest.raises(ScriptFailed, match="Disque de travail plein"):
        host.capture(host.unmasked(host.describe()), CONTEXT)
    assert before.differences(Seen(document)) == []


def test_a_generation_in_the_mode_and_one_that_began_outside_it(
    photoshop: Application, host: ComPhotoshop
) -> None:
    document = masked_document(photoshop)
    before, server = Seen(document), ScriptedServer()
    [layer] = generate(host, server, Settings(prompt="moss"))
    assert document.history[-1].name == FILL_TITLE
    assert before.differences(Seen(document), but=CHANGED) == []
    inside = layer.bounds
    assert inside.x <= SELECTED[0]
    assert inside.right >= SELECTED[0] + SELECTED[2]
    document.quickMaskMode = False
    described = host.describe()
    document.quickMaskMode = True
    before, patch = Seen(document), patch_for(document)
    host.apply(described, [patch], TITLE)
    assert before.differences(Seen(document), but=CHANGED) == []


def test_live_painting_leaves_the_mode_alone(photoshop: Application, host: ComPhotoshop) -> None:
    document = masked_document(photoshop)
    described = host.describe()
    assert host.look(described) is None
    with pytest.raises(DocumentRefused, match="Press Q"):
        region_of(described, Settings(prompt="moss"))
    document.quickMaskMode = False
    assert host.look(described)
