"""What can be asked for: one frozen value a task. The server checks them; nothing here guesses or corrects.

`image` and `selection` are `Pixels`, or the image_id of pixels that are on the server already.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from scumble.client.pixels import Pixels
from scumble.client.values import (
    DEFAULT_OPTIONS,
    Adapter,
    CanvasOptions,
    CanvasPlan,
    MaterialMap,
    SeamlessAxes,
)

ImageLike = Pixels | str
"""Pixels, or an image_id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """Settings of all tasks. None and "" take the model's defaults; the result's recipe says which they were.

    num_inference_steps: 1..1000. guidance_scale: classifier-free guidance weight, 0..50, 1 turns it off.
    scheduler: a name from `Client.schedulers`. seed: 0..2**64-1, None lets the server draw one; variation k of
    `count` uses seed + k. seamless: axes along which the result must tile.
    """

    negative_prompt: str = ""
    model: str = ""
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    scheduler: str = ""
    seed: int | None = None
    count: int = 1
    seamless: SeamlessAxes | str = SeamlessAxes.NONE
    adapters: tuple[Adapter, ...] = ()
    style: str = ""


@dataclass(frozen=True, slots=True)
class TextToImage(Common):
    """Paint from the prompt alone. width, height: size of the result, any px within the server's limits."""

    prompt: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ImageToImage(Common):
    """Repaint a whole picture. strength: denoising strength, above 0 and at most 1."""

    prompt: str
    image: ImageLike
    strength: float = 0.6


@dataclass(frozen=True, slots=True)
class Inpaint(Common):
    """Repaint the selected part of a picture.

    image: the whole document, or exactly `plan.context` of it when there is a plan. selection: soft, one channel,
    same size, full scale = repaint. strength: denoising strength, above 0 and at most 1. options: only looked at
    when there is no plan.
    """

    prompt: str
    image: ImageLike
    selection: ImageLike
    strength: float = 1.0
    plan: CanvasPlan | None = None
    options: CanvasOptions = DEFAULT_OPTIONS


@dataclass(frozen=True, slots=True)
class Texture(Common):
    """A texture that tiles. width, height in px. maps: the material maps wanted; empty means base colour only."""

    prompt: str
    width: int
    height: int
    seamless: SeamlessAxes | str = field(default=SeamlessAxes.XY, kw_only=True)
    maps: tuple[MaterialMap | str, ...] = ()


Request = TextToImage | ImageToImage | Inpaint | Texture
"""Every task of this version."""
