"""Documents with artboards: a result stands in the artboard that it shows in."""

from __future__ import annotations

import numpy as np
import pytest

from photoshop_plugin.document import Arrangement, Sides
from photoshop_plugin.host.photoshop import ComPhotoshop
from tests.fakes.photoshop import Application, Document
from tests.fakes.photoshop.com import Com
from tests.fakes.photoshop.layer import ArtLayer, GroupState, LayerSet, LayerState
from tests.fakes.photoshop.samples import on_canvas, over
from tests.photoshop_plugin.scene import (
    CHANGED,
    CONTEXT,
    SELECTED,
    SIZE,
    TITLE,
    Seen,
    open_document,
    patch_for,
    soft_selection,
    texture,
)

AROUND = (SELECTED[0], SELECTED[1], SELECTED[0] + SELECTED[2], SELECTED[1] + SELECTED[3])
"""Just what is selected: the context around it reaches out of this artboard."""
LEFT_HALF, RIGHT_HALF = (0, 0, 170, SIZE[1]), (170, 0, *SIZE)
"""The selection lies in both."""


def with_artboards(
    application: Application, *boxes: tuple[int, int, int, int], empty: bool = False
) -> tuple[Document, list[LayerSet]]:
    """The usual document, and above it artboards with a layer each."""
    document, boards = open_document(application), []
    for seed, box in enumerate(boxes):
        board = LayerSet(document, GroupState(f"Artboard {seed}", artboard=box))
        if not empty:
            pixels = texture(*SIZE, "uint8", 4, 40 + seed)
            board.stack.append(ArtLayer(document, LayerState("Picture", pixels)))
        boards.append(board)
    document.stack[:0] = boards
    document.step("Artboards")
    return document, boards


@pytest.mark.parametrize("land", ["same", "centre"])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("empty", [False, True])
def test_a_result_within_an_artboard_stands_in_it_and_shows(
    com: Com, host: ComPhotoshop, *, empty: bool, count: int, land: str
) -> None:
    com.running = Application(duplicates_land=land)  # type: ignore[arg-type]
    document, [other, board] = with_artboards(com.running, (0, 90, 50, 150), AROUND, empty=empty)
    before, described = Seen(document), host.describe()
    patches = [patch_for(document, f"v{seed}", seed=seed) for seed in range(count)]
    host.apply(described, patches, TITLE, Arrangement(group="Scumble"))
    inside = not empty or count == 1
    top = board.stack[0] if inside else document.stack[0]
    made = top if count == 1 else top.stack[0]
    assert made.name == "v0"
    assert len(other.stack) == (not empty)
    x, y = CONTEXT.x, CONTEXT.y
    shown = on_canvas(made._state.pixels, x, y, SIZE[1], SIZE[0])
    expected = over(before.picture, shown, soft_selection(SIZE, SELECTED))
    assert np.array_equal(document.flatten(), expected), "all that the mask lets show"
    assert before.differences(Seen(document), but=CHANGED) == []
    document.activeHistoryState = document.history[-2]
    assert before.differences(Seen(document)) == []


def test_a_result_that_shows_in_two_artboards_stands_above_both(
    photoshop: Application, host: ComPhotoshop
) -> None:
    document, _ = with_artboards(photoshop, LEFT_HALF, RIGHT_HALF)
    before, described = Seen(document), host.describe()
    host.apply(described, [patch_for(document, "wide")], TITLE)
    assert document.stack[0].name == "wide"
    pixels = document.stack[0]._state.pixels
    shown = on_canvas(pixels, CONTEXT.x, CONTEXT.y, SIZE[1], SIZE[0])
    expected = over(before.picture, shown, soft_selection(SIZE, SELECTED))
    assert np.array_equal(document.flatten(), expected)


def test_the_layer_asked_for_goes_before_the_artboard(
    photoshop: Application, host: ComPhotoshop
) -> None:
    document, [board] = with_artboards(photoshop, AROUND)
    below = document.stack[-1]
    host.apply(host.describe(), [patch_for(document, "low")], TITLE, Arrangement(above=below.id))
    assert [it.name for it in document.stack[-2:]] == ["low", below.name]
    assert len(board.stack) == 1


def test_in_a_grown_canvas_the_artboard_is_looked_for_at_its_new_place(
    photoshop: Application, host: ComPhotoshop
) -> None:
    document, [board] = with_artboards(photoshop, AROUND)
    patch = patch_for(document, "moved")  # where the artboard was before
    host.apply(host.describe(), [patch], TITLE, Arrangement(grow=Sides(left=9, top=4)))
    assert document.stack[0].name == "moved"
    assert len(board.stack) == 1
