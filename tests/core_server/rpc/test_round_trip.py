"""The main job through a real server: upload, create, watch, download."""

from __future__ import annotations

import io

import grpc
import numpy as np
import pytest
from PIL import Image

from core_server import __version__
from core_server.canvas.geometry import Extent
from core_server.canvas.plan import SeamlessAxes
from core_server.rpc.convert.canvas import SEAMLESS
from core_server.rpc.token import owner_of
from scumble.v1 import (
    canvas_pb2,
    generation_pb2,
    image_pb2,
    job_pb2,
    model_service_pb2,
    server_service_pb2,
)
from scumble.v1 import generation_service_pb2 as messages
from tests.core_server.canvas import profiles
from tests.core_server.rpc.asking import (
    create,
    download,
    finished,
    header_of,
    text_to_image,
    upload,
    watch,
    wish,
)
from tests.core_server.rpc.gateway import TOKEN, Gateway, refusal_of
from tests.fakes.runtime import picture


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_inpaint_brings_the_pixels_back(gateway: Gateway, dtype: str, channels: int) -> None:
    numbers = np.random.default_rng(7).random((33, 47, channels))
    full = 1 if dtype.startswith("f") else np.iinfo(dtype).max
    document = (numbers * full).astype(dtype)
    selection = np.zeros((33, 47, 1), np.uint8)
    selection[5:20, 9:30] = 255
    generation = generation_pb2.Generation(
        parameters=generation_pb2.GenerationParameters(prompt="echo: a bench", seed=2**64 - 1),
        inpaint=generation_pb2.InpaintTask(
            image=image_pb2.ImageSource(image_id=upload(gateway, document)),
            selection=image_pb2.ImageSource(
                data=image_pb2.ImageData(
                    header=header_of(selection, color_space="COLOR_SPACE_NON_COLOR"),
                    payload=selection.tobytes(),
                )
            ),
        ),
    )
    job = finished(gateway, create(gateway, generation).job_id)
    [result] = job.results
    header, payload = download(gateway, result.image_id)
    assert payload == document.tobytes()
    assert header == result.header == header_of(document)
    assert result.bounds == image_pb2.Bounds(x=0, y=0, width=47, height=33)
    _, mask = download(gateway, result.composite_mask_id)
    assert mask == selection.tobytes()
    assert result.seed == 2**64 - 1
    assert job.generation.inpaint.image.image_id == generation.inpaint.image.image_id
    assert len(job.generation.inpaint.selection.image_id) == 64


def test_picture_larger_than_a_message_and_packed_as_png(gateway: Gateway) -> None:
    array = np.random.default_rng(1).integers(0, 256, (1500, 1700, 4), dtype=np.uint8)
    image_id = upload(gateway, array)
    assert download(gateway, image_id)[1] == array.tobytes()
    header, png = download(gateway, image_id, "IMAGE_ENCODING_PNG")
    assert header.encoding == image_pb2.IMAGE_ENCODING_PNG
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), array)


def test_events_tell_the_story_and_can_be_resumed(gateway: Gateway) -> None:
    job = create(gateway, text_to_image("previews: slate", seed=3, count=2))
    assert job.state == job_pb2.JOB_STATE_QUEUED
    events = watch(gateway, job.job_id)
    numbers = [event.number for event in events]
    assert numbers == sorted(set(numbers))
    states = [event.state for event in events if event.HasField("state")]
    assert states == [
        job_pb2.JOB_STATE_QUEUED,
        job_pb2.JOB_STATE_RUNNING,
        job_pb2.JOB_STATE_SUCCEEDED,
    ]
    steps = [event.progress.step for event in events if event.HasField("progress")]
    assert steps == sorted(steps)
    assert steps[-1] == 40
    previews = [event.preview for event in events if event.HasField("preview")]
    assert previews
    assert all(max(it.header.extent.width, it.header.extent.height) <= 256 for it in previews)
    last_state = events[-1].number
    assert [event.number for event in watch(gateway, job.job_id, after=last_state - 1)] == [
        last_state
    ]
    assert watch(gateway, job.job_id, after=last_state) == []
    ended = finished(gateway, job.job_id)
    request = messages.WatchJobRequest(job_id=job.job_id)
    *_, last = told = list(gateway.generation.WatchJob(request))
    assert last.job == ended, "the last event brings the job along"
    assert [it.HasField("job") for it in told].count(True) == 1
    results = ended.results
    assert [(it.index, it.seed) for it in results] == [(0, 3), (1, 4)]
    for result in results:
        expected = picture(result.seed, Extent(24, 16))
        assert download(gateway, result.image_id)[1] == expected.tobytes()


def test_a_seed_is_drawn_and_reported(gateway: Gateway) -> None:
    jobs = [create(gateway, text_to_image()) for _ in range(4)]
    seeds = {job.generation.parameters.seed for job in jobs}
    assert len(seeds) == 4
    assert max(seeds) < 2**32
    assert finished(gateway, jobs[0].job_id).results[0].seed == jobs[0].generation.parameters.seed


