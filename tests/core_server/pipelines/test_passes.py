"""Two passes: what runs, what is told, and that nothing moves."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core_server.canvas.geometry import Bounds, Extent
from core_server.canvas.masks import make_masks
from core_server.canvas.pixels import Pixels
from core_server.canvas.plan import CanvasOptions, CanvasPlan, ModelSizing
from core_server.canvas.planner import plan_canvas
from core_server.errors import InvalidRequest
from core_server.pipelines.passes import paint_context, parts_of, passes_of, unchanged
from core_server.pipelines.request import Inpaint, Parameters
from core_server.pipelines.strength import enough_steps, steps_run
from tests.core_server.pipelines.conftest import picture


class Small:
    """A model with a small range, so that two passes are cheap."""

    min_extent, max_extent, multiple = Extent(32, 32), Extent(128, 128), 16


def small_plan(strength: float = 1.0) -> CanvasPlan:
    plan = plan_canvas(
        Extent(640, 512), Bounds(200, 180, 150, 90), CanvasOptions(), strength, Small()
    )
    assert (plan.passes, plan.refine, plan.sizing) == (2, plan.mask, ModelSizing.REDUCED)
    return plan


@given(st.integers(1, 60), st.floats(0.01, 1.0))
def test_enough_steps_is_the_least_number_that_runs(steps, strength):
    enough = enough_steps(steps, strength)
    assert steps_run(enough, strength) >= 1
    assert enough == steps or steps_run(enough - 1, strength) == 0


@pytest.mark.parametrize("strength", [1.0, 0.7, 0.3])
def test_a_picture_without_detail_passes_both_unharmed(strength):
    """A gradient, painted by a model that changes nothing, comes back: nothing is shifted, scaled or lost."""
    plan = small_plan(strength)
    width, height = plan.context.extent
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    image = np.stack([x / width, y / height, (x + y) / (width + height)], axis=2)
    selection = np.zeros((height, width), np.float32)
    inner = plan.selection.moved(-plan.context.x, -plan.context.y)
    selection[inner.slices] = 1
    mask = make_masks(selection, plan).denoise
    passes = passes_of(plan, 8, strength, Small.multiple)
    result = paint_context(image, mask, passes, unchanged)
    refined = plan.mask.moved(-plan.context.x, -plan.context.y).slices
    away = (slice(8, -8), slice(8, -8), slice(None))
    assert np.abs(result[refined] - image[refined])[away].max() < 2 / 255


def test_detail_below_full_strength_survives_in_proportion():
    plan = small_plan(0.5)
    width, height = plan.context.extent
    image = np.random.default_rng(1).random((height, width, 3), np.float32)
    passes = passes_of(plan, 8, 0.5, Small.multiple)
    mask = np.ones((height, width), np.float32)
    seen = {}

    def paint(the, given_image, given_mask):
        seen[the.stage] = given_image
        return given_image

    paint_context(image, mask, passes, paint)
    assert 0.6 < seen["Refining"].std() / image.std() < 0.9
    assert seen["Painting"].std() < 0.6 * image.std(), "the first pass cannot see it"


def test_both_passes_run_are_counted_and_told(runtime, monkeypatch):
    profile = msgspec.structs.replace(runtime.load(""), max_extent=Small.max_extent)
    model = next(iter(runtime._keeper.loaded.values()))
    monkeypatch.setattr(model, "profile", profile)
    document = picture(700, 600, dtype="uint16")
    soft = np.zeros((600, 700), np.uint8)
    soft[250:330, 300:420] = 255
    request = Inpaint(
        parameters=Parameters(prompt="moss", num_inference_steps=2, seed=3, count=2),
        image="a",
        selection="m",
    )
    events = []
    outputs = runtime.run(request, {"a": document, "m": Pixels.mask(soft)}, events.append)
    for output in outputs:
        plan = output.plan
        assert plan.passes == 2
        first, second = output.recipe["passes"]
        # 0.4 of 2 steps would be none, so that the second pass takes 3.
        assert (first["steps_run"], second["num_inference_steps"], second["steps_run"]) == (2, 3, 1)
        assert output.recipe["steps_run"] == 3
        assert first["model_extent"] == list(plan.model)
        assert second["bounds"] == list(plan.mask)
        assert any("then the mask refined at" in note for note in output.recipe["notes"])
        old = document.array[output.bounds.slices]
        untouched = output.composite_mask.array[..., 0] == 0
        assert (output.pixels.array[untouched] == old[untouched]).all()
        assert (output.pixels.array != old).any()
    painted = [event for event in events if event.stage in ("Painting", "Refining")]
    assert {event.steps for event in painted} == {6}
    assert [event.step for event in painted] == sorted(event.step for event in painted)
    assert painted[-1].step == 6
    assert next(event.stage for event in painted if event.step == 3) == "Refining"


@pytest.mark.parametrize(
    "change",
    [
        {"refine": None},
        {"refine_model": Extent(33, 32)},
        {"refine_strength": 0.0},
        {"refine": Bounds(0, 0, 640, 513)},
        {"passes": 1},
        {"refine_model": Extent(32000, 32000)},
    ],
    ids=lambda it: next(iter(it)),
)
def test_plans_that_contradict_themselves_are_refused(runtime, change):
    plan = msgspec.structs.replace(small_plan(), **change)
    images = {
        "a": picture(*plan.context.extent),
        "m": Pixels.mask(np.ones(plan.context.extent[::-1], np.uint8)),
    }
    request = Inpaint(parameters=Parameters(), image="a", selection="m", plan=plan)
    with pytest.raises(InvalidRequest, match="contradicts itself"):
        runtime.run(request, images, lambda _: None)


def test_parts_name_the_stages():
    plan = small_plan()
    assert [part.stage for part in parts_of(passes_of(plan, 8, 1.0, 16))] == [
        "Painting",
        "Refining",
    ]
