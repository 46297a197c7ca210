"""What numbers a request may carry, and the one sentence that refuses the others."""

from __future__ import annotations

import math

import pytest

from core_server import ranges
from core_server.canvas.geometry import Bounds, Extent
from core_server.canvas.plan import CanvasOptions
from core_server.canvas.planner import plan_canvas
from core_server.config import Limits
from core_server.errors import InvalidRequest
from core_server.pipelines.catalogue import Catalogue
from core_server.pipelines.request import (
    Adapter,
    AdapterKind,
    ControlImage,
    ControlKind,
    Parameters,
    ReferenceImage,
    TextToImage,
)
from core_server.pipelines.settings import settle
from core_server.pipelines.strength import require_steps
from core_server.ranges import Range
from core_server.rpc.convert.model import to_proto_ranges


@pytest.mark.parametrize(
    ("allowed", "value", "sentence"),
    [
        (ranges.STEPS, 0, "The number of denoising steps is 0; it must be from 1 to 1000."),
        (ranges.GUIDANCE, 50.5, "The guidance scale is 50.5; it must be from 0 to 50."),
        (ranges.GUIDANCE, math.nan, "The guidance scale is nan; it must be from 0 to 50."),
        (ranges.GUIDANCE, math.inf, "The guidance scale is inf; it must be from 0 to 50."),
        (ranges.STRENGTH, 0.0, "The strength is 0; it must be above 0 and at most 1."),
        (ranges.SEED, -1, "The seed is -1; it must be from 0 to 2**64 - 1."),
        (ranges.SEED, 2**64, "The seed is 18446744073709551616; it must be from 0 to 2**64 - 1."),
        (ranges.GROW, 513, "The grow is 513 px; it must be from 0 to 512 px."),
        (ranges.COUNT.up_to(4), 5, "The number of variations is 5; it must be from 1 to 4."),
    ],
    ids=lambda it: it.what if isinstance(it, Range) else str(it)[:20],
)
def test_what_lies_outside_gets_one_sentence(allowed: Range, value: float, sentence: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        allowed.check(value, "a.b")
    assert (refused.value.message, refused.value.field) == (sentence, "a.b")


def test_both_ends_are_inside() -> None:
    for allowed in ranges.TOLD.values():
        assert allowed.check(allowed.high, "") == allowed.high
        if not allowed.above:
            assert allowed.check(allowed.low, "") == allowed.low


_CONTROL = ControlImage(kind=ControlKind.DEPTH, image="a", weight=2.5)
_LORA = Adapter(kind=AdapterKind.LORA, name="a", weight=-2.5)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"num_inference_steps": 1001}, "num_inference_steps"),
        ({"guidance_scale": -1.0}, "guidance_scale"),
        ({"count": 65}, "count"),
        ({"guidance_end": 0.0}, "guidance_end"),
        ({"block_cache": 1.5}, "block_cache"),
        ({"adapters": (_LORA,)}, "adapters.weight"),
        ({"adapters": (_LORA,) * 17}, "adapters"),
        ({"control_images": (_CONTROL,)}, "control_images.weight"),
        ({"reference_images": (ReferenceImage(image="a", weight=1.5),)}, "reference_images.weight"),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
def test_the_worker_goes_by_the_table(changes: dict[str, object], path: str, tmp_path) -> None:
    """What gets past the gateway, such as a job stored by an older server, is refused alike."""
    request = TextToImage(parameters=Parameters(prompt="moss", **changes), extent=Extent(64, 64))
    [profile] = [it for it in Catalogue("tiny", tmp_path).profiles() if it.model_id == "tiny"]
    with pytest.raises(InvalidRequest, match=ranges.TOLD[f"parameters.{path}"].what) as refused:
        settle(request, profile)
    assert refused.value.field.replace("[0]", "") == f"parameters.{path}"


def test_planner_and_tasks_share_the_sentence_on_strength(tmp_path) -> None:
    [profile] = [it for it in Catalogue("tiny", tmp_path).profiles() if it.model_id == "tiny"]
    said = []
    for ask in (
        lambda: ranges.STRENGTH.check(1.5, "strength"),
        lambda: require_steps(4, 1.5, "strength"),
        lambda: plan_canvas(Extent(9, 9), Bounds(0, 0, 1, 1), CanvasOptions(), 1.5, profile),
    ):
        with pytest.raises(InvalidRequest) as refused:
            ask()
        said.append((refused.value.field, refused.value.message, refused.value.allowed))
    assert len(set(said)) == 1


def test_a_server_that_allows_less_tells_less() -> None:
    told = {it.field: it for it in to_proto_ranges(Limits(max_steps=20, max_count=3))}
    assert set(told) == set(ranges.TOLD)
    assert told["parameters.num_inference_steps"].high == 20
    assert told["parameters.count"].high == 3
    assert told["inpaint.strength"].above_low
