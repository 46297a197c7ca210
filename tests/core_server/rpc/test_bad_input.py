"""Bad input: one clear sentence, the right code, the field by its path, and nothing queued."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import numpy as np
import pytest

from scumble.v1 import generation_pb2, image_pb2
from scumble.v1 import generation_service_pb2 as messages
from tests.core_server.rpc.asking import header_of
from tests.core_server.rpc.gateway import Gateway, refusal_of

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED

Change = Callable[[messages.CreateJobRequest], object]


def good_request() -> messages.CreateJobRequest:
    request = messages.CreateJobRequest(request_id="bad-input")
    request.generation.parameters.prompt = "slate"
    request.generation.text_to_image.extent.width = 64
    request.generation.text_to_image.extent.height = 48
    return request


def parameters(**values: object) -> Change:
    fields = generation_pb2.GenerationParameters(**values)
    return lambda it: it.generation.parameters.MergeFrom(fields)


def extent(width: int, height: int) -> Change:
    task = generation_pb2.TextToImageTask(extent=image_pb2.Extent(width=width, height=height))
    return lambda it: it.generation.text_to_image.CopyFrom(task)


def task(**values: object) -> Change:
    generation = generation_pb2.Generation(**values)
    return lambda it: it.generation.MergeFrom(generation)


def image_to_image(**values: object) -> Change:
    source = image_pb2.ImageSource(image_id="0" * 64)
    return task(image_to_image=generation_pb2.ImageToImageTask(image=source, **values))


def inline(payload: bytes, **fields: object) -> image_pb2.ImageSource:
    header = header_of(np.zeros((4, 4, 3), np.uint8), **fields)
    return image_pb2.ImageSource(data=image_pb2.ImageData(header=header, payload=payload))


def inpaint(**values: object) -> Change:
    sources = {"image": inline(bytes(48)), "selection": inline(bytes(16), channels=1)}
    return task(inpaint=generation_pb2.InpaintTask(**(sources | values)))


def floats(value: float) -> bytes:
    return np.full((4, 4, 3), value, np.float32).tobytes()


P = "generation.parameters"
T = "generation.text_to_image"
I2I = "generation.image_to_image"
INP = "generation.inpaint"

CREATE = [
    (
        "request_id_missing",
        lambda it: it.ClearField("request_id"),
        INVALID,
        "request_id",
        "is missing",
    ),
    (
        "request_id_spaces",
        lambda it: setattr(it, "request_id", "a b"),
        INVALID,
        "request_id",
        "'a b'",
    ),
    (
        "request_id_long",
        lambda it: setattr(it, "request_id", "x" * 129),
        INVALID,
        "request_id",
        "128",
    ),
    ("no_generation", lambda it: it.ClearField("generation"), INVALID, "generation", "is missing"),
    (
        "no_task",
        lambda it: it.generation.ClearField("text_to_image"),
        INVALID,
        "generation",
        "inpaint",
    ),
    (
        "prompt_empty",
        lambda it: it.generation.parameters.ClearField("prompt"),
        INVALID,
        f"{P}.prompt",
        "empty",
    ),
    ("prompt_blank", parameters(prompt=" \n\t"), INVALID, f"{P}.prompt", "empty"),
    ("prompt_long", parameters(prompt="x" * 8193), INVALID, f"{P}.prompt", "8192"),
    (
        "negative_prompt_long",
        parameters(negative_prompt="x" * 8193),
        INVALID,
        f"{P}.negative_prompt",
        "8192",
    ),
    (
        "steps_zero",
        parameters(num_inference_steps=0),
        INVALID,
        f"{P}.num_inference_steps",
        "1 to 1000",
    ),
    (
        "steps_negative",
        parameters(num_inference_steps=-1),
        INVALID,
        f"{P}.num_inference_steps",
        "-1",
    ),
    (
        "steps_huge",
        parameters(num_inference_steps=1001),
        INVALID,
        f"{P}.num_inference_steps",
        "1001",
    ),
    (
        "guidance_nan",
        parameters(guidance_scale=float("nan")),
        INVALID,
        f"{P}.guidance_scale",
        "nan",
    ),
    (
        "guidance_inf",
        parameters(guidance_scale=float("inf")),
        INVALID,
        f"{P}.guidance_scale",
        "inf",
    ),
    (
        "guidance_negative",
        parameters(guidance_scale=-0.5),
        INVALID,
        f"{P}.guidance_scale",
        "0 to 50",
    ),
    ("guidance_huge", parameters(guidance_scale=50.5), INVALID, f"{P}.guidance_scale", "50.5"),
    ("count_zero", parameters(count=0), INVALID, f"{P}.count", "1 to 16"),
    ("count_huge", parameters(count=17), INVALID, f"{P}.count", "1 to 16"),
    ("seamless_unknown", parameters(seamless=99), INVALID, f"{P}.seamless", "SEAMLESS_AXES_XY"),
    ("scheduler_unknown", parameters(scheduler="magic"), INVALID, f"{P}.scheduler", "euler, ddim"),
    (
        "scheduler_of_other_model",
        parameters(scheduler="unipc"),
        INVALID,
        f"{P}.scheduler",
        "euler, ddim",
    ),
    ("model_unknown", parameters(model="nonesuch"), NOT_FOUND, None, "Installed: tiny"),
    ("model_name_long", parameters(model="m" * 5000), INVALID, f"{P}.model", "1024"),
    ("width_zero", extent(0, 48), INVALID, f"{T}.extent.width", "is 0"),
    ("height_negative", extent(64, -48), INVALID, f"{T}.extent.height", "-48"),
    (
        "extent_missing",
        lambda it: it.generation.text_to_image.ClearField("extent"),
        INVALID,
        f"{T}.extent",
        "missing",
    ),
    ("side_huge", extent(4097, 1), INVALID, f"{T}.extent.width", "4096"),
    ("side_largest_int", extent(2**31 - 1, 2**31 - 1), INVALID, f"{T}.extent.width", "4096"),
    ("area_huge", extent(4096, 4096), INVALID, f"{T}.extent", "4194304"),
    ("strength_zero", image_to_image(strength=0), INVALID, f"{I2I}.strength", "above 0"),
    ("strength_above_one", image_to_image(strength=1.01), INVALID, f"{I2I}.strength", "at most 1"),
    ("strength_negative", image_to_image(strength=-1), INVALID, f"{I2I}.strength", "-1"),
    ("strength_nan", image_to_image(strength=float("nan")), INVALID, f"{I2I}.strength", "nan"),
    (
        "image_missing",
        task(image_to_image=generation_pb2.ImageToImageTask()),
        INVALID,
        f"{I2I}.image",
        "missing",
    ),
    ("image_unknown", image_to_image(), NOT_FOUND, None, "Upload it again"),
    (
        "image_empty_source",
        task(image_to_image=generation_pb2.ImageToImageTask(image=image_pb2.ImageSource())),
        INVALID,
        f"{I2I}.image",
        "neither",
    ),
    ("selection_missing", inpaint(selection=None), INVALID, f"{INP}.selection", "missing"),
    (
        "selection_of_three_channels",
        inpaint(selection=inline(bytes(48))),
        INVALID,
        f"{INP}.selection",
        "one",
    ),
    (
        "selection_of_other_size",
        inpaint(
            selection=inline(bytes(15), channels=1, extent=image_pb2.Extent(width=5, height=3))
        ),
        INVALID,
        f"{INP}.selection",
        "5 x 3",
    ),
    (
        "inline_cut_short",
        inpaint(image=inline(bytes(47))),
        INVALID,
        f"{INP}.image.data.payload",
        "48",
    ),
    (
        "inline_nan",
        inpaint(image=inline(floats(float("nan")), sample_type="SAMPLE_TYPE_F32")),
        INVALID,
        f"{INP}.image.data.payload",
        "NaN",
    ),
    (
        "inline_truncated_png",
        inpaint(image=inline(b"\x89PNG\r\n\x1a\n\0\0", encoding="IMAGE_ENCODING_PNG")),
        INVALID,
        f"{INP}.image.data.payload",
        "PNG",
    ),
    (
        "channels_two",
        inpaint(image=inline(bytes(32), channels=2)),
        INVALID,
        f"{INP}.image.data.header.channels",
        "2",
    ),
    (
        "sample_type_missing",
        inpaint(image=inline(bytes(48), sample_type=0)),
        INVALID,
        f"{INP}.image.data.header.sample_type",
        "SAMPLE_TYPE_U8",
    ),
    (
        "color_space_unknown",
        inpaint(image=inline(bytes(48), color_space=77)),
        INVALID,
        f"{INP}.image.data.header.color_space",
        "77",
    ),
    (
        "icc_without_profile",
        inpaint(image=inline(bytes(48), color_space="COLOR_SPACE_ICC")),
        INVALID,
        f"{INP}.image.data.header.icc_profile",
        "ICC",
    ),
    (
        "plan_out_of_order",
        inpaint(
            plan={
                "document": {"width": 9, "height": 9},
                "selection": {"x": 1, "y": 1, "width": 2, "height": 2},
                "mask": {"x": 2, "y": 2, "width": 4, "height": 4},
                "context": {"x": 0, "y": 0, "width": 9, "height": 9},
                "model": {"width": 8, "height": 8},
                "passes": 1,
            }
        ),
        INVALID,
        f"{INP}.plan.mask",
        "PlanCanvas",
    ),
    ("plan_empty", inpaint(plan={}), INVALID, f"{INP}.plan.document", "missing"),
    ("options_huge", inpaint(options={"grow": 513}), INVALID, f"{INP}.options.grow", "512"),
    (
        "map_unspecified",
        task(texture={"extent": {"width": 8, "height": 8}, "maps": [0]}),
        INVALID,
        "generation.texture.maps[0]",
        "BASE_COLOR",
    ),
    ("outpaint_nothing", task(outpaint={}), INVALID, "generation.outpaint", "in px"),
    (
        "outpaint_negative",
        task(outpaint={"left": -1}),
        INVALID,
        "generation.outpaint.left",
        "0 to 4096",
    ),
    ("outpaint_blind", task(outpaint={"left": 1}), INVALID, "generation.outpaint.image", "missing"),
    (
        "maps_blind",
        task(material_maps={}),
        INVALID,
        "generation.material_maps.image",
        "missing",
    ),
    ("upscale_factor", task(upscale={"factor": 3}), INVALID, "generation.upscale.factor", "2 or 4"),
    (
        "project",
        task(project={"depth": inline(bytes(48))}),
        UNIMPLEMENTED,
        "",
        "depth and normals as control_images",
    ),
    ("project_blind", task(project={}), INVALID, "generation.project.depth", "missing"),
    (
        "adapter_kind",
        parameters(adapters=[{"name": "x"}]),
        INVALID,
        f"{P}.adapters[0].kind",
        "LORA",
    ),
    (
        "adapter_nameless",
        parameters(adapters=[{"kind": "ADAPTER_KIND_LORA"}]),
        INVALID,
        f"{P}.adapters[0].name",
        "empty",
    ),
    (
        "adapter_heavy",
        parameters(adapters=[{"kind": "ADAPTER_KIND_LORA", "name": "x", "weight": 2.5}]),
        INVALID,
        f"{P}.adapters[0].weight",
        "-2 to 2",
    ),
    (
        "adapters_many",
        parameters(adapters=[{"kind": "ADAPTER_KIND_LORA", "name": "x"}] * 17),
        INVALID,
        f"{P}.adapters",
        "from 0 to 16",
    ),
    (
        "control_kind",
        parameters(control_images=[{}]),
        INVALID,
        f"{P}.control_images[0].kind",
        "DEPTH",
    ),
    (
        "control_blind",
        parameters(control_images=[{"kind": "CONTROL_KIND_DEPTH"}]),
        INVALID,
        f"{P}.control_images[0].image",
        "missing",
    ),
    (
        "reference_blind",
        parameters(reference_images=[{}]),
        INVALID,
        f"{P}.reference_images[0].image",
        "missing",
    ),
]


@pytest.mark.parametrize(
    ("change", "code", "field", "words"), [it[1:] for it in CREATE], ids=[it[0] for it in CREATE]
)
def test_create_job_refuses(
    gateway: Gateway, change: Change, code: grpc.StatusCode, field: str | None, words: str
) -> None:
    request = good_request()
    change(request)
    before = gateway.jobs.active_jobs()
    refusal = refusal_of(lambda: gateway.generation.CreateJob(request))
    assert refusal.code is code, refusal
    assert refusal.fields == ((field,) if field else ()), refusal
    assert words in refusal.message
    assert refusal.message.endswith(".")
    assert refusal.reason in (
        "INVALID_REQUEST",
        "MODEL_NOT_FOUND",
        "IMAGE_NOT_FOUND",
        "UNIMPLEMENTED",
    )
    assert gateway.jobs.active_jobs() <= before, "nothing was queued"
