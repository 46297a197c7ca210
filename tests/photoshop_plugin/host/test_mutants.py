"""The checks of this folder are sharp: small mistakes in the programs do not get past them."""

from __future__ import annotations

import numpy as np
import pytest

from photoshop_plugin.errors import PhotoshopError
from photoshop_plugin.host import script
from photoshop_plugin.host.photoshop import ComPhotoshop
from tests.fakes.photoshop import Application
from tests.fakes.photoshop.com import Com
from tests.photoshop_plugin.scene import (
    CONTEXT,
    LATER,
    SIZE,
    TITLE,
    Seen,
    assert_applied,
    open_document,
    patch_for,
    soft_selection,
)


def round_trip(com: Com, host: ComPhotoshop) -> None:
    """Asserts what matters at once."""
    com.running = Application(duplicates_land="centre")
    document = open_document(com.running)
    before = Seen(document)
    described = host.describe()
    capture = host.capture(described, CONTEXT)
    rows, columns = slice(CONTEXT.y, CONTEXT.bottom), slice(CONTEXT.x, CONTEXT.right)
    assert np.array_equal(capture.image.numpy(), before.picture[rows, columns, :3])
    assert np.array_equal(capture.selection.numpy()[..., 0], document.selected[rows, columns])
    assert before.differences(Seen(document)) == []
    document.select(soft_selection(SIZE, LATER))
    before, patch = Seen(document), patch_for(document)
    host.apply(described, [patch], TITLE)
    assert_applied(before, [patch])


def test_the_programs_pass(com: Com, host: ComPhotoshop) -> None:
    round_trip(com, host)


@pytest.mark.parametrize(
    ("program", "right", "wrong"),
    [
        ("lib", "app.preferences.rulerUnits = Units.PIXELS;", ""),
        ("lib", "app.displayDialogs = DialogModes.NO;", ""),
        ("lib", "app.preferences.rulerUnits = units;", ""),
        ("lib", "app.displayDialogs = dialogs;", ""),
        ("lib", 'stringIDToTypeID("selection")', 'stringIDToTypeID("mask")'),
        ("capture", "doc.activeHistoryState = back;", ""),
        ("capture", "scumbleRemoveOtherChannels(copy, request.channel);", ""),
        ("capture", "new UnitValue(b[0]", "new UnitValue(b[0] - 1"),
        ("capture", "options.layers = false;", ""),
        ("capture", "if (copy !== null) { copy.close(SaveOptions.DONOTSAVECHANGES); }", ""),
        ("apply", '"revealSelection"', '"revealAll"'),
        ("apply", 'stringIDToTypeID("mask")', 'stringIDToTypeID("matte")'),
        ("apply", "layer.isBackgroundLayer = false;", ""),
        ("apply", ", OpenDocumentType.TIFF", ""),
        ("apply", "layer.translate(", "(function () {})("),
        ("apply", "x + before[0] - after[0]", "x - after[0]"),
        ("apply", "    doc.selection.deselect();", ""),
        ("apply", "    doc.selection.load(kept", "    (function () {})(kept"),
        ("apply", "kept.remove();", ""),
        ("apply", "doc.activeLayer = active;", ""),
        ("apply", "active.visible = visible;", ""),
        ("apply", 'doc.suspendHistory(request.title, "scumbleSuspended()");', "scumbleSuspended();"),
        ("apply", "scumbleState.sources[i].close(SaveOptions.DONOTSAVECHANGES);", ""),
        ("apply", "layer.name = patch.name;", ""),
    ],
)  # fmt: skip
def test_a_mistake_in_a_program_is_noticed(
    com: Com,
    host: ComPhotoshop,
    *,
    monkeypatch: pytest.MonkeyPatch,
    program: str,
    right: str,
    wrong: str,
) -> None:
    real = script._source
    assert real(program).count(right) >= 1
    monkeypatch.setattr(
        script,
        "_source",
        lambda name: real(name).replace(right, wrong, 1) if name == program else real(name),
    )
    with pytest.raises((AssertionError, PhotoshopError)):
        round_trip(com, host)
