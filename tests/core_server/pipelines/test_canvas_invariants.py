"""Invariants 2, 4, 5 and 6 of the canvas over thousands of random documents, from selection to pasted document."""

from __future__ import annotations

import numpy as np
import pytest

from core_server.canvas.masks import make_masks
from core_server.canvas.pixels import ColorSpace, Pixels
from core_server.canvas.plan import CanvasOptions, FillMode, SeamlessAxes
from core_server.pipelines.inpaint_canvas import prepare
from core_server.pipelines.passes import paint_context, passes_of, unchanged
from core_server.pipelines.request import Inpaint, Parameters
from core_server.pipelines.settings import settle
from scumble.client import Bounds, Patch, paste
from scumble.client import CanvasPlan as ClientPlan
from scumble.client import ColorSpace as ClientSpace
from scumble.client import Pixels as ClientPixels
from scumble.client import SeamlessAxes as ClientAxes

SIDES = (1, 2, 3, 7, 31, 64, 97)
DTYPES = ("uint8", "uint16", "float16", "float32")
SPACES = (ColorSpace.SRGB, ColorSpace.LINEAR_REC709, ColorSpace.NON_COLOR)


def random_case(rng):
    """A document, a selection of one or many px anywhere, and options."""
    width, height = (int(side) for side in rng.choice(SIDES, 2))
    if rng.random() < 0.1:
        width, height = (300, 1) if rng.random() < 0.5 else (1, 300)
    dtype = str(rng.choice(DTYPES))
    channels = int(rng.choice([1, 3, 4]))
    values = rng.random((height, width, channels))
    top = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    space = SPACES[rng.integers(len(SPACES))]
    document = Pixels((values * top).astype(dtype), space)
    selection = np.zeros((height, width), np.uint8)
    y, x = int(rng.integers(height)), int(rng.integers(width))
    rows = np.arange(y, y + rng.integers(1, height + 1)) % height
    columns = np.arange(x, x + rng.integers(1, width + 1)) % width
    selection[rows[:, None], columns] = rng.integers(1, 256)
    options = CanvasOptions(
        exact_selection=bool(rng.integers(2)),
        fill=FillMode.NONE if rng.random() < 0.5 else FillMode.BLUR,
        seamless=SeamlessAxes(rng.choice(list(SeamlessAxes))),
        grow=int(rng.integers(0, 6)),
        feather=int(rng.integers(0, 6)),
    )
    return document, selection, options


def client_pixels(pixels: Pixels) -> ClientPixels:
    return ClientPixels.from_numpy(pixels.array, ClientSpace(pixels.color_space.value))


def pasted(document: Pixels, patch: Pixels, canvas) -> np.ndarray:
    """The document with the patch in it, by the client library's one paste."""
    plan = canvas.plan
    told = ClientPlan(
        **{
            **{name: getattr(plan, name) for name in ("grow", "feather", "blend", "passes")},
            "document": plan.document,
            "selection": plan.selection,
            "mask": plan.mask,
            "context": plan.context,
            "model": plan.model,
            "exact_selection": plan.exact_selection,
            "fill": plan.fill.value,
            "intent": plan.intent.value,
            "seamless": ClientAxes(plan.seamless.value),
        }
    )
    whole = Patch(
        index=0,
        pixels=client_pixels(patch),
        bounds=Bounds(*plan.mask),
        composite_mask=client_pixels(canvas.composite_mask),
        seed=0,
        recipe={},
        plan=told,
        map_name="",
    )
    return paste(client_pixels(document), whole).numpy()


def prepared(runtime, document, selection, options, strength=0.5):
    model = runtime._model("tiny")
    request = Inpaint(
        parameters=Parameters(prompt="x"),
        image="a",
        selection="m",
        strength=strength,
        options=options,
    )
    images = {"a": document, "m": Pixels.mask(selection)}
    canvas = prepare(model, request, settle(request, model.profile), images)
    return canvas, passes_of(canvas.plan, 8, strength, canvas.multiple)


