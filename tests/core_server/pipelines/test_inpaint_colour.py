"""Inpainting with models that are known: one that changes nothing, one that shifts all colours."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core_server.benchmarks import tiles
from core_server.canvas.edges import MOST, Edge, edge_of
from core_server.canvas.geometry import Bounds
from core_server.canvas.perceptual import oklab_to_srgb, srgb_to_oklab
from core_server.canvas.pixels import SAMPLE_DTYPES, ColorSpace, Pixels
from core_server.canvas.plan import CanvasOptions, FillMode, SeamlessAxes
from core_server.pipelines.inpaint_canvas import prepare
from core_server.pipelines.passes import paint_context, passes_of, unchanged
from core_server.pipelines.request import ImageToImage, Inpaint, Parameters
from core_server.pipelines.runtime import create_runtime
from core_server.pipelines.settings import settle
from tests.core_server.canvas import profiles
from tests.core_server.pipelines.conftest import quiet

SPACES = {
    "srgb": (ColorSpace.SRGB, b""),
    "linear": (ColorSpace.LINEAR_REC709, b""),
    "adobe": (ColorSpace.ICC, profiles.matrix()),
    "p3": (ColorSpace.ICC, profiles.p3()),
    "table": (ColorSpace.ICC, profiles.table(9)),
}
SIDE = 160


def inpaint(runtime, document, paint, **options):
    """The patch, its composite mask as floats, its bounds and the colour match; the painter takes the model's place."""
    selection = np.zeros((SIDE, SIDE), np.uint8)
    selection[50:100, 60:120] = 255
    request = Inpaint(
        parameters=Parameters(prompt="x"),
        image="a",
        selection="m",
        strength=1.0,
        options=CanvasOptions(**options),
    )
    model = runtime._model("tiny")
    images = {"a": document, "m": Pixels.mask(selection)}
    canvas = prepare(model, request, settle(request, model.profile), images)
    passes = passes_of(canvas.plan, 4, 1.0, canvas.multiple)
    unpainted = paint_context(canvas.image, canvas.mask, passes, unchanged)
    painted = paint_context(canvas.image, canvas.mask, passes, paint)
    patch, match = canvas.patch(painted, unpainted)
    return patch, canvas.composite_mask.array[..., 0] / 255, canvas.plan.mask, match


def pasted(document, patch, weight, bounds: Bounds) -> np.ndarray:
    """The document with the patch, float sRGB."""
    result = document.array.astype(np.float64)
    area = result[bounds.slices]
    area += (patch.array - area) * weight[..., None]
    return (result / 255).astype(np.float32)


@pytest.mark.parametrize("dtype", SAMPLE_DTYPES)
@pytest.mark.parametrize("space", SPACES)
def test_a_model_that_changes_nothing_leaves_every_sample(runtime, dtype, space):
    """Painted at another size than the document's, with HDR and colours beyond sRGB; alpha, too."""
    values = np.random.default_rng(2).random((SIDE, SIDE, 4))
    full = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    if full == 1 and space == "linear":
        values[..., :3] = values[..., :3] * 30 - 0.2
    array = (values * full).round().astype(dtype) if full > 1 else values.astype(dtype)
    document = Pixels(array, *SPACES[space])
    patch, _, bounds, match = inpaint(runtime, document, unchanged, fill=FillMode.NONE)
    assert patch.array.tobytes() == np.ascontiguousarray(array[bounds.slices]).tobytes()
    assert (patch.color_space, patch.icc_profile) == SPACES[space]
    assert match.shift == (0, 0, 0)


@pytest.mark.parametrize("dtype", SAMPLE_DTYPES)
@pytest.mark.parametrize("space", SPACES)
def test_outside_the_composite_mask_every_sample_stays(runtime, dtype, space):
    values = np.random.default_rng(2).random((SIDE, SIDE, 3))
    full = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    document = Pixels((values * full).astype(dtype), *SPACES[space])
    patch, weight, bounds, _ = inpaint(runtime, document, lambda _, image, __: 1 - image)
    old = document.array[bounds.slices]
    assert patch.array[weight == 0].tobytes() == old[weight == 0].tobytes()
    assert (patch.array != old).any(axis=2)[weight == 1].mean() > 0.9
    assert 0.05 < (weight == 0).mean() < 0.95