def test_the_same_wish_is_one_job(gateway: Gateway) -> None:
    request_id = wish()
    first = create(gateway, text_to_image(), request_id)
    again = create(gateway, text_to_image(), request_id)
    assert (again.job_id, again.generation) == (first.job_id, first.generation)


def test_numbers_arrive_as_they_were_written(gateway: Gateway) -> None:
    parameters = create(
        gateway, text_to_image(guidance_scale=7.3, num_inference_steps=5)
    ).generation.parameters
    assert parameters.guidance_scale == pytest.approx(7.3, abs=1e-6)
    array = np.zeros((8, 8, 3), np.uint8)
    task = generation_pb2.ImageToImageTask(
        image=image_pb2.ImageSource(image_id=upload(gateway, array)), strength=0.3
    )
    job = create(gateway, generation_pb2.Generation(image_to_image=task))
    stored = gateway.run(gateway.jobs.get(owner_of(TOKEN), job.job_id))
    assert stored.request.strength == 0.3, "not 0.30000001192092896"


def test_cancel_list_delete(gateway: Gateway) -> None:
    running = create(gateway, text_to_image("slow: slate"))
    listed = gateway.generation.ListJobs(messages.ListJobsRequest(page_size=1)).jobs
    assert [job.job_id for job in listed] == [running.job_id]
    early = refusal_of(
        lambda: gateway.generation.DeleteJob(messages.DeleteJobRequest(job_id=running.job_id))
    )
    assert (early.code, early.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "FAILED_PRECONDITION",
    )
    gateway.generation.CancelJob(messages.CancelJobRequest(job_id=running.job_id))
    assert watch(gateway, running.job_id)[-1].state == job_pb2.JOB_STATE_CANCELLED
    gateway.generation.DeleteJob(messages.DeleteJobRequest(job_id=running.job_id))
    gone = refusal_of(
        lambda: gateway.generation.GetJob(messages.GetJobRequest(job_id=running.job_id))
    )
    assert (gone.code, gone.reason) == (grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND")


def test_pages_of_jobs(gateway: Gateway) -> None:
    made = [create(gateway, text_to_image()).job_id for _ in range(5)]
    seen: list[str] = []
    token = ""
    while len(seen) < 5:
        page = gateway.generation.ListJobs(messages.ListJobsRequest(page_size=2, page_token=token))
        seen += [job.job_id for job in page.jobs]
        token = page.next_page_token
    assert seen[:5] == made[::-1]


def test_a_job_that_fails_says_why(gateway: Gateway) -> None:
    event = watch(gateway, create(gateway, text_to_image("oom: slate")).job_id)[-1]
    assert event.state == job_pb2.JOB_STATE_FAILED
    assert event.error.reason == job_pb2.ERROR_REASON_OUT_OF_MEMORY
    assert "smaller" in event.error.message


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (canvas_pb2.SEAMLESS_AXES_UNSPECIFIED, SeamlessAxes.XY),
        (canvas_pb2.SEAMLESS_AXES_NONE, SeamlessAxes.NONE),
        (canvas_pb2.SEAMLESS_AXES_X, SeamlessAxes.X),
    ],
)
def test_a_texture_tiles_unless_told_otherwise(
    gateway: Gateway, given: canvas_pb2.SeamlessAxes.ValueType, expected: SeamlessAxes
) -> None:
    task = generation_pb2.TextureTask(extent=image_pb2.Extent(width=8, height=8))
    parameters = generation_pb2.GenerationParameters(prompt="moss", seamless=given)
    job = create(gateway, generation_pb2.Generation(parameters=parameters, texture=task))
    assert job.generation.parameters.seamless == SEAMLESS.to_proto(expected)


def test_a_plan_goes_there_and_back(gateway: Gateway) -> None:
    plan = gateway.generation.PlanCanvas(
        messages.PlanCanvasRequest(
            document=image_pb2.Extent(width=3000, height=2000),
            selection=image_pb2.Bounds(x=1000, y=900, width=120, height=70),
            options=canvas_pb2.CanvasOptions(intent="CANVAS_INTENT_ADD_OBJECT"),
        )
    ).plan
    assert plan.context.width >= 120
    context = np.zeros((plan.context.height, plan.context.width, 3), np.uint8)
    generation = generation_pb2.Generation(
        parameters=generation_pb2.GenerationParameters(prompt="echo: a bench"),
        inpaint=generation_pb2.InpaintTask(
            image=image_pb2.ImageSource(image_id=upload(gateway, context)),
            selection=image_pb2.ImageSource(image_id=upload(gateway, context[..., :1].copy())),
            plan=plan,
        ),
    )
    [result] = finished(gateway, create(gateway, generation).job_id).results
    assert result.plan == plan
    assert result.bounds == plan.context