@pytest.mark.parametrize("part", range(4))
def test_a_model_that_changes_nothing_leaves_the_document(runtime, part):
    rng = np.random.default_rng(100 + part)
    for _ in range(300):
        document, selection, options = random_case(rng)
        canvas, passes = prepared(runtime, document, selection, options)
        painted = paint_context(canvas.image, canvas.mask, passes, unchanged)
        assert painted.shape[:2] == canvas.plan.context.extent[::-1], "invariant 2"
        patch, _ = canvas.patch(painted, painted)
        result = pasted(document, patch, canvas)
        outside = selection_reach(canvas, selection)
        assert (result[outside] == document.array[outside]).all(), "invariant 4"
        if canvas.plan.fill is FillMode.NONE:
            assert (result == document.array).all(), "invariant 5"


@pytest.mark.parametrize("part", range(2))
def test_a_model_that_changes_everything_leaves_what_is_not_masked(runtime, part):
    rng = np.random.default_rng(200 + part)
    for _ in range(300):
        document, selection, options = random_case(rng)
        canvas, passes = prepared(runtime, document, selection, options)
        noise = rng.random((*canvas.mask.shape, 3), np.float32)
        seen = paint_context(canvas.image, canvas.mask, passes, unchanged)
        patch, _ = canvas.patch(noise, seen)
        result = pasted(document, patch, canvas)
        outside = selection_reach(canvas, selection)
        assert (result[outside] == document.array[outside]).all()
        assert result.dtype == document.array.dtype
        if document.channels == 4:
            assert (result[..., 3] == document.array[..., 3]).all()


def selection_reach(canvas, selection) -> np.ndarray:
    """Where the composite mask is 0, over the document; computed again from the whole selection, not the context."""
    plan = canvas.plan
    place = np.zeros(selection.shape, canvas.composite_mask.array.dtype)
    rows = np.arange(plan.mask.y, plan.mask.bottom) % plan.document.height
    columns = np.arange(plan.mask.x, plan.mask.right) % plan.document.width
    place[rows[:, None], columns] = canvas.composite_mask.array[..., 0]
    if not plan.exact_selection:
        assert (place[selection > 0] == np.iinfo(place.dtype).max).all(), "invariant 3"
    else:
        assert (place == selection).all()
    return place == 0


@pytest.mark.parametrize("axes", ["x", "y", "xy"])
def test_on_a_tile_everything_moves_with_the_tile(runtime, axes):
    """Invariant 6: rolling document and selection rolls plan, masks and fill; nothing happens at the border."""
    rng = np.random.default_rng(7)
    wraps = np.array(["y" in axes, "x" in axes])
    for _ in range(40):
        array = rng.integers(0, 256, (48, 64, 3), np.uint8)
        selection = np.zeros((48, 64), np.uint8)
        selection[10 : 10 + rng.integers(1, 9), 20 : 20 + rng.integers(1, 9)] = 255
        shift = tuple(int(it) for it in rng.integers(0, (48, 64)) * wraps)
        options = CanvasOptions(seamless=SeamlessAxes(axes), grow=3, feather=4, fill=FillMode.BLUR)
        whole = []
        for move in ((0, 0), shift):
            document = Pixels(np.roll(array, move, (0, 1)))
            canvas, _ = prepared(runtime, document, np.roll(selection, move, (0, 1)), options)
            plan = canvas.plan
            start = (-plan.context.y, -plan.context.x)
            assert plan.context.extent == (64, 48)
            masks = np.roll(canvas.mask, [-it for it in start], (0, 1))
            filled = np.roll(canvas.image, [-it for it in start], (0, 1))
            whole.append(
                (
                    np.roll(masks, [-it for it in move], (0, 1)),
                    np.roll(filled, [-it for it in move], (0, 1)),
                )
            )
        assert (whole[0][0] == whole[1][0]).all()
        assert np.abs(whole[0][1] - whole[1][1]).max() < 1e-5


def test_masks_of_a_roll(runtime):
    """The masks of a selection across the border are those of the same selection in the middle."""
    selection = np.zeros((40, 40), np.float32)
    selection[18:22, 15:25] = 1
    document = Pixels(np.zeros((40, 40, 3), np.uint8))
    options = CanvasOptions(seamless=SeamlessAxes.X, grow=4, feather=6)
    canvas, _ = prepared(runtime, document, (selection * 255).astype(np.uint8), options)
    masks = make_masks(np.roll(selection, -canvas.plan.context.x, 1), canvas.plan)
    assert (masks.denoise == canvas.mask).all()