def shift(_, image, __):
    """Lighter and warmer everywhere."""
    lab = srgb_to_oklab(image) + np.float32([0.03, 0.012, 0.01])
    return np.clip(oklab_to_srgb(lab), 0, 1)


ROWS, COLUMNS = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
SURROUNDINGS = {
    "flat": np.full((SIDE, SIDE, 3), [0.55, 0.5, 0.45], np.float32),
    "gradient": np.stack([0.25 + COLUMNS / 400, 0.35 + ROWS / 500, 0.6 - COLUMNS / 600], axis=-1),
}


def edge(document, patch, weight, bounds: Bounds) -> Edge:
    whole = np.zeros((SIDE, SIDE))
    whole[bounds.slices] = weight
    return edge_of(pasted(document, patch, weight, bounds), whole)


@pytest.mark.parametrize("surroundings", SURROUNDINGS)
@pytest.mark.parametrize("paint", [unchanged, shift], ids=["no-op", "shift"])
@pytest.mark.parametrize("options", [{}, {"exact_selection": True}], ids=["feathered", "exact"])
def test_no_visible_edge(runtime, surroundings, paint, options):
    """Filled and given back, or given back in other colours: nobody sees where the patch begins."""
    document = Pixels((SURROUNDINGS[surroundings] * 255).round().astype(np.uint8))
    patch, weight, bounds, _ = inpaint(runtime, document, paint, **options)
    assert edge(document, patch, weight, bounds).excess <= MOST
    if paint is shift and options:
        bare = inpaint(runtime, document, paint, color_match=0.0, **options)
        assert edge(document, *bare[:3]).excess > 2, "without the match one does"


@pytest.fixture(scope="module")
def painting_runtime(tmp_path_factory):
    torch.set_num_threads(1)
    return create_runtime("default", "cpu", tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("surroundings", SURROUNDINGS)
@pytest.mark.parametrize("exact", [False, True], ids=["feathered", "exact"])
def test_no_visible_edge_of_what_the_embedded_model_paints(painting_runtime, surroundings, exact):
    """From noise, none picked. In a texture the border has the texture's own steps and none besides."""
    array = (tiles.SURROUNDINGS[surroundings] * 255).round().astype(np.uint8)
    document, side = Pixels(array), array.shape[0]
    selection = np.zeros((side, side), np.uint8)
    selection[side // 3 : 2 * side // 3, side // 3 : 2 * side // 3] = 255
    found = []
    for prompt in tiles.EDGE_PROMPTS:
        request = Inpaint(
            parameters=Parameters(prompt=prompt, seed=11),
            image="a",
            selection="m",
            options=CanvasOptions(exact_selection=exact),
        )
        images = {"a": document, "m": Pixels.mask(selection)}
        (output,) = painting_runtime.run(request, images, lambda _: None)
        whole, weight = array / 255, np.zeros((side, side))
        weight[output.bounds.slices] = output.composite_mask.array[..., 0] / 255
        area = whole[output.bounds.slices]
        area += (output.pixels.array / 255 - area) * weight[output.bounds.slices][..., None]
        found.append(edge_of(whole, weight))
    assert np.mean([it.excess for it in found]) <= MOST
    for it in found:
        assert it.across <= max(it.around, it.within) + 0.25


def test_data_is_not_matched(runtime):
    document = Pixels(np.full((SIDE, SIDE, 3), 128, np.uint8), ColorSpace.NON_COLOR)
    match = inpaint(runtime, document, shift)[3]
    assert match.recipe() == {"strength": 0.0, "reason": "the picture holds data, not colours"}


def test_hard_edges_are_not_washed_out_by_resampling(runtime):
    """diffusers takes pictures with a value below 0 for -1..1 and warns, which is an error in these tests."""
    rows, columns = np.indices((75, 75)) // 5
    checks = np.repeat(((rows + columns) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)
    parameters = Parameters(prompt="x", seed=1, num_inference_steps=2, seamless=SeamlessAxes.XY)
    request = ImageToImage(parameters=parameters, image="a", strength=0.5)
    (output,) = runtime.run(request, {"a": Pixels(checks)}, quiet)
    assert output.recipe["model_extent"] != [75, 75]
