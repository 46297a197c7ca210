"""Several pictures from noise in one run of a stock diffusers pipeline, each with a generator of its own.

A picture's words are encoded, its noise drawn and its latents decoded as if it were alone; what it shares is the calls
of the denoiser. Their numbers differ from those of a call for one picture in the last bits: libraries choose their
kernels by size.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch

from core_server.canvas.geometry import Extent
from core_server.canvas.plan import SeamlessAxes
from core_server.errors import ScumbleServerError
from core_server.pipelines.conditioning import prompt_arguments
from core_server.pipelines.control import stock_pipeline
from core_server.pipelines.denoise import tiling
from core_server.pipelines.model import FloatArray, LoadedModel
from core_server.pipelines.progress import StepReporter
from core_server.pipelines.settings import Settings

_EMBEDS = (
    "prompt_embeds",
    "negative_prompt_embeds",
    "pooled_prompt_embeds",
    "negative_pooled_prompt_embeds",
)
"""As Stable Diffusion's and SDXL's encode_prompt return them, the first two or all four."""


class NotAlike(Exception):
    """These pictures cannot share a call of the denoiser: their words take up different numbers of tokens."""


class Picture(NamedTuple):
    """One of several. settings: of its job, wildcards and all. job: number of it, from 0."""

    settings: Settings
    seed: int
    job: int


class SharedReporter(StepReporter):
    """Tells each job of its own pictures' steps; those whose callback raises are in `left` and told nothing more.

    jobs: number -> its reporter. The error of the last one that leaves is raised.
    """

    def __init__(self, model: LoadedModel, jobs: dict[int, StepReporter], steps: int) -> None:
        super().__init__(model, lambda _step: None, steps, 1)
        self._jobs = jobs
        self._rows: dict[int, int] = {}
        self.left: dict[int, ScumbleServerError] = {}

    def next_pass(self, pictures: Sequence[Picture]) -> None:
        """These are painted now; a job's first one is its preview."""
        self._rows = {}
        for row, picture in enumerate(pictures):
            self._rows.setdefault(picture.job, row)

    def begin(self) -> None:
        self._each(lambda reporter, _: reporter.begin())

    def stage(self, stage: str) -> None:
        self._each(lambda reporter, _: reporter.stage(stage))

    def picture_done(self) -> None:
        self._each(lambda reporter, _: reporter.picture_done())

    def step_done(self, step: int, grid: torch.Tensor) -> None:
        if self._pace is not None:
            self._pace.step()
        self._each(lambda reporter, row: reporter.step_done(step, grid[row : row + 1]))

    def _each(self, tell: Callable[[StepReporter, int], None]) -> None:
        for job, row in self._rows.items():
            if job in self.left:
                continue
            try:
                tell(self._jobs[job], row)
            except ScumbleServerError as error:
                self.left[job] = error
        if all(job in self.left for job in self._rows):
            raise self.left[next(iter(self._rows))]


@torch.no_grad()
def denoise_together(
    model: LoadedModel,
    pictures: Sequence[Picture],
    *,
    extent: Extent,
    axes: SeamlessAxes,
    reporter: SharedReporter,
) -> list[FloatArray | None]:
    """What `denoise.denoise` gives for "text_to_image" and each picture alone, but for the last bits.

    Settings may differ in their words alone. None for pictures of jobs that have left. Errors: NotAlike,
    torch.OutOfMemoryError, TaskFailed for numbers that are not finite.
    """
    shared = pictures[0].settings
    pipeline = stock_pipeline("text_to_image", model, shared)
    known = inspect.signature(pipeline.__call__).parameters
    reporter.next_pass(pictures)
    hook = reporter.step_hook(extent)
    words = nullcontext() if "adapters" in shared.recipe else model.prompts.used_by(pipeline)
    with tiling(axes, model, extent, precision=shared.denoiser_precision), words:
        reporter.begin()
        model.prepare_preview()
        hook.order = max(int(pipeline.scheduler.order), 1)
        arguments = {
            **model.family.arguments(shared.guidance),
            "prompt": None,
            "negative_prompt": None,
            **_embedded(model, pipeline, [it.settings.at(it.seed) for it in pictures]),
            "num_inference_steps": shared.num_inference_steps,
            "generator": [torch.Generator("cpu").manual_seed(it.seed) for it in pictures],
            "output_type": "latent",
            "width": extent.width,
            "height": extent.height,
            "callback_on_step_end": hook.on_step_end,
        }
        result = pipeline(**{key: value for key, value in arguments.items() if key in known})
        reporter.picture_done()
        reporter.stage("Decoding")
        return [
            None
            if picture.job in reporter.left
            else model.decode(result.images[row : row + 1], extent)
            for row, picture in enumerate(pictures)
        ]


def _embedded(model: LoadedModel, pipeline: Any, many: Sequence[Settings]) -> dict[str, Any]:
    """The pipeline's arguments for the words of all pictures, each encoded alone. Errors: NotAlike."""
    each = [_embedded_alone(model, pipeline, settings) for settings in many]
    found: dict[str, Any] = {}
    for name in _EMBEDS:
        parts = [it[name] for it in each if it.get(name) is not None]
        if not parts:
            continue
        if len(parts) < len(each) or len({part.shape for part in parts}) > 1:
            raise NotAlike
        found[name] = torch.cat(parts)
    return found


def _embedded_alone(model: LoadedModel, pipeline: Any, settings: Settings) -> dict[str, Any]:
    guided = settings.guidance_scale > 1 and model.denoiser.config.time_cond_proj_dim is None
    given = {
        **model.family.arguments(settings.guidance),
        **prompt_arguments(model, pipeline, settings),
    }
    if given.get("prompt_embeds") is not None:
        return {name: it for name, it in given.items() if guided or "negative" not in name}
    encoded = pipeline.encode_prompt(
        prompt=given["prompt"],
        device=model.device,
        num_images_per_prompt=1,
        do_classifier_free_guidance=guided,
        negative_prompt=given.get("negative_prompt"),
    )
    return dict(zip(_EMBEDS, encoded, strict=False))
