"""What the server must know of a model family. Plain data and small functions of it: no torch, no weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Config = Mapping[str, Any]
"""A `config.json` of diffusers or transformers."""


class Route(StrEnum):
    """How a task is done with the pipeline class that the family has for it."""

    STOCK = "stock"
    """The stock pipeline of that task."""
    WHOLE_MASK = "whole mask"
    """image_to_image by the inpainting pipeline with everything selected."""
    LATE_START = "late start"
    """image_to_image by the text-to-image pipeline, started from the noised picture in the middle of the schedule."""
    MASKED_LATENTS = "masked latents"
    """inpaint by image_to_image; after each step the original's latents are put back where nothing is selected."""


class LatentSpace(StrEnum):
    """What a family's pipelines call latents; `pipelines.latents` converts each to a plain grid and back."""

    SCALED = "scaled"
    """(1, channels, height, width); the autoencoder's values by scaling_factor, or by its mean and deviation."""
    SHIFTED = "shifted"
    """(1, channels, height, width); less shift_factor, by scaling_factor."""
    PACKED = "packed"
    """(1, height/2 x width/2, 4 channels): 2 x 2 cells a token; less shift_factor, by scaling_factor."""
    FLUX_2 = "flux 2"
    """As PACKED, normalised by the autoencoder's batch statistics; the pipeline's result is unpacked already."""
    VIDEO = "video"
    """As PACKED, of one frame of a video autoencoder with a mean and deviation for each channel."""


class Looks(StrEnum):
    """How a family looks at reference images."""

    NONE = "none"
    """It does not."""
    ADAPTER = "IP-Adapter"
    """By an IP-Adapter, which lends the result their look; each has a weight."""
    TOKENS = "itself"
    """They stand beside what it paints: FLUX.2."""
    PICTURES = "itself, as what it edits"
    """Its pipelines take pictures to edit, and these with them."""


class Seamless(StrEnum):
    """How a family paints tiles."""

    CIRCULAR = "circular convolutions"
    """Every convolution of denoiser and autoencoder reads across the border."""
    ROLL = "rolled latents"
    """The latents are shifted around by another amount before each step; the autoencoder's convolutions wrap."""


@dataclass(frozen=True, slots=True)
class TaskPipeline:
    """The diffusers class that does a task, and how."""

    class_name: str
    route: Route = Route.STOCK


@dataclass(frozen=True, slots=True)
class Defaults:
    """Settings that a checkpoint was made for."""

    num_inference_steps: int
    guidance_scale: float


@dataclass(frozen=True, slots=True)
class Guidance:
    """The words and how closely to follow them, as a request says it."""

    prompt: str
    negative_prompt: str
    guidance_scale: float
    num_inference_steps: int


def common_arguments(guidance: Guidance) -> dict[str, Any]:
    """Arguments of the pipelines that do classifier-free guidance by the usual names."""
    return {
        "prompt": guidance.prompt,
        "negative_prompt": guidance.negative_prompt or None,
        "guidance_scale": guidance.guidance_scale,
    }


