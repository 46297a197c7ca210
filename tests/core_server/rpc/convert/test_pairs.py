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
    CanvasOptions,
    CanvasPlan,
    FillMode,
    ModelSizing,
    SeamlessAxes,
)
from core_server.config import Limits
from core_server.errors import InvalidRequest
from core_server.jobs.job import (
    ImageEncoding,
    ImageHeader,
    Job,
    JobEvent,
    JobFailure,
    JobProgress,
    JobState,
)
from core_server.pipelines.request import (
    Adapter,
    AdapterKind,
    ControlImage,
    ControlKind,
    ImageToImage,
    Inpaint,
    MaterialMaps,
    Outpaint,
    Parameters,
    Project,
    ReferenceImage,
    Request,
    StructureStart,
    TextToImage,
    Texture,
    Upscale,
    image_ids,
)
from core_server.rpc.convert import canvas, fields, generation, image, parameters
from core_server.rpc.convert.job import to_proto_event, to_proto_job
from scumble.v1 import canvas_pb2, generation_pb2, image_pb2, job_pb2
from tests.core_server.canvas import profiles

LIMITS = Limits()
SIDES = st.integers(1, 4096)
EXTENTS = st.builds(Extent, SIDES, SIDES)
SMALL = st.integers(0, 512) | st.none()
OPTIONS = st.builds(
    CanvasOptions,
    intent=st.sampled_from(CanvasIntent),
    fill=st.sampled_from(FillMode),
    exact_selection=st.booleans(),
    grow=SMALL,
    feather=SMALL,
    padding=SMALL,
    seamless=st.sampled_from(SeamlessAxes),
    color_match=st.sampled_from([None, 0.0, 0.35, 1.0]),
    passes=st.sampled_from([None, 1, 2]),
)


@st.composite
def nested(draw: st.DrawFn) -> tuple[Bounds, Bounds, Bounds, Extent]:
    """selection in mask in context in document."""
    document = draw(EXTENTS)
    chain = [Bounds(0, 0, *document)]
    for _ in range(3):
        outer = chain[-1]
        x = draw(st.integers(outer.x, outer.right - 1))
        y = draw(st.integers(outer.y, outer.bottom - 1))
        width = draw(st.integers(1, outer.right - x))
        height = draw(st.integers(1, outer.bottom - y))
        chain.append(Bounds(x, y, width, height))
    _, context, mask, selection = chain
    return selection, mask, context, document


@st.composite
def plans(draw: st.DrawFn) -> CanvasPlan:
    selection, mask, context, document = draw(nested())
    edge = st.integers(0, 512)
    two = draw(st.booleans())
    return CanvasPlan(
        document=document,
        selection=selection,
        mask=mask,
        context=context,
        model=draw(EXTENTS),
        grow=draw(edge),
        feather=draw(edge),
        blend=draw(edge),
        exact_selection=draw(st.booleans()),
        fill=draw(st.sampled_from(FillMode)),
        intent=draw(st.sampled_from(CanvasIntent)),
        passes=2 if two else 1,
        seamless=draw(st.sampled_from(SeamlessAxes)),
        padding=draw(edge),
        sizing=draw(st.sampled_from(ModelSizing)),
        max_model_pixels=draw(st.integers(0, 2**40)),
        refine=mask if two else None,
        refine_model=draw(EXTENTS) if two else None,
        refine_strength=draw(st.sampled_from([0.4, 0.07, 1.0])) if two else 0.0,
        color_match=draw(st.sampled_from([0.0, 0.35, 1.0])),
    )


