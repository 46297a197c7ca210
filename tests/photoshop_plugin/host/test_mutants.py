"""The checks of this folder are sharp: small mistakes in the programs do not get past them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from photoshop_plugin.document import Arrangement, LayerPatch, Sides, Source
from photoshop_plugin.errors import PhotoshopError
from photoshop_plugin.host import script
from photoshop_plugin.host.photoshop import ComPhotoshop
from scumble.client import Bounds, ColorSpace, Pixels
from tests.fakes.photoshop import Application, Document
from tests.fakes.photoshop.com import Com
from tests.fakes.photoshop.layer import ArtLayer, GroupState, LayerSet, LayerState
from tests.fakes.photoshop.samples import convert_mode
from tests.photoshop_plugin.scene import (
    CONTEXT,
    LATER,
    SELECTED,
    SIZE,
    TITLE,
    Seen,
    assert_applied,
    open_document,
    patch_for,
    soft_selection,
    texture,
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


def look_round_trip(com: Com, host: ComPhotoshop) -> None:
    """Marks tell strokes apart from looks, whatever lies in front."""
    com.running = Application()
    host._application._runner = None  # another Photoshop than before
    document = open_document(com.running)
    described, layer = host.describe(), document.stack[-1]
    marks = [host.look(described)]
    document.step("Lasso")
    marks.append(host.look(described))
    layer._state = replace(layer._state, pixels=texture(*SIZE, "uint8", 4, 1))
    marks.append(host.look(described))
    document.step("Brush Tool")
    del document.history[1]  # as where there are too many: of the same length now
    document.position -= 1
    marks.append(host.look(described))
    assert len(set(marks)) == 4 and all(marks)
    other = Document(com.running, texture(9, 9))
    assert host.look(described) is None
    assert com.running.front is other


def kinds_round_trip(com: Com, host: ComPhotoshop) -> None:
    """The same for a CMYK document with groups, single layers as a source, more canvas, a new document, a pattern."""
    com.running = Application()
    host._application._runner = None  # another Photoshop than before
    document = open_document(com.running, channels=4, mode="CMYK", profile="Coated", icc=b"Coated")
    pixels = {name: texture(150, 120, "uint8", 5, seed) for name, seed in (("low", 3), ("high", 4))}
    for array in pixels.values():
        array[..., 4] = 255
    low, high = (ArtLayer(document, LayerState(it, pixels[it], 60, 0)) for it in pixels)
    low._state = replace(low._state, clipped=True)
    group = LayerSet(document, GroupState("Group"))
    group.stack[:] = [high, low]
    document.stack.insert(0, group)
    document.active = low
    document.step("Layers")
    before, described = Seen(document), host.describe()
    for source, hidden in ((Source.LAYER, (0, 2)), (Source.BELOW, (0,))):
        image = host.capture(described, CONTEXT, source).image.numpy()
        assert before.differences(Seen(document)) == []
        states = [layer._state for layer in (high, low, *document.stack[1:])]
        if 2 in hidden:
            low._state = replace(low._state, clipped=False)
            for layer in document.stack[1:]:
                layer._state = replace(layer._state, visible=False)
        high._state = replace(high._state, visible=False)
        shown = convert_mode(document.flatten(), "CMYK", "RGB")
        for layer, state in zip((high, low, *document.stack[1:]), states, strict=True):
            layer._state = state
        shown = shown[CONTEXT.y : CONTEXT.bottom, CONTEXT.x : CONTEXT.right]
        assert image.shape[2] == (4 if source is Source.LAYER else 3)
        seen = shown[..., 3] > 0
        assert np.array_equal(image[seen][:, :3], shown[seen][:, :3])

    painted = texture(CONTEXT.width, CONTEXT.height)
    moved = Bounds(CONTEXT.x + 3, CONTEXT.y + 5, *CONTEXT.extent)
    patches = [
        LayerPatch(name, Pixels.from_numpy(painted, ColorSpace.SRGB), None, moved)
        for name in ("first", "second", "third")
    ]
    place = Arrangement(above=low.id, group="Scumble: moss", grow=Sides(3, 5, 7, 9))
    host.apply(described, patches, TITLE, place)
    assert document.extent == (SIZE[0] + 10, SIZE[1] + 14)
    assert np.array_equal(document.flatten()[5, 3], before.picture[0, 0])
    assert com.running.conversions[-1] == ("sRGB IEC61966-2.1", "Coated")
    assert [layer.name for layer in group.stack] == ["high", "Scumble: moss", "low"]
    made = group.stack[1]
    assert [layer.name for layer in made.stack] == ["first", "second", "third"]
    opaque = np.dstack([painted, np.full(painted.shape[:2], 255, "uint8")])
    assert np.array_equal(made.stack[0]._state.pixels, convert_mode(opaque, "RGB", "CMYK"))
    assert document.active is low
    document.activeHistoryState = document.history[-2]
    assert before.differences(Seen(document)) == []

    samples = texture(20, 10, channels=4)
    host.open_picture(Pixels.from_numpy(samples, ColorSpace.SRGB), "made", 72, b"")
    front = com.running.front
    assert (front.name, len(com.running.open_documents), front.alphas) == ("made", 2, [])
    assert np.array_equal(front.flatten()[..., 3], samples[..., 3])
    host.define_pattern(Pixels.from_numpy(texture(20, 10)), "tile")
    assert np.array_equal(com.running.patterns["tile"][..., :3], texture(20, 10))
    assert com.running.front is front
    assert [it.name for it in host.documents()] == ["made", "photo.psd"]


def mask_round_trip(com: Com, host: ComPhotoshop) -> None:
    """In Quick Mask mode, and where merged copies are larger than the document; with history that knows of the mode,
    and without."""
    for is_a_step in (True, False):
        com.running = Application(merged_copies_grow=(3, 5, 0, 1), quick_mask_is_a_step=is_a_step)
        host._application._runner = None  # another Photoshop than before
        document = open_document(com.running)
        for masked in (True, False):
            chosen = soft_selection(SIZE, LATER) if masked else None
            document.quickMaskMode = False
            document.select(chosen)
            document.quickMaskMode = masked
            document.step("Brush Tool")
            before = Seen(document)
            assert (host.look(host.describe()) is None) == masked
            described = host.unmasked(host.describe())
            assert described.selection == (Bounds(*LATER) if masked else None)
            capture = host.capture(described, CONTEXT)
            rows, columns = slice(CONTEXT.y, CONTEXT.bottom), slice(CONTEXT.x, CONTEXT.right)
            assert np.array_equal(capture.image.numpy(), before.picture[rows, columns, :3])
            mask = np.full(SIZE[::-1], 255, np.uint8) if chosen is None else chosen
            assert np.array_equal(capture.selection.numpy()[..., 0], mask[rows, columns])
            assert before.differences(Seen(document)) == []
            patch = patch_for(document)
            host.apply(described, [patch], TITLE)
            assert_applied(before, [patch])


def board_round_trip(com: Com, host: ComPhotoshop) -> None:
    """Of three artboards the last one holds all that the mask lets show."""
    com.running = Application()
    host._application._runner = None  # another Photoshop than before
    document = open_document(com.running)
    pixels = texture(*SIZE, "uint8", 4, 9)
    right, bottom = SELECTED[0] + SELECTED[2], SELECTED[1] + SELECTED[3]
    for box in (
        (*SELECTED[:2], right, bottom),
        (0, 0, right, bottom - 1),
        (SELECTED[0] + 1, 0, *SIZE),
    ):
        board = LayerSet(document, GroupState("Artboard", artboard=box))
        board.stack.append(ArtLayer(document, LayerState("Picture", pixels)))
        document.stack.insert(0, board)
    document.step("Artboards")
    host.apply(host.describe(), [patch_for(document)], TITLE)
    assert [len(getattr(it, "stack", ())) for it in document.stack[:3]] == [1, 1, 2]


def test_the_programs_pass(com: Com, host: ComPhotoshop) -> None:
    round_trip(com, host)
    kinds_round_trip(com, host)
    look_round_trip(com, host)
    mask_round_trip(com, host)
    board_round_trip(com, host)


@pytest.mark.parametrize(
    ("program", "right", "wrong"),
    [
        ("lib", "app.preferences.rulerUnits = Units.PIXELS;", ""),
        ("lib", "app.displayDialogs = DialogModes.NO;", ""),
        ("lib", "app.preferences.rulerUnits = units;", ""),
        ("lib", "app.displayDialogs = dialogs;", ""),
        ("lib", 'stringIDToTypeID("selection")', 'stringIDToTypeID("mask")'),
        ("capture", "doc.activeHistoryState = back;", ""),
        ("capture", "scumbleRemoveOtherChannels(copy, selected ? request.channel : \"\");", ""),
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
        ("lib", "return [i].concat(inside);", "return inside;"),
        ("lib", "front = answer.value.front;", ""),
        ("describe", "!request.all", "true"),
        ("capture", 'request.source === "below"', "false"),
        ("capture", "layer.visible = false;", ""),
        ("capture", "layer.grouped = false;", ""),
        ("capture", "scumbleIsolate(layer, path.slice(1), below);", ""),
        ("capture", "if (request.srgb) {", "if (false) {"),
        ("capture", "    app.activeDocument = copy;\n    copy.close", "    (function () {})"),
        ("apply", "if (anchor !== null) { scumbleMove(layer, anchor); }", ""),
        ("apply", "into ? ElementPlacement.INSIDE : ", ""),
        ("apply", "    group.move(anchor, ElementPlacement.PLACEBEFORE);", ""),
        ("apply", "group.name = request.group;", ""),
        ("apply", "    anchor = layer;", ""),
        ("apply", "if (request.grow !== null) { scumbleGrow(doc, request.grow); }", ""),
        ("apply", "AnchorPosition.BOTTOMRIGHT", "AnchorPosition.TOPLEFT"),
        ("apply", "source.colorProfileName = srgb;", ""),
        ("apply", "{ source.convertProfile(", "{ (function () {})("),
        ("lib", "    doc.quickMaskMode = true;\n    doc.activeHistoryState = back;", "    doc.quickMaskMode = true;"),
        ("lib", "  doc.quickMaskMode = false;", ""),
        ("capture", "[found[0] - box[0], found[1] - box[1]]", "[0, 0]"),
        ("capture", "  doc.selection.selectAll();", ""),
        ("capture", "b[0] + by[0]", "b[0]"),
        ("capture", 'selected ? request.channel : ""', "request.channel"),
        ("apply", "r[0] <= box[0] && ", ""),
        ("apply", "r[3] >= box[3]", "true"),
        ("apply", "anchor = board.layers[0];", ""),
        ("apply", 'stringIDToTypeID("artboardRect")', 'stringIDToTypeID("artboard")'),
        ("apply", "if (masking) { doc.quickMaskMode = false; }", ""),
        ("apply", "  if (masking) { doc.quickMaskMode = true; }", ""),
        ("look", " || app.activeDocument.quickMaskMode", ""),
        ("look", "doc.historyStates.length", '""'),
        ("look", "doc.activeHistoryState.name", '""'),
        ("look", 'doc.histogram.join(" ")', '""'),
        ("look", "app.activeDocument.id !== request.document || ", ""),
        ("open", "layer.isBackgroundLayer = false;", ""),
        ("open", "SelectionType.REPLACE, true", "SelectionType.REPLACE, false"),
        ("open", "source.channels[source.channels.length - 1].remove();", ""),
        ("open", "doc.selection.selectAll();", ""),
        ("open", 'putClass(stringIDToTypeID("pattern"))', 'putClass(stringIDToTypeID("channel"))'),
        ("open", "    source.close(SaveOptions.DONOTSAVECHANGES);", ""),
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
        kinds_round_trip(com, host)
        look_round_trip(com, host)
        mask_round_trip(com, host)
        board_round_trip(com, host)