def as_planned_arguments(guidance: Guidance) -> dict[str, Any]:
    """For pipelines that would choose another size and rewrite the prompt by themselves."""
    return common_arguments(guidance) | {
        "negative_prompt": guidance.negative_prompt,
        # Sizes are planned by the server, and cleaning would rewrite the prompt as if it came from a web page.
        "use_resolution_binning": False,
        "clean_caption": False,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A kind of model: everything of one architecture and one set of tasks.

    name: stays for ever (recipes and adapters refer to it). adapters: the family whose adapters fit.
    tasks: text_to_image, image_to_image and inpaint by name; refused: why others cannot be done, and what follows from
    those that can.
    denoiser, text_encoders, tokenizers: names of components. min_side, max_side: px a side that it paints well.
    patch: latents a side of what its denoiser sees as one cell. fill: default prefill under a mask, "auto" by intent.
    control: the diffusers class of its ControlNets, "" if diffusers runs none for it.
    license, commercial_use: of the original weights; a checkpoint may say otherwise. matches: whether a pipeline of
    this family's classes with this denoiser configuration belongs to it. pipeline_options: for the pipelines' __init__.
    """

    name: str
    title: str
    adapters: str
    tasks: Mapping[str, TaskPipeline]
    schedulers: tuple[str, ...]
    latent_space: LatentSpace
    seamless: Seamless
    license: str
    commercial_use: bool
    original: str
    """Hub id of the original weights."""
    refused: Mapping[str, str] = field(default_factory=dict)
    denoiser: str = "transformer"
    text_encoders: tuple[str, ...] = ("text_encoder",)
    tokenizers: tuple[str, ...] = ("tokenizer",)
    dropped: tuple[str, ...] = ()
    """Components that are never loaded, such as safety checkers."""
    min_side: int = 256
    max_side: int = 2048
    patch: int = 2
    fill: str = "auto"
    control: str = ""
    controls_itself: bool = False
    """Whether it always paints from one control image, which its own pipelines take."""
    looks: Looks = Looks.NONE
    most_looks: int = 8
    """Reference images at once."""
    paints_from_looks: bool = False
    """Whether it paints from words only together with reference images."""
    other_classes: tuple[str, ...] = ()
    """Pipeline classes that may stand in a model_index.json beside those of `tasks`."""
    pipeline_options: Mapping[str, Any] = field(default_factory=dict)
    defaults: Callable[[Config, Config], Defaults] = lambda _index, _denoiser: Defaults(25, 7.0)
    """From model_index.json and the denoiser's configuration."""
    matches: Callable[[Config], bool] = lambda _denoiser: True
    arguments: Callable[[Guidance], dict[str, Any]] = common_arguments
    schedule: Callable[[int, int, Config], dict[str, Any]] = lambda _steps, _cells, _scheduler: {}
    """What its text-to-image pipeline gives the scheduler's set_timesteps beside the number of steps, from that number,
    the cells of its latents' grid and the scheduler's configuration; for tasks that start late in it."""
    counts_partial_step: bool = False
    """Whether image_to_image and inpaint run a step that strength begins in part; see `pipelines.strength`."""
    half: str = "bfloat16"
    """The half precision its weights were made for."""
    upcasts_vae: bool = False
    """Whether its stock pipelines decode in single precision where the autoencoder's configuration asks for it."""
    paints_at: Callable[[str, int, int], tuple[int, int]] = lambda _task, width, height: (
        width,
        height,
    )
    """Size that the pipelines really paint at, from the task and the width and height asked for."""
    draws_latents: bool = False
    """Whether its image_to_image draws a picture's latents where its latent space's others take the likeliest."""
    has_block_cache: bool = False
    """Whether its denoiser is one that diffusers' first block cache knows."""
    is_linear: bool = False
    """Whether its denoiser's attention is linear, which was not shown to bear 8 bit."""
    pil_images: bool = False
    """Whether its pipelines take pictures as PIL images alone."""
    negative_prompt: bool = True
    """Whether the pipelines read a negative prompt at all."""
    prompt_tokens: tuple[int, int] = (0, 0)
    """Tokens that the pipelines read of a prompt if nothing is said, and at most, by the family's last text encoder;
    (0, 0) where that is CLIP, whose windows are laid end to end."""

    def classes(self) -> tuple[str, ...]:
        """The pipeline classes of this family; any of them may stand in a model_index.json."""
        return tuple(
            dict.fromkeys((*(task.class_name for task in self.tasks.values()), *self.other_classes))
        )

    def all_tasks(self) -> tuple[str, ...]:
        """Every task of the server that a model of this family can do."""
        derived = {
            "text_to_image": ("text_to_image", "texture"),
            "image_to_image": ("image_to_image", "upscale"),
            "inpaint": ("inpaint", "outpaint"),
        }
        return tuple(
            task
            for name in derived
            if name in self.tasks
            for task in derived[name]
            if task not in self.refused
        )

    @property
    def shortcuts(self) -> tuple[str, ...]:
        """Fields of `request.Parameters` by which its models paint faster at a cost; see `pipelines.shortcuts`."""
        found = {
            "guidance_end": self.denoiser == "unet",
            "block_cache": self.has_block_cache,
            "denoiser_precision": not self.is_linear,
        }
        return tuple(name for name, has in found.items() if has)