replaced = msgspec.structs.replace
IDS = st.text("0123456789abcdef", min_size=64, max_size=64)
WEIGHTS = st.integers(0, 100).map(lambda it: it / 100)
PARAMETERS = st.builds(
    Parameters,
    prompt=st.text(min_size=1, max_size=40).filter(str.strip),
    negative_prompt=st.text(max_size=40),
    model=st.text(max_size=40),
    num_inference_steps=st.integers(1, 1000) | st.none(),
    guidance_scale=st.integers(0, 500).map(lambda it: it / 10) | st.none(),
    scheduler=st.text(max_size=40),
    seed=st.integers(0, 2**64 - 1),
    count=st.integers(1, 16),
    seamless=st.sampled_from([SeamlessAxes.NONE, *SeamlessAxes]),
    adapters=st.lists(
        st.builds(
            Adapter,
            kind=st.sampled_from(AdapterKind),
            name=st.text(min_size=1, max_size=9).filter(str.strip),
            weight=st.integers(-200, 200).map(lambda it: it / 100),
        ),
        max_size=2,
    ).map(tuple),
    control_images=st.lists(
        st.builds(ControlImage, kind=st.sampled_from(ControlKind), image=IDS, weight=WEIGHTS),
        max_size=2,
    ).map(tuple),
    reference_images=st.lists(st.builds(ReferenceImage, image=IDS, weight=WEIGHTS), max_size=2).map(
        tuple
    ),
    style=st.text(max_size=9),
    structure=st.sampled_from(StructureStart),
    few_step=st.booleans() | st.none(),
)
STRENGTHS = st.integers(1, 100).map(lambda it: it / 100)
REQUESTS: st.SearchStrategy[Request] = st.one_of(
    st.builds(TextToImage, parameters=PARAMETERS, extent=EXTENTS),
    st.builds(ImageToImage, parameters=PARAMETERS, image=IDS, strength=STRENGTHS),
    st.builds(
        Inpaint,
        parameters=PARAMETERS,
        image=IDS,
        selection=IDS,
        strength=STRENGTHS,
        plan=plans() | st.none(),
        options=OPTIONS,
    ),
    st.builds(
        Texture,
        parameters=PARAMETERS,
        extent=EXTENTS,
        maps=st.sampled_from([(), ("base_color",), ("base_color", "normal", "height")]),
        height_dtype=st.sampled_from(("uint8", "uint16")),
    ),
    st.builds(
        Outpaint,
        parameters=PARAMETERS,
        image=IDS,
        left=SMALL.map(lambda it: it or 0),
        right=st.integers(1, 4096),
        strength=STRENGTHS,
        fill=st.sampled_from(FillMode),
    ),
    st.builds(
        MaterialMaps,
        parameters=PARAMETERS,
        image=IDS,
        maps=st.sampled_from([(), ("roughness",)]),
        height_dtype=st.sampled_from(("uint8", "uint16")),
    ),
    st.builds(
        MaterialMaps,
        parameters=PARAMETERS.map(lambda it: replaced(it, seamless=SeamlessAxes.NONE)),
        image=IDS,
        axes_from_picture=st.just(True),
    ),
    st.builds(
        Upscale,
        parameters=PARAMETERS,
        image=IDS,
        factor=st.sampled_from((2, 4)),
        strength=STRENGTHS | st.just(0.0),
    ),
    st.builds(
        Project,
        parameters=PARAMETERS,
        depth=IDS,
        image=IDS | st.none(),
        normals=IDS | st.none(),
        mask=IDS | st.none(),
        strength=STRENGTHS,
    ),
)


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


def job(**values: object) -> Job:
    request = TextToImage(parameters=Parameters(prompt="slate"), extent=Extent(8, 8))
    known = {
        "job_id": "j",
        "request_id": "r",
        "owner": "o",
        "state": JobState.QUEUED,
        "request": request,
        "create_time": 1_700_000_000.25,
    }
    return Job(**(known | values))


def test_a_job_that_has_not_begun_has_no_times() -> None:
    message = to_proto_job(job())
    assert message.create_time.ToMicroseconds() == 1_700_000_000_250_000
    unset = ("start_time", "end_time", "progress", "error")
    assert not any(message.HasField(name) for name in unset)


def test_a_failed_job_says_why() -> None:
    failure = JobFailure(reason="OUT_OF_MEMORY", message="Too large.", metadata={"model": "m"})
    message = to_proto_job(
        job(state=JobState.FAILED, start_time=1.0, end_time=2.5, attempts=2, failure=failure)
    )
    assert message.error.reason == job_pb2.ERROR_REASON_OUT_OF_MEMORY
    assert dict(message.error.metadata) == {"model": "m"}
    assert message.end_time.ToSeconds() == 2


@pytest.mark.parametrize("seconds", [None, 0.0, 3.698227, 1e6])
def test_remaining_time(seconds: float | None) -> None:
    progress = JobProgress(step=1, steps=4, stage="Painting", remaining_seconds=seconds)
    message = to_proto_event(JobEvent(number=7, time=1.0, progress=progress))
    assert message.WhichOneof("event") == "progress"
    assert message.progress.HasField("remaining") == (seconds is not None)
    if seconds is not None:
        assert message.progress.remaining.ToMicroseconds() == round(seconds * 1e6)


@given(st.floats(width=32))
def test_strengths_outside_are_refused(value: float) -> None:
    assume(math.isnan(value) or not 0 < value <= 1)
    task = generation_pb2.ImageToImageTask(strength=value)
    with pytest.raises(InvalidRequest) as refused:
        fields.strength(task, "task.", 0.5)
    assert refused.value.field == "task.strength"
