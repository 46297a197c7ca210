"""The client against a real gateway with a scripted runtime."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

import scumble.client
from scumble.client import (
    Bounds,
    Client,
    ColorSpace,
    DenoiserPrecision,
    Extent,
    ImageToImage,
    Inpaint,
    InvalidRequest,
    JobState,
    NumberRange,
    Pixels,
    ScumbleError,
    TextToImage,
    Texture,
    Upscale,
    WorkerState,
)
from tests.core_server.rpc.gateway import TOKEN, Gateway
from tests.fakes.runtime import picture

DTYPES = ("uint8", "uint16", "float16", "float32")


def random_pixels(dtype: str, channels: int, width: int = 37, height: int = 23) -> Pixels:
    rng = np.random.default_rng(channels)
    shape = (height, width, channels)
    if dtype.startswith("u"):
        return Pixels.from_numpy(rng.integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype))
    return Pixels.from_numpy(rng.random(shape).astype(dtype), ColorSpace.LINEAR_REC709)


def test_server_info_tells_who_answers(client: Client) -> None:
    info = client.server_info()
    assert (info.version, info.default_model, info.worker_state) == (
        "0.1.0",
        "tiny",
        WorkerState.READY,
    )
    assert info.limits.max_steps == 1000
    assert info.denoiser_precisions == (DenoiserPrecision.INT8,)
    assert info.ranges["parameters.count"] == NumberRange(low=1, high=info.limits.max_count)
    assert info.ranges["inpaint.strength"] == NumberRange(low=0, high=1, above_low=True)


def test_models_and_schedulers(client: Client) -> None:
    [model] = [model for model in client.models() if model.is_default]
    assert (model.model_id, model.license, model.max_extent) == ("tiny", "MIT", Extent(2048, 2048))
    assert model.shortcuts == ("few_step",)
    assert {"euler", "ddim"} == {scheduler.name for scheduler in client.schedulers()}


def test_events_lead_to_the_picture(client: Client) -> None:
    job = client.submit(TextToImage("previews: bricks", 40, 30, seed=2**64 - 1, count=2))
    events = list(job.watch())
    numbers = [event.number for event in events]
    assert numbers == sorted(set(numbers))
    states = [event.state for event in events if event.state]
    assert states[0] is JobState.QUEUED
    assert states[-1] is JobState.SUCCEEDED
    assert any(event.preview and event.preview.extent == (12, 8) for event in events)
    last = [event.progress for event in events if event.progress][-1]
    assert (last.step, last.steps, last.fraction) == (40, 40, 1.0)
    patches = job.result()
    assert [(patch.index, patch.seed) for patch in patches] == [(0, 2**64 - 1), (1, 0)]
    for patch in patches:
        assert np.array_equal(patch.pixels.numpy(), picture(patch.seed, Extent(40, 30)))
        assert patch.recipe["prompt"] == "previews: bricks"
        assert (patch.bounds, patch.composite_mask, patch.map_name) == (None, None, "")


def test_a_watch_goes_on_after_an_event(client: Client) -> None:
    job = client.submit(TextToImage("stone", 8, 8))
    events = list(job.watch())
    again = list(job.watch(after=events[1].number))
    assert all(event.number > events[1].number for event in again)
    assert (again[-1].number, again[-1].state) == (events[-1].number, JobState.SUCCEEDED)
    assert list(job.watch(after=events[-1].number)) == []


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(37, 23), (700, 900)], ids=["inline", "uploaded"])
def test_pixels_come_back_bit_identical(
    client: Client, dtype: str, channels: int, size: tuple[int, int]
) -> None:
    image = random_pixels(dtype, channels, *size)
    [patch] = client.submit(ImageToImage("echo: it", image, strength=0.5)).result()
    assert patch.pixels.tobytes() == image.tobytes()
    assert (patch.pixels.sample_type, patch.pixels.color_space) == (
        image.sample_type,
        image.color_space,
    )
    assert patch.pixels.channels == channels


def test_an_upload_is_named_by_its_pixels(client: Client) -> None:
    image = random_pixels("uint16", 4, 800, 500)
    image_id = client.upload(image)
    assert client.upload(image) == image_id
    assert client.download(image_id).tobytes() == image.tobytes()
    [patch] = client.submit(ImageToImage("echo: it", image_id)).result()
    assert patch.pixels.tobytes() == image.tobytes()


def test_a_plan_travels_with_the_job_and_back(client: Client) -> None:
    plan = client.plan(Extent(640, 480), Bounds(500, 300, 60, 50), strength=0.5)
    assert plan.document == (640, 480)
    assert plan.context.x <= 500 and plan.context.right >= 560
    context = random_pixels("uint8", 3, *plan.context.extent)
    mask = Pixels.mask(bytes(plan.context.width * plan.context.height), *plan.context.extent)
    [patch] = client.submit(Inpaint("echo: x", context, mask, 0.5, plan=plan)).result()
    assert (patch.bounds, patch.plan) == (plan.context, plan)
    assert patch.composite_mask is not None
    assert patch.composite_mask.extent == plan.context.extent


def test_the_same_request_id_is_the_same_job(client: Client) -> None:
    request = TextToImage("stone", 8, 8, seed=1)
    first = client.submit(request, request_id="wish-1")
    assert client.submit(request, request_id="wish-1").id == first.id
    assert client.submit(request).id != first.id


def test_a_cancelled_job_raises_cancelled(client: Client) -> None:
    job = client.submit(TextToImage("slow: stone", 8, 8))
    for event in job.watch():
        if event.progress:
            job.cancel()
    with pytest.raises(scumble.client.Cancelled):
        job.result()
    assert job.status().state is JobState.CANCELLED
    job.delete()
    with pytest.raises(scumble.client.JobNotFound):
        job.status()


def test_a_result_can_be_waited_for_with_a_limit(client: Client) -> None:
    job = client.submit(TextToImage("slow: stone", 8, 8))
    with pytest.raises(scumble.client.Unavailable, match="not finished after"):
        job.result(timeout=0.3)
    job.cancel()


@pytest.mark.parametrize(
    ("prompt", "error"),
    [
        ("oom: stone", scumble.client.OutOfMemory),
        ("bug: stone", scumble.client.InternalError),
    ],
    ids=["out of memory", "a mistake of ours"],
)
def test_a_failed_job_raises_its_error(
    client: Client, prompt: str, error: type[ScumbleError]
) -> None:
    job = client.submit(TextToImage(prompt, 8, 8))
    *_, last = job.watch()
    assert (last.state, type(last.error)) == (JobState.FAILED, error)
    with pytest.raises(error):
        job.result()


@pytest.mark.parametrize(
    ("request_", "field", "says"),
    [
        (TextToImage("", 8, 8), "prompt", "empty"),
        (TextToImage("x", 0, 8), "extent", "0"),
        (TextToImage("x", 8, 2**40), "height", "whole number"),
        (TextToImage("x", 8, 8, seed=-1), "seed", "seed is -1; it must be a whole number from 0"),
        (TextToImage("x", 8, 8, count=2.5), "count", "count is 2.5"),
        (TextToImage("x", 8, 8, guidance_scale="3"), "guidance_scale", "'3'"),
        (TextToImage("\ud800", 8, 8), "", "cannot be sent"),
        (Upscale(random_pixels("uint8", 3), 2**40), "factor", "factor is"),
        (TextToImage("x", 8, 8, scheduler="nope"), "scheduler", "nope"),
        (TextToImage("x", 8, 8, num_inference_steps=0), "num_inference_steps", "1000"),
        (TextToImage("x", 8, 8, seamless="diagonal"), "seamless", "diagonal"),
        (TextToImage("x", 8, 8, count=17), "count", "16"),
        (Texture("x", 8, 8, maps=("smell",)), "material_map", "smell"),
        (ImageToImage("x", random_pixels("uint8", 3), 1.5), "strength", "1"),
    ],
    ids=lambda value: None if not isinstance(value, str) else value,
)
def test_bad_requests_name_their_field(
    client: Client, request_: scumble.client.Request, field: str, says: str
) -> None:
    with pytest.raises(InvalidRequest, match=says) as caught:
        client.submit(request_)
    assert field in caught.value.field


def test_what_is_not_there_has_its_own_error(client: Client) -> None:
    with pytest.raises(scumble.client.ImageNotFound):
        client.download("0" * 64)
    with pytest.raises(scumble.client.JobNotFound):
        client.job("nope").result()
    with pytest.raises(scumble.client.JobNotFound):
        list(client.job("nope").watch())
    with pytest.raises(scumble.client.ModelNotFound, match="nope"):
        client.submit(TextToImage("x", 8, 8, model="nope"))


def test_jobs_are_listed_newest_first(client: Client) -> None:
    ids = [client.submit(TextToImage(f"stone {n}", 8, 8)) for n in range(3)]
    for job in ids:
        job.result()
    found = client.jobs([JobState.SUCCEEDED], limit=2)
    assert [status.job_id for status in found] == [ids[2].id, ids[1].id]
    assert found[0].prompt == "stone 2"
    assert found[0].task == "text_to_image"


def test_closing_ends_a_watch_in_another_thread(gateway: Gateway) -> None:
    client = scumble.client.connect(gateway.address, token=TOKEN)
    job = client.submit(TextToImage("slow: stone", 8, 8))
    seen = threading.Event()
    raised: list[ScumbleError] = []

    def watch() -> None:
        try:
            for _ in job.watch():
                seen.set()
        except ScumbleError as error:
            raised.append(error)

    thread = threading.Thread(target=watch)
    thread.start()
    assert seen.wait(60)
    client.close()
    thread.join(60)
    assert [type(error) for error in raised] == [scumble.client.Unavailable]
    with pytest.raises(scumble.client.Unavailable, match="closed"):
        client.server_info()
    with scumble.client.connect(gateway.address, token=TOKEN) as other:
        other.job(job.id).cancel()


def test_one_client_serves_many_threads(client: Client) -> None:
    results: list[int] = []

    def work(seed: int) -> None:
        results.append(client.submit(TextToImage("stone", 8, 8, seed=seed)).result()[0].seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(results) == list(range(6))


def test_a_wrong_token_is_told_with_its_origin(gateway: Gateway, tmp_path: Path) -> None:
    with pytest.raises(scumble.client.Unauthenticated, match="from the caller"):
        scumble.client.connect(gateway.address, token="wrong")
    (tmp_path / "token").write_text("wrong-too\n")
    with pytest.raises(scumble.client.Unauthenticated, match="token"):
        scumble.client.connect(gateway.address, data_dir=tmp_path)
    with pytest.raises(scumble.client.Unauthenticated, match="none was found"):
        scumble.client.connect(gateway.address, data_dir=tmp_path / "nothing")


def test_styles_shipped_and_own(client: Client, gateway: Gateway) -> None:
    own = gateway.config.data_dir / "styles.json"
    own.write_text('{"mine": "{prompt}, in my style"}')
    styles = {style.name: style for style in client.styles()}
    assert list(styles)[-1] == "mine"
    assert (styles["mine"].prompt, styles["mine"].is_own) == ("{prompt}, in my style", True)
    assert "{prompt}" in styles["watercolour"].prompt
    assert styles["watercolour"].negative_prompt and not styles["watercolour"].is_own
    own.write_text('{"mine": "no place"}')
    with pytest.raises(InvalidRequest, match=r"styles\.json is broken"):
        client.styles()
    own.unlink()
