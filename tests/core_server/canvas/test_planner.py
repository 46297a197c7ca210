"""Invariants 1-3 of the canvas contract, over thousands of random cases, and the sentences for impossible ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core_server.canvas.geometry import Bounds, Extent
from core_server.canvas.masks import make_masks, read_wrapped, selection_bounds
from core_server.canvas.plan import (
    CanvasIntent,
    CanvasOptions,
    FillMode,
    ModelSizing,
    SeamlessAxes,
    wraps,
)
from core_server.canvas.planner import plan_canvas, resolve
from core_server.canvas.resample import document_to_model, model_to_document
from core_server.canvas.sizes import max_model_pixels, round_up
from core_server.errors import InvalidRequest


@dataclass(frozen=True)
class Sizes:
    min_extent: Extent
    max_extent: Extent
    multiple: int


ALL_SIZES = [
    Sizes(Extent(256, 256), Extent(1024, 1024), 8),
    Sizes(Extent(512, 512), Extent(1536, 1536), 64),
    Sizes(Extent(16, 16), Extent(512, 512), 16),
    Sizes(Extent(100, 60), Extent(700, 333), 24),
]
SIZES = st.sampled_from(ALL_SIZES)
OPTIONS = st.builds(
    CanvasOptions,
    exact_selection=st.booleans(),
    grow=st.none() | st.integers(0, 512),
    feather=st.none() | st.integers(0, 512),
    padding=st.none() | st.integers(0, 4096),
    seamless=st.sampled_from(SeamlessAxes),
)
SIDES = st.sampled_from([1, 2, 7, 255, 256, 257, 509, 1021]) | st.integers(1, 9000)


@st.composite
def cases(draw, sides=SIDES, options=OPTIONS):
    document = Extent(draw(sides), draw(sides))
    choice = draw(options)
    placed = []
    for axis, side in ((1, document.width), (0, document.height)):
        length = draw(st.integers(1, side))
        last = side - 1 if wraps(choice.seamless, axis) else side - length
        placed.append((draw(st.integers(0, last) | st.sampled_from([0, last])), length))
    (x, width), (y, height) = placed
    strength = draw(st.sampled_from([1.0, 0.999, 0.5, 1e-6]) | st.floats(0.01, 1.0))
    return document, Bounds(x, y, width, height), choice, strength, draw(SIZES)


CAPS = st.sampled_from([0, 40_000, 500_000, 2_000_000])


@settings(max_examples=300, deadline=None)
@given(cases(), CAPS)
def test_rectangles_nest_and_model_sizes_fit(case, cap):
    check_plan(case, cap)


def test_rectangles_nest_and_model_sizes_fit_thousands_of_times():
    """The same without the search for a small counterexample, so that many cases are quick."""
    rng = np.random.default_rng(2026)
    sides = [1, 2, 3, 7, 255, 256, 257, 509, 1000, 1021, 4096, 8999]
    for _ in range(4000):
        document = Extent(*(int(rng.choice(sides)) for _ in range(2)))
        seamless = SeamlessAxes(rng.choice(list(SeamlessAxes)))
        placed = []
        for axis, side in ((1, document.width), (0, document.height)):
            length = int(rng.choice([1, side, rng.integers(1, side + 1)]))
            last = side - 1 if wraps(seamless, axis) else side - length
            placed.append((int(rng.choice([0, last, rng.integers(0, last + 1)])), length))
        (x, width), (y, height) = placed
        options = CanvasOptions(
            exact_selection=bool(rng.integers(2)),
            padding=None if rng.integers(2) else int(rng.integers(0, 4097)),
            seamless=seamless,
        )
        sizes = ALL_SIZES[rng.integers(len(ALL_SIZES))]
        strength = float(rng.choice([1.0, rng.uniform(0.01, 1)]))
        cap = int(rng.choice([0, 40_000, 2_000_000]))
        check_plan((document, Bounds(x, y, width, height), options, strength, sizes), cap)


def check_plan(case, cap):
    """Invariant 1."""
    document, selection, options, strength, sizes = case
    plan = plan_canvas(document, selection, options, strength, sizes, max_pixels=cap)
    assert plan.max_model_pixels == cap
    smallest = math.prod(round_up(side, sizes.multiple) for side in sizes.min_extent)
    for extent in (plan.model, plan.refine_model):
        assert extent is None or not cap or extent.area <= max(cap, smallest)
    assert (plan.passes, plan.refine is None, plan.refine_model is None) in (
        (1, True, True),
        (2, False, False),
    )
    if plan.refine is not None:
        assert plan.refine == plan.mask
        assert all(side % sizes.multiple == 0 for side in plan.refine_model)
        assert 0 < plan.refine_strength <= min(0.4, max(strength, 0.01))
        shown = plan.refine_model.area / plan.refine.extent.area
        assert shown > plan.model.area / plan.context.extent.area, "the second pass sees more"
    if plan.sizing is ModelSizing.AS_IS:
        assert all(
            0 <= b - a < sizes.multiple
            for a, b in zip(plan.context.extent, plan.model, strict=True)
        )
    assert plan.mask.contains(plan.selection)
    assert plan.context.contains(plan.mask)
    for axis, name, start in ((1, "width", "x"), (0, "height", "y")):
        side, length = getattr(document, name), getattr(plan.context, name)
        assert length <= side, "no pixel of the document is read twice"
        if not wraps(plan.seamless, axis):
            assert getattr(plan.context, start) >= 0
            assert getattr(plan.context, start) + length <= side
        model = getattr(plan.model, name)
        assert model % sizes.multiple == 0
        low, high = getattr(sizes.min_extent, name), getattr(sizes.max_extent, name)
        assert min(low, high) <= model < low + sizes.multiple or model <= high


@settings(max_examples=400, deadline=None)
@given(
    cases(
        sides=st.sampled_from([1, 2, 3, 31, 64, 97, 257]) | st.integers(1, 120),
        options=st.builds(
            CanvasOptions,
            exact_selection=st.booleans(),
            grow=st.none() | st.integers(0, 40),
            feather=st.none() | st.integers(0, 60),
            seamless=st.sampled_from(SeamlessAxes),
        ),
    ),
    st.integers(0, 2**32 - 1),
)
def test_masks_are_full_inside_and_zero_beyond_their_reach(case, seed):
    document, selection, options, strength, sizes = case
    rng = np.random.default_rng(seed)
    soft = np.zeros((document.height, document.width), np.float32)
    rows = np.arange(selection.y, selection.bottom) % document.height
    columns = np.arange(selection.x, selection.right) % document.width
    soft[rows[:, None], columns] = rng.random(selection.extent[::-1], np.float32) * 0.999 + 1e-3
    plan = plan_canvas(document, selection, options, strength, sizes)
    context = read_wrapped(soft, plan.context)
    masks = make_masks(context, plan)
    for mask in (masks.denoise, masks.composite):
        assert mask.dtype == np.float32
        assert mask.shape == plan.context.extent[::-1]
        assert mask.min() >= 0
        assert mask.max() <= 1
    assert (masks.denoise[masks.composite > 0] > 0).all(), "what is pasted was painted"
    inner = plan.mask.moved(-plan.context.x, -plan.context.y)
    outside = np.ones(context.shape, bool)
    outside[inner.slices] = False
    assert not masks.composite[outside].any(), "the patch holds everything that is pasted"
    if options.exact_selection:
        assert (masks.composite == context).all()
        return
    assert (masks.composite[context >= 0.5 * context.max()] == 1).all()
    distance = _distance(context > 0)
    assert not masks.composite[distance > plan.grow + plan.feather].any()
    assert not masks.denoise[distance > plan.grow + plan.feather].any()


def _distance(selected):
    """Chessboard distance by dilation: never more than the true one, so the reach is tested from the safe side."""
    return cv2.distanceTransform((~selected).astype(np.uint8), cv2.DIST_C, 3)


@settings(max_examples=150, deadline=None)
@given(
    st.builds(Extent, st.integers(1, 200), st.integers(1, 200)),
    st.builds(Extent, st.integers(1, 25), st.integers(1, 25)),
    st.sampled_from([1, 8, 16]),
    st.sampled_from(SeamlessAxes),
)
def test_there_and_back_has_the_exact_extent(extent, cells, multiple, axes):
    model = Extent(cells.width * multiple, cells.height * multiple)
    image = np.random.default_rng(1).random((extent.height, extent.width, 3), np.float32)
    there = document_to_model(image, model, multiple, axes)
    assert there.shape == (model.height, model.width, 3)
    assert 0 <= there.min() <= there.max() <= 1, "no overshoot: it would count as -1..1"
    back = model_to_document(there, extent, multiple, axes)
    assert back.shape == image.shape
    differs = any(wraps(axes, 1 - i) and extent[i] != model[i] for i in (0, 1)) or any(
        not 0 <= big - side < multiple for side, big in zip(extent, model, strict=True)
    )
    if not differs:
        assert (back == image).all(), "rounding to multiples loses nothing"


@pytest.mark.parametrize("axes", [SeamlessAxes.NONE, SeamlessAxes.XY], ids=str)
@pytest.mark.parametrize("model", [Extent(96, 96), Extent(320, 256)], ids=["smaller", "larger"])
def test_resampling_moves_nothing(model, axes):
    """The centroid of a blob stays where it is, there and back."""
    y, x = np.mgrid[0:150, 0:200].astype(np.float32)
    blob = np.exp(-((x - 61.3) ** 2 + (y - 97.8) ** 2) / (2 * 9.0**2)).astype(np.float32)
    there = document_to_model(blob, model, 16, axes)
    back = model_to_document(there, Extent(200, 150), 16, axes)
    for image, scale in ((there, np.array(model) / (200, 150)), (back, np.ones(2))):
        rows, columns = np.mgrid[0 : image.shape[0], 0 : image.shape[1]] + 0.5
        centre = np.array([(columns * image).sum(), (rows * image).sum()]) / image.sum() / scale
        assert centre == pytest.approx([61.8, 98.3], abs=0.02)


def test_a_tile_stays_a_tile_when_resampled():
    """Resampling a rolled tile is rolling the resampled tile."""
    tile = np.random.default_rng(1).random((64, 64, 3), np.float32)
    small = document_to_model(tile, Extent(32, 32), 8, SeamlessAxes.XY)
    rolled = document_to_model(np.roll(tile, (32, 16), (0, 1)), Extent(32, 32), 8, SeamlessAxes.XY)
    assert rolled == pytest.approx(np.roll(small, (16, 8), (0, 1)), abs=1e-6)


def test_the_numbers_that_artists_are_used_to():
    sizes = Sizes(Extent(256, 256), Extent(1024, 1024), 8)
    plan = plan_canvas(
        Extent(4000, 3000), Bounds(1000, 1000, 300, 400), CanvasOptions(), 1.0, sizes
    )
    assert (plan.grow, plan.feather, plan.blend) == (29, 50, 25)  # d = 500
    assert plan.mask == Bounds(914, 916, 472, 568)
    assert plan.context == Bounds(654, 688, 992, 1024), "1088 px high, if the model could"
    assert plan.model == plan.context.extent
    half = plan_canvas(
        Extent(4000, 3000), Bounds(1000, 1000, 300, 400), CanvasOptions(), 0.5, sizes
    )
    assert (half.grow, half.feather, half.blend) == (16, 25, 25)
    assert half.context == half.mask, "below full strength the picture is its own context"
    assert half.model == half.context.extent
    remove = CanvasOptions(intent=CanvasIntent.REMOVE_OBJECT)
    removed = plan_canvas(Extent(4000, 3000), Bounds(1000, 1000, 300, 400), remove, 0.8, sizes)
    assert removed.context.extent.area > 1.5 * removed.mask.extent.area, (
        "under a fill there is no picture to see"
    )


SDXL = Sizes(Extent(512, 512), Extent(1536, 1536), 8)


@pytest.mark.parametrize(
    ("document", "selection", "expected"),
    [
        ((2048, 2048), (60, 60), ((256, 256), (1024, 1024), "enlarged", None)),
        ((6000, 4000), (60, 60), ((256, 256), (1024, 1024), "enlarged", None)),
        ((2048, 2048), (300, 200), ((800, 704), (800, 704), "as_is", None)),
        ((4096, 4096), (512, 512), ((1504, 1504), (1504, 1504), "as_is", None)),
        ((2048, 2048), (1000, 1000), ((2048, 2048), (1536, 1536), "reduced", (1464, 1464))),
        ((6000, 4000), (6000, 4000), ((6000, 4000), (1536, 1024), "reduced", (3464, 2304))),
        ((1000, 1), (1000, 1), ((1000, 1), (1024, 512), "enlarged", None)),
        ((1, 1), (1, 1), ((1, 1), (512, 512), "enlarged", None)),
    ],
    ids=lambda it: "x".join(map(str, it)) if len(it) == 2 else "",
)
def test_sizes_of_typical_selections(document, selection, expected):
    at = tuple((side - length) // 2 for side, length in zip(document, selection, strict=True))
    plan = plan_canvas(
        Extent(*document),
        Bounds(*at, *selection),
        CanvasOptions(),
        1.0,
        SDXL,
        max_pixels=8_000_000,
    )
    assert (plan.context.extent, plan.model, plan.sizing, plan.refine_model) == expected


@dataclass(frozen=True)
class Known(Sizes):
    best_extent: Extent


@pytest.mark.parametrize(
    ("best", "painted"), [(128, 256), (256, 512), (320, 512), (512, 512), (768, 768)]
)
def test_enlarging_stops_at_the_size_a_model_paints_best(best, painted):
    """Small ones go on a little, or a small selection would be a blot."""
    sizes = Known(Extent(128, 128), Extent(1024, 1024), 32, Extent(best, best))
    small = Bounds(700, 700, 60, 60)
    plan = plan_canvas(Extent(2000, 2000), small, CanvasOptions(), 1.0, sizes)
    assert (plan.context.extent, plan.model) == ((256, 256), (painted, painted))


def test_a_small_selection_gets_detail_wherever_it_lies():
    """Enlarged at least threefold, with surroundings on all sides; and not when the picture is to be continued."""
    for x, y in ((0, 0), (2000, 1000), (3940, 2940)):
        plan = plan_canvas(Extent(4000, 3000), Bounds(x, y, 60, 60), CanvasOptions(), 1.0, SDXL)
        assert plan.model.width >= 3 * plan.context.width
        assert plan.context.width >= 3 * 60
    expand = CanvasOptions(intent=CanvasIntent.EXPAND)
    plan = plan_canvas(Extent(4000, 3000), Bounds(0, 0, 20, 3000), expand, 1.0, SDXL)
    assert plan.model.area <= plan.context.extent.area


@pytest.mark.parametrize(
    ("device", "gigabytes", "megapixels"),
    [
        ("cpu", 64, 2),
        ("cuda:0", 0, 2),
        ("cuda:0 (x)", 6, 2),
        ("cuda:0", 8, 6),
        ("mps", 16, 8),
        ("cuda:1", 80, 16),
    ],
)
def test_memory_caps_megapixels(device, gigabytes, megapixels):
    assert max_model_pixels(device, gigabytes * 2**30) == megapixels * 1_000_000
    plan = plan_canvas(
        Extent(9000, 9000),
        Bounds(0, 0, 9000, 9000),
        CanvasOptions(),
        1.0,
        Sizes(Extent(256, 256), Extent(8192, 8192), 8),
        max_pixels=megapixels * 1_000_000,
    )
    assert plan.sizing is ModelSizing.CAPPED
    assert 0.95 < plan.model.area / (megapixels * 1_000_000) <= 1


@pytest.mark.parametrize(
    ("strength", "prompt", "intent", "fill"),
    [
        (1.0, "a door", CanvasIntent.FILL, FillMode.BLUR),
        (1.0, " ", CanvasIntent.REMOVE_OBJECT, FillMode.STRUCTURE),
        (0.6, "a door", CanvasIntent.REFINE, FillMode.NONE),
    ],
)
def test_auto_is_resolved_by_strength_and_prompt(strength, prompt, intent, fill):
    sizes = Sizes(Extent(256, 256), Extent(1024, 1024), 8)
    plan = plan_canvas(Extent(64, 64), Bounds(1, 1, 1, 1), CanvasOptions(), strength, sizes)
    assert resolve(plan.intent, plan.fill, prompt) == (intent, fill)


@pytest.mark.parametrize(
    ("document", "selection", "options", "strength", "words"),
    [
        (Extent(9, 9), Bounds(0, 0, 0, 4), {}, 1.0, "selection is empty"),
        (Extent(9, 9), Bounds(5, 0, 5, 4), {}, 1.0, "outside the document of 9 x 9 px"),
        (Extent(9, 9), Bounds(-1, 0, 5, 4), {}, 1.0, "outside the document"),
        (Extent(9, 9), Bounds(5, 0, 9, 4), {"seamless": SeamlessAxes.Y}, 1.0, "outside"),
        (Extent(9, 9), Bounds(0, 0, 10, 4), {"seamless": SeamlessAxes.X}, 1.0, "outside"),
        (Extent(9, 0), Bounds(0, 0, 1, 1), {}, 1.0, "at least 1 px"),
        (Extent(9, 9), Bounds(0, 0, 1, 1), {}, 0.0, "above 0 and at most 1"),
        (Extent(9, 9), Bounds(0, 0, 1, 1), {}, float("nan"), "above 0 and at most 1"),
        (Extent(9, 9), Bounds(0, 0, 1, 1), {"feather": 513}, 1.0, "0 to 512 px"),
        (Extent(9, 9), Bounds(0, 0, 1, 1), {"padding": -1}, 1.0, "0 to 4096 px"),
    ],
)
def test_impossible_selections_get_one_sentence(document, selection, options, strength, words):
    sizes = Sizes(Extent(256, 256), Extent(1024, 1024), 8)
    with pytest.raises(InvalidRequest, match=words):
        plan_canvas(document, selection, CanvasOptions(**options), strength, sizes)


@pytest.mark.parametrize(
    ("passes", "side", "expected"),
    [(None, 300, 1), (None, 2000, 2), (1, 2000, 1), (2, 2000, 2), (2, 300, 2), (1, 300, 1)],
)
def test_the_number_of_passes_can_be_chosen(passes, side, expected):
    document, selection = Extent(3000, 3000), Bounds(400, 400, side, side)
    options = CanvasOptions(passes=passes)
    plan = plan_canvas(document, selection, options, 1.0, ALL_SIZES[0])
    assert (plan.passes, plan.refine is not None) == (expected, expected == 2)
    default = plan_canvas(document, selection, CanvasOptions(), 1.0, ALL_SIZES[0])
    assert (plan.context, plan.model, plan.mask) == (default.context, default.model, default.mask)


@pytest.mark.parametrize("passes", [0, 3, -1])
def test_other_numbers_of_passes_are_refused(passes):
    with pytest.raises(InvalidRequest, match="must be from 1 to 2"):
        plan_canvas(
            Extent(9, 9), Bounds(0, 0, 3, 3), CanvasOptions(passes=passes), 1.0, ALL_SIZES[0]
        )


def test_a_selection_across_a_seamless_border_is_one():
    soft = np.zeros((40, 100), np.float32)
    soft[:, :10] = soft[:, 95:] = 1
    assert selection_bounds(soft, SeamlessAxes.X) == Bounds(95, 0, 15, 40)
    assert selection_bounds(soft) == Bounds(0, 0, 100, 40)
    with pytest.raises(InvalidRequest, match="selection is empty"):
        selection_bounds(soft * 0)