def test_models_schedulers_and_the_server_itself(gateway: Gateway) -> None:
    [model] = gateway.models.ListModels(model_service_pb2.ListModelsRequest()).models
    assert (model.model_id, model.is_default) == ("tiny", True)
    schedulers = gateway.models.ListSchedulers(model_service_pb2.ListSchedulersRequest()).schedulers
    assert [(it.name, it.title, it.is_default) for it in schedulers] == [
        ("euler", "Euler", True),
        ("ddim", "DDIM", False),
    ]
    about = gateway.about.GetServerInfo(server_service_pb2.GetServerInfoRequest())
    assert about.version == __version__
    assert about.device == "cpu"
    assert about.worker_state == server_service_pb2.WORKER_STATE_READY
    assert about.default_model == "tiny"
    assert about.limits.max_side == 4096
    assert "inpaint" in about.features


def test_the_list_tells_which_models_are_loaded(gateway: Gateway) -> None:
    """The default one too: it is loaded at the start, and may be unloaded like every other."""

    def listed() -> int:
        [model] = gateway.models.ListModels(model_service_pb2.ListModelsRequest()).models
        return model.state

    load = model_service_pb2.LoadModelRequest(model_id="tiny")
    unload = model_service_pb2.UnloadModelRequest(model_id="tiny")
    is_loaded = model_service_pb2.MODEL_STATE_LOADED
    for again in (
        lambda: gateway.models.LoadModel(load),
        lambda: finished(gateway, create(gateway, text_to_image()).job_id),
        lambda: watch(gateway, create(gateway, text_to_image("oom")).job_id),
    ):
        answer = gateway.models.UnloadModel(unload).model
        assert answer.state == listed() == model_service_pb2.MODEL_STATE_INSTALLED
        again()
        assert listed() == is_loaded
    assert gateway.models.LoadModel(load).model.state == is_loaded


def test_a_large_profile_comes_with_the_picture_only(gateway: Gateway) -> None:
    profile = profiles.srgb() + bytes(70_000)
    array = np.zeros((4, 4, 3), np.uint8)
    image_id = upload(gateway, array, color_space="COLOR_SPACE_ICC", icc_profile=profile)
    task = generation_pb2.ImageToImageTask(image=image_pb2.ImageSource(image_id=image_id))
    generation = generation_pb2.Generation(
        parameters=generation_pb2.GenerationParameters(prompt="echo"), image_to_image=task
    )
    [result] = finished(gateway, create(gateway, generation).job_id).results
    assert result.header.color_space == image_pb2.COLOR_SPACE_ICC
    assert result.header.icc_profile == b""
    assert download(gateway, result.image_id)[0].icc_profile == profile


def test_pages_stay_below_what_clients_receive(gateway: Gateway) -> None:
    long = "slate, " * 1000
    made = {
        create(gateway, text_to_image(long, negative_prompt=long, count=1)).job_id
        for _ in range(200)
    }
    seen: set[str] = set()
    token = ""
    while not made <= seen:
        page = gateway.generation.ListJobs(
            messages.ListJobsRequest(page_size=1000, page_token=token)
        )
        assert page.ByteSize() <= 2 << 20
        seen |= {job.job_id for job in page.jobs}
        token = page.next_page_token
        assert token or made <= seen


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_small_pictures_come_along_with_the_end(gateway: Gateway, dtype: str) -> None:
    array = (np.random.default_rng(9).random((16, 24, 4)) * 200).astype(dtype)
    mask = header_of(array[..., :1].astype(np.uint8), color_space="COLOR_SPACE_NON_COLOR")
    generation = generation_pb2.Generation(
        parameters=generation_pb2.GenerationParameters(prompt="echo", count=2),
        inpaint=generation_pb2.InpaintTask(
            image=image_pb2.ImageSource(image_id=upload(gateway, array)),
            selection=image_pb2.ImageSource(
                data=image_pb2.ImageData(header=mask, payload=bytes(range(192)) * 2)
            ),
        ),
    )
    ended = finished(gateway, create(gateway, generation).job_id)
    size = array.nbytes + 16 * 24  # both variations are the same picture

    def along(inline_bytes: int) -> dict[str, image_pb2.ImageData]:
        request = messages.WatchJobRequest(job_id=ended.job_id, inline_bytes=inline_bytes)
        *before, last = gateway.generation.WatchJob(request)
        assert not any(it.images for it in before)
        return dict(last.images)

    assert along(0) == along(size - 1) == {}
    for most in (size, 2**31 - 1):
        images = along(most)
        assert images.keys() == {ended.results[0].image_id, ended.results[0].composite_mask_id}
        for image_id, image in images.items():
            assert (image.header, image.payload) == download(gateway, image_id)
    refusal = refusal_of(lambda: along(-1))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "inline_bytes" in refusal.fields


def test_large_pictures_do_not_come_along(gateway: Gateway) -> None:
    array = np.zeros((600, 600, 3), np.uint8)  # above 1 MiB
    generation = generation_pb2.Generation(
        parameters=generation_pb2.GenerationParameters(prompt="echo"),
        image_to_image=generation_pb2.ImageToImageTask(
            image=image_pb2.ImageSource(image_id=upload(gateway, array))
        ),
    )
    job_id = create(gateway, generation).job_id
    request = messages.WatchJobRequest(job_id=job_id, inline_bytes=2**31 - 1)
    *_, last = gateway.generation.WatchJob(request)
    assert last.job.results
    assert not last.images
