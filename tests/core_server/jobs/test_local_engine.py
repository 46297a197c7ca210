"""The local engine with real worker processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import numpy as np
import pytest

from core_server.canvas.pixels import SAMPLE_DTYPES, ColorSpace, Pixels
from core_server.config import Limits
from core_server.errors import (
    DeviceFault,
    ModelLoadFailed,
    ModelNotFound,
    OutOfMemory,
    ScumbleServerError,
    TaskCancelled,
    TaskFailed,
    Unavailable,
    WorkerCrashed,
)
from core_server.jobs.engine import EngineState
from core_server.jobs.local_engine import LocalEngine
from core_server.jobs.segments import Segments
from core_server.pipelines.live_frame import LiveFrame
from core_server.pipelines.request import Inpaint, Parameters
from core_server.pipelines.task import StepProgress
from tests.core_server.jobs.conftest import config, text_to_image
from tests.core_server.jobs.test_store import PLAN
from tests.fakes.runtime import picture

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and segments of POSIX")


def ignore(_: StepProgress) -> None:
    pass


async def test_pixels_of_every_kind_cross_both_ways_bit_for_bit(engine: LocalEngine) -> None:
    rng = np.random.default_rng(1)
    mask = Pixels.mask(rng.integers(0, 256, (33, 57), dtype=np.uint8))
    for dtype in SAMPLE_DTYPES:
        for channels in (1, 3, 4):
            size = np.dtype(dtype).itemsize
            noise = rng.integers(0, 256, 33 * 57 * channels * size, dtype=np.uint8)
            array = noise.view(dtype).reshape(33, 57, channels)
            request = Inpaint(
                parameters=Parameters(prompt="echo", seed=5, count=2),
                image="image",
                selection="mask",
                plan=PLAN,
            )
            images = {"image": Pixels(array, ColorSpace.ICC, b"profile"), "mask": mask}
            outputs = await engine.run("job", request, images, ignore)
            for k, output in enumerate(outputs):
                assert output.pixels.array.tobytes() == array.tobytes()
                assert output.pixels.array.shape == array.shape
                assert output.pixels.array.dtype == array.dtype
                assert output.pixels.icc_profile == b"profile"
                assert output.composite_mask is not None
                assert np.array_equal(output.composite_mask.array, mask.array)
                assert (output.seed, output.bounds, output.plan) == (5 + k, PLAN.context, PLAN)
                assert output.recipe["prompt"] == "echo"


async def test_frames_of_any_size_cross_between_jobs_bit_for_bit(engine: LocalEngine) -> None:
    """The worker keeps what it has mapped; a segment that was made anew for a larger canvas must not be missed."""
    rng = np.random.default_rng(2)
    frame = LiveFrame(parameters=Parameters(prompt="default"), strength=0.5)
    for turn, side in enumerate((64, 64, 1024, 32, 1600, 1600, 64)):
        canvas = Pixels(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
        painted = await engine.paint(f"frame-{turn}", frame, canvas, ignore)
        assert np.array_equal(painted.pixels.array, 255 - canvas.array)
        if turn == 3:  # larger than the segments that the worker has mapped
            request = Inpaint(parameters=Parameters(prompt="echo"), image="image", selection="mask")
            large = np.zeros((2048, 1500, 4), np.uint8)
            images = {"image": Pixels(large), "mask": Pixels.mask(large[..., 0])}
            await engine.run("job", request, images, ignore)


async def test_seeds_wrap_and_steps_are_told_in_order(engine: LocalEngine) -> None:
    request = text_to_image(seed=2**64 - 1, count=2)
    steps: list[StepProgress] = []
    outputs = await engine.run("job", request, {}, steps.append)
    assert [output.seed for output in outputs] == [2**64 - 1, 0]
    for output in outputs:
        assert np.array_equal(output.pixels.array, picture(output.seed, request.extent))
    assert [(told.step, told.steps) for told in steps] == [(k, 8) for k in range(1, 9)]


async def test_previews_cross(engine: LocalEngine) -> None:
    steps: list[StepProgress] = []
    await engine.run("job", text_to_image("previews"), {}, steps.append)
    assert steps[6].preview is not None
    assert np.array_equal(steps[6].preview, np.full((8, 12, 3), 6, np.uint8))


async def test_cancelling_takes_one_step(engine: LocalEngine) -> None:
    await engine.wait_ready()
    worker = engine.worker_pid
    steps: list[int] = []

    def cancel_at_first(told: StepProgress) -> None:
        steps.append(told.step)
        if told.step == 1:
            engine.cancel("job")

    with pytest.raises(TaskCancelled):
        await engine.run("job", text_to_image("strides"), {}, cancel_at_first)
    assert steps[-1] <= 3  # steps under way while the wish travelled
    assert engine.worker_pid == worker, "it was not killed for it"
    assert len(await engine.run("next", text_to_image(), {}, ignore)) == 1


async def test_cancelling_before_the_worker_is_ready(tmp_path: Path) -> None:
    engine = LocalEngine(config(tmp_path))
    await engine.start()
    running = asyncio.create_task(engine.run("job", text_to_image(), {}, ignore))
    await asyncio.sleep(0)
    engine.cancel("other")
    engine.cancel("job")
    with pytest.raises(TaskCancelled):
        await running
    await engine.stop()


async def test_a_worker_deaf_to_cancelling_is_replaced(tmp_path: Path) -> None:
    engine = LocalEngine(config(tmp_path), cancel_grace_seconds=0.3)
    await engine.start()
    await engine.wait_ready()
    deaf = engine.worker_pid
    running = asyncio.create_task(engine.run("job", text_to_image("hang"), {}, ignore))
    while not engine._is_busy():  # until the worker has it
        await asyncio.sleep(0.01)
    engine.cancel("job")
    with pytest.raises(TaskCancelled):
        await running
    assert engine.status.state is EngineState.RESTARTING
    assert len(await engine.run("next", text_to_image(), {}, ignore)) == 1
    assert engine.worker_pid != deaf
    await engine.stop()


async def test_a_worker_whose_device_failed_ends_itself(engine: LocalEngine) -> None:
    await engine.wait_ready()
    broken = engine.worker_pid
    with pytest.raises(DeviceFault, match="device-side assert") as caught:
        await engine.run("job", text_to_image("fault"), {}, ignore)
    assert caught.value.metadata == {"device": "cuda:0"}
    assert engine.status.state is EngineState.RESTARTING
    assert "device-side assert" in engine.status.message
    assert len(await engine.run("next", text_to_image(), {}, ignore)) == 1
    assert engine.worker_pid != broken


@pytest.mark.parametrize(
    ("prompt", "error", "told"),
    [
        ("oom", OutOfMemory, "smaller"),
        ("bug", TaskFailed, "ZeroDivisionError"),
        pytest.param("crash", WorkerCrashed, "SIGKILL", marks=posix),
    ],
)
async def test_what_goes_wrong_has_its_reason_and_the_next_request_works(
    engine: LocalEngine, prompt: str, error: type[ScumbleServerError], told: str
) -> None:
    with pytest.raises(error, match=told) as caught:
        await engine.run("job", text_to_image(prompt), {}, ignore)
    assert type(caught.value) is error
    assert len(await engine.run("next", text_to_image(), {}, ignore)) == 1
    assert engine.status.state is EngineState.READY


async def test_status_tells_of_the_device(engine: LocalEngine) -> None:
    assert engine.status.state is EngineState.STARTING
    assert engine.status.message
    await engine.wait_ready()
    assert engine.status.info is not None
    assert engine.status.info.device == "cpu"
    assert engine.status.info.models[0].model_id == "tiny"


async def test_a_rest_is_told(tmp_path: Path) -> None:
    engine = LocalEngine(config(tmp_path, limits=Limits(max_idle_seconds=3)))
    await engine.start()
    try:
        await engine.wait_ready()
        while engine.status.info is None or engine.status.info.loaded:
            await asyncio.sleep(0.05)
        await engine.run("job", text_to_image(), {}, ignore)
        assert engine.status.info.loaded == ("tiny",)
    finally:
        await engine.stop()


async def test_loading_a_model(engine: LocalEngine) -> None:
    await engine.load("tiny")
    with pytest.raises(ModelNotFound, match="'nonsense'"):
        await engine.load("nonsense")


@pytest.mark.parametrize(
    ("fate", "error"), [("missing", ModelLoadFailed), ("crash", WorkerCrashed)]
)
async def test_a_worker_that_cannot_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fate: str, error: type[ScumbleServerError]
) -> None:
    monkeypatch.setattr("core_server.jobs.supervisor._FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setenv("SCUMBLE_FAKE_START", fate)
    engine = LocalEngine(config(tmp_path))
    await engine.start()
    with pytest.raises(error):
        await engine.run("job", text_to_image(), {}, ignore)
    assert engine.status.state is EngineState.FAILED
    assert engine.status.message
    monkeypatch.delenv("SCUMBLE_FAKE_START")
    assert len(await engine.run("job", text_to_image(), {}, ignore)) == 1
    await engine.stop()
    with pytest.raises(Unavailable):
        await engine.wait_ready()


async def test_stopping_ends_what_runs(engine: LocalEngine) -> None:
    started = asyncio.Event()
    running = asyncio.create_task(
        engine.run("job", text_to_image("slow"), {}, lambda _: started.set())
    )
    await started.wait()
    await engine.stop()
    with pytest.raises(WorkerCrashed):
        await running


def segments_there(data_dir: Path) -> list[str]:
    prefix = Segments(data_dir)._prefix
    return [path.name for path in Path("/dev/shm").iterdir() if path.name.startswith(prefix)]


@pytest.mark.skipif(sys.platform != "linux", reason="lists /dev/shm")
async def test_no_shared_memory_is_left(engine: LocalEngine, tmp_path: Path) -> None:
    request = Inpaint(parameters=Parameters(prompt="crash"), image="image", selection="mask")
    mask = Pixels.mask(np.zeros((8, 8), np.uint8))
    with pytest.raises(WorkerCrashed):
        await engine.run("job", request, {"image": mask, "mask": mask}, ignore)
    assert len(segments_there(tmp_path)) == 1  # kept for the next job
    await engine.stop()
    assert segments_there(tmp_path) == []


@posix
def test_a_killed_gateways_memory_is_swept(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from core_server.jobs.segments import Segments\n"
        "from multiprocessing import resource_tracker\n"
        "segment = Segments(Path(sys.argv[1])).for_input(4096)\n"
        "resource_tracker.unregister('/' + segment.name, 'shared_memory')\n"
        "print(segment.name, flush=True); os.kill(os.getpid(), 9)"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=300
    )
    name = outcome.stdout.strip()
    Segments(tmp_path).sweep()
    with pytest.raises(FileNotFoundError):
        SharedMemory(name)


@posix
async def test_the_terminals_ctrl_c_is_not_the_workers_business(engine: LocalEngine) -> None:
    await engine.wait_ready()
    pid = engine.worker_pid
    assert pid is not None
    os.kill(pid, signal.SIGINT)
    os.kill(pid, signal.SIGTERM)
    assert len(await engine.run("job", text_to_image(), {}, ignore)) == 1
    assert engine.worker_pid == pid
