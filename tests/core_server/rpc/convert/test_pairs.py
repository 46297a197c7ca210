"""What is sent comes back: every pair of conversions, over all values its types allow."""

from __future__ import annotations

import math
import struct

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from core_server.canvas.geometry import Bounds, Extent
from core_server.canvas.pixels import SAMPLE_DTYPES, ColorSpace
from core_server.canvas.plan import (
    CanvasIntent,
    CanvasPlan,
    FillMode,
    SeamlessAxes,
)
from core_server.config import Limits
from core_server.errors import InvalidRequest
from core_server.jobs.job import (
    ImageEncoding,
    ImageHeader,
)
from core_server.pipelines.request import (
    Request,
    image_ids,
)
from core_server.rpc.convert import canvas, fields, generation, image, parameters
from scumble.v1 import canvas_pb2, generation_pb2, image_pb2
from tests.core_server.canvas import profiles
from tests.core_server.rpc.convert.strategies import EXTENTS, REQUESTS, plans

LIMITS = Limits()


async def by_id(source: image_pb2.ImageSource, field: str) -> str:
    return source.image_id


def parsed(request: Request) -> Request:
    """Over the wire and back."""
    data = generation.to_proto_generation(request).SerializeToString()
    message = generation_pb2.Generation.FromString(data)
    coroutine = generation.from_proto_generation(message, "generation", LIMITS, by_id)
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("nothing here waits")


@given(REQUESTS)
def test_requests(request: Request) -> None:
    assert parsed(request) == request


@given(REQUESTS)
def test_every_image_of_a_request_is_known(request: Request) -> None:
    """The store keeps the images a job refers to: none may be missed."""
    sent = str(generation.to_proto_generation(request))
    assert sent.count("image_id:") == len(image_ids(request))
    assert all(image_id in sent for image_id in image_ids(request))


@given(plans())
def test_plans(plan: CanvasPlan) -> None:
    message = canvas_pb2.CanvasPlan.FromString(canvas.to_proto_plan(plan).SerializeToString())
    assert canvas.from_proto_plan(message, "plan", LIMITS) == plan


@given(plans(), st.sampled_from(["x", "y"]), st.integers(1, 4096))
def test_plans_whose_mask_left_its_context_are_refused(
    plan: CanvasPlan, axis: str, distance: int
) -> None:
    dx, dy = (
        (plan.context.width + distance, 0) if axis == "x" else (0, plan.context.height + distance)
    )
    moved = msgspec.structs.replace(
        plan, mask=plan.mask.moved(dx, dy), selection=plan.selection.moved(dx, dy)
    )
    with pytest.raises(InvalidRequest) as refused:
        canvas.from_proto_plan(canvas.to_proto_plan(moved), "plan", LIMITS)
    assert refused.value.field == "plan.context"


def test_a_context_may_cross_the_border_of_a_seamless_texture() -> None:
    plan = CanvasPlan(
        document=Extent(64, 64),
        selection=Bounds(0, 0, 4, 4),
        mask=Bounds(-2, -2, 8, 8),
        context=Bounds(-16, -16, 64, 64),
        model=Extent(64, 64),
        grow=0,
        feather=0,
        blend=0,
        exact_selection=False,
        fill=FillMode.BLUR,
        intent=CanvasIntent.FILL,
        passes=1,
        seamless=SeamlessAxes.XY,
    )
    assert canvas.from_proto_plan(canvas.to_proto_plan(plan), "plan", LIMITS) == plan
    flat = msgspec.structs.replace(plan, seamless=SeamlessAxes.NONE)
    with pytest.raises(InvalidRequest, match="document"):
        canvas.from_proto_plan(canvas.to_proto_plan(flat), "plan", LIMITS)


@given(
    EXTENTS,
    st.sampled_from((1, 3, 4)),
    st.sampled_from(SAMPLE_DTYPES),
    st.sampled_from(ColorSpace),
    st.sampled_from(ImageEncoding),
)
def test_headers(
    extent: Extent, channels: int, dtype: str, color_space: ColorSpace, encoding: ImageEncoding
) -> None:
    profile = profiles.grey() if channels == 1 else profiles.srgb()
    header = ImageHeader(
        extent=extent,
        channels=channels,
        dtype=dtype,
        color_space=color_space,
        icc_profile=profile if color_space is ColorSpace.ICC else b"",
        encoding=encoding,
    )
    assert image.from_proto_header(image.to_proto_header(header), "header", LIMITS) == header


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_shortest_decimals_are_the_same_number(value: float) -> None:
    short = fields.shortest(value)
    assert struct.pack("<f", short) == struct.pack("<f", value)


@given(st.integers(-5000, 5000))
def test_what_was_written_with_few_digits_comes_back(thousandths: int) -> None:
    written = thousandths / 1000
    (travelled,) = struct.unpack("<f", struct.pack("<f", written))
    assert fields.shortest(travelled) == written


@given(st.text())
def test_shown_values_are_short_and_harmless(value: str) -> None:
    shown = fields.shown(value)
    assert shown.isascii()
    assert shown.isprintable()
    assert len(shown) <= fields.SHOWN_CHARS


ENUMS = [
    (canvas.INTENTS, canvas_pb2.CanvasIntent),
    (canvas.FILL_MODES, canvas_pb2.FillMode),
    (canvas.SEAMLESS, canvas_pb2.SeamlessAxes),
    (parameters.ADAPTER_KINDS, generation_pb2.AdapterKind),
    (parameters.CONTROL_KINDS, generation_pb2.ControlKind),
    (image.COLOR_SPACES, image_pb2.ColorSpace),
    (image.ENCODINGS, image_pb2.ImageEncoding),
]


@pytest.mark.parametrize(("table", "proto"), ENUMS, ids=[it[1].DESCRIPTOR.name for it in ENUMS])
def test_every_value_of_an_enum_is_known(table: fields.EnumTable, proto: type) -> None:
    for name, number in proto.items():
        if number:
            assert table.to_proto(table.from_proto(number, "f")) == number, name
    with pytest.raises(InvalidRequest, match=f"number {2**31 - 1}"):
        table.from_proto(2**31 - 1, "f")


@given(st.floats(width=32))
def test_strengths_outside_are_refused(value: float) -> None:
    assume(math.isnan(value) or not 0 < value <= 1)
    task = generation_pb2.ImageToImageTask(strength=value)
    with pytest.raises(InvalidRequest) as refused:
        fields.strength(task, "task.", 0.5)
    assert refused.value.field == "task.strength"
