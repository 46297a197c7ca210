"""Requests that are painted together: several pictures of one model, size and settings in one pass of the denoiser.

Whatever keeps one of them from that is painted alone, and whatever goes wrong with one is no other one's business.
Passes have 2, 4, 8 ... pictures, so that few CUDA graphs are enough; where memory runs out they become half as large.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from core_server.canvas.geometry import Extent
from core_server.canvas.sizes import model_extent
from core_server.errors import DeviceFault, ScumbleServerError
from core_server.pipelines import devices
from core_server.pipelines.denoise_together import (
    NotAlike,
    Picture,
    SharedReporter,
    denoise_together,
)
from core_server.pipelines.faults import still_computes
from core_server.pipelines.few_step import with_few_steps
from core_server.pipelines.layout_start import layout_start
from core_server.pipelines.memory import Rung
from core_server.pipelines.model import FloatArray, LoadedModel
from core_server.pipelines.outfit import dressed
from core_server.pipelines.progress import StepReporter
from core_server.pipelines.prompt import prompt_notes
from core_server.pipelines.request import StructureStart, TextToImage
from core_server.pipelines.settings import Settings, settle
from core_server.pipelines.sizes import TiledSizes, size_note
from core_server.pipelines.task import StepProgress, TaskOutput, Wish
from core_server.pipelines.text_to_image import finished
from core_server.pipelines.words.styles import Styles

log = logging.getLogger(__name__)

Outcome = Sequence[TaskOutput] | Exception


def paints_together(model: LoadedModel) -> bool:
    """Whether passes of several pictures were measured to help a model: those with a UNet that is on the device whole.

    What starts from a drawn layout is painted alone.
    """
    return (
        model.family.denoiser == "unet"
        and "text_to_image" in model.family.tasks
        and model.rung in (None, Rung.RESIDENT)
        and model.profile.layout_strength is None
    )


@dataclasses.dataclass(slots=True, eq=False)
class _Job:
    """One of the requests. outputs: of its seeds so far, in order; outcome: once it is known."""

    wish: Wish
    settings: Settings
    model: LoadedModel
    outputs: list[TaskOutput] = dataclasses.field(default_factory=list)
    outcome: Outcome | None = None

    @property
    def request(self) -> TextToImage:
        assert isinstance(self.wish.request, TextToImage)
        return self.wish.request


class Together:
    """One set of requests with the same `request.batch_key`.

    alone: paints one request as ever. learn: told of the model and of the px that a pass had. pictures: most at once.
    """

    def __init__(
        self,
        wishes: Sequence[Wish],
        pictures: int,
        *,
        styles: Styles,
        data_dir: Path,
        alone: Callable[[Wish], Sequence[TaskOutput]],
        learn: Callable[[LoadedModel, Extent], None],
    ) -> None:
        self._wishes = wishes
        self._most = pictures
        self._styles = styles
        self._data_dir = data_dir
        self._alone = alone
        self._learn = learn

    def outcomes(self, loaded: LoadedModel | None) -> list[Outcome]:
        """What became of each. loaded: None: all of them alone. Errors: DeviceFault."""
        found: list[Outcome | None] = [None] * len(self._wishes)
        jobs: dict[int, _Job] = {}
        if loaded is not None and paints_together(loaded):
            for number, wish in enumerate(self._wishes):
                try:
                    jobs[number] = self._prepared(loaded, wish)
                except ScumbleServerError as error:
                    found[number] = error
        for members in _alike(jobs):
            self._paint(members)
            for number, job in members.items():
                found[number] = job.outcome
        return [
            self._by_itself(wish) if outcome is None else outcome
            for wish, outcome in zip(self._wishes, found, strict=True)
        ]

    def _prepared(self, loaded: LoadedModel, wish: Wish) -> _Job:
        model = with_few_steps(loaded, wish.request.parameters)
        return _Job(wish, settle(wish.request, model.profile, self._styles), model)

    def _by_itself(self, wish: Wish) -> Outcome:
        try:
            return self._alone(wish)
        except DeviceFault:
            raise
        except Exception as error:  # noqa: BLE001  the others' pictures are sound
            return error

    def _paint(self, jobs: dict[int, _Job]) -> None:
        """Leaves without outcome what is to be painted alone."""
        first = next(iter(jobs.values()))
        model, most = first.model, self._most
        while most > 1:
            devices.forget_peak(model.device)
            try:
                self._paint_in_passes(jobs, most)
                return
            except NotAlike:
                return
            except Exception as error:
                if not still_computes(model.device):
                    raise
                if not devices.is_out_of_memory(error):
                    if not isinstance(error, ScumbleServerError):
                        log.warning("Not painted together", exc_info=error)
                    return
            # Out of the handler: the exception, and with it every tensor of the pass, is forgotten.
            most //= 2
            devices.give_back(model.device)
            told = f"{most} pictures at once" if most > 1 else "one picture at a time"
            for job in jobs.values():
                job.outputs.clear()
                if job.outcome is None:
                    _tell(job, f"Out of memory; trying again with {told}")

    def _paint_in_passes(self, jobs: dict[int, _Job], most: int) -> None:
        waiting = {number: job for number, job in jobs.items() if job.outcome is None}
        if not waiting:
            return
        first = next(iter(waiting.values()))
        model, request = first.model, first.request
        axes = request.parameters.seamless
        sizes = TiledSizes.of(model, axes)
        painted = model_extent(request.extent, sizes)
        with dressed(model, request, first.settings, {}, self._data_dir) as worn:
            pictures = [
                Picture(_worn(job.settings, first.settings, worn), seed, number)
                for number, job in waiting.items()
                for seed in job.settings.seeds
            ]
            passes = list(_passes(pictures, most))
            steps = first.settings.num_inference_steps
            reporters = {
                number: StepReporter(
                    model, job.wish.on_step, steps,
                    sum(any(it.job == number for it in each) for each in passes), sets_pace=False,
                )
                for number, job in waiting.items()
            }  # fmt: skip
            reporter = SharedReporter(model, reporters, steps)
            for each in passes:
                left = [it for it in each if it.job not in reporter.left]
                if not left:
                    continue
                images = denoise_together(model, left, extent=painted, axes=axes, reporter=reporter)
                self._learn(model, Extent(painted.width, painted.height * len(left)))
                for picture, image in zip(left, images, strict=True):
                    if image is None:
                        continue
                    job = waiting[picture.job]
                    job.outputs.append(_delivered(job, picture, image, painted, len(left)))
        for number, job in waiting.items():
            job.outcome = reporter.left.get(number, job.outputs)


def _delivered(
    job: _Job, picture: Picture, image: FloatArray, painted: Extent, shared: int
) -> TaskOutput:
    """One picture of a pass. painted: px at model size; shared: pictures of the pass."""
    model, request, settings = job.model, job.request, picture.settings
    multiple = TiledSizes.of(model, request.parameters.seamless).multiple
    notes = prompt_notes(model, settings) + size_note(request.extent, painted, multiple)
    details: dict[str, Any] = {
        "model_extent": list(painted),
        "structure": StructureStart.NOISE.value,
    }
    if shared > 1:
        details["batch"] = shared
    steps = settings.num_inference_steps
    return finished(model, request, settings, picture.seed, image, steps, notes, details)


def _alike(jobs: dict[int, _Job]) -> list[dict[int, _Job]]:
    """Those that have a model and all numbers in common; defaults may differ by what else was asked."""
    groups: dict[object, dict[int, _Job]] = {}
    for number, job in jobs.items():
        settings = job.settings
        if layout_start(job.model, job.request.parameters.structure, settings) is not None:
            continue
        key = (
            id(job.model),
            settings.num_inference_steps,
            settings.guidance_scale,
            settings.scheduler,
        )
        groups.setdefault(key, {})[number] = job
    return list(groups.values())


def _passes(pictures: Sequence[Picture], most: int) -> list[Sequence[Picture]]:
    """Of the largest power of two that fits, one after the other."""
    found: list[Sequence[Picture]] = []
    begin = 0
    while begin < len(pictures):
        size = 1 << (min(most, len(pictures) - begin).bit_length() - 1)
        found.append(pictures[begin : begin + size])
        begin += size
    return found


def _worn(settings: Settings, first: Settings, worn: Settings) -> Settings:
    """A job's settings with what the adapters, which are the first one's too, add to the recipe."""
    added = {key: value for key, value in worn.recipe.items() if key not in first.recipe}
    return dataclasses.replace(
        settings,
        recipe={**settings.recipe, **added},
        notes=(*settings.notes, *worn.notes[len(first.notes) :]),
    )


def _tell(job: _Job, stage: str) -> None:
    try:
        job.wish.on_step(StepProgress(0, 0, stage))
    except ScumbleServerError as error:
        job.outcome = error
