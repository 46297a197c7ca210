"""What can be asked for: one frozen value a task. The server checks them; nothing here guesses or corrects.

`image` and `selection` are `Pixels`, or the image_id of pixels that are on the server already.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from scumble.client.pixels import Pixels
from scumble.client.values import (
    DEFAULT_OPTIONS,
    Adapter,
    CanvasOptions,
    CanvasPlan,
    ControlKind,
    DenoiserPrecision,
    Extent,
    FillMode,
    MaterialMap,
    SampleType,
    SeamlessAxes,
    StructureStart,
)

ImageLike = Pixels | str
"""Pixels, or an image_id."""


@dataclass(frozen=True, slots=True)
class ControlImage:
    """A picture that steers the structure of the result. weight: 0..2."""

    kind: ControlKind | str
    image: ImageLike
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class ReferenceImage:
    """A picture that steers the look of the result, by an IP-Adapter or seen by the model itself. weight: 0..1, of an
    IP-Adapter."""

    image: ImageLike
    weight: float = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """Settings of all tasks. None and "" take the model's defaults; the result's recipe says which they were.

    num_inference_steps: 1..1000. guidance_scale: classifier-free guidance weight, 0..50, 1 turns it off.
    scheduler: a name from `Client.schedulers`. seed: 0..2**64-1, None lets the server draw one; variation k of
    `count` uses seed + k. seamless: axes along which the result must tile. structure: what TextToImage and Texture
    start from. few_step: whether the model's few-step weights paint; None: the model's default.
    Faster with a loss, which the recipe tells: guidance_end: share of the steps that are guided, above 0 and at most 1,
    for models with a UNet; block_cache: threshold, 0..1, of FLUX's and Qwen-Image's first block cache;
    denoiser_precision: what the products in the denoiser's blocks are computed in, on GPUs that have the format.
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
    control_images: tuple[ControlImage, ...] = ()
    reference_images: tuple[ReferenceImage, ...] = ()
    style: str = ""
    structure: StructureStart | str = StructureStart.AUTO
    few_step: bool | None = None
    guidance_end: float | None = None
    block_cache: float | None = None
    denoiser_precision: DenoiserPrecision | str | None = None


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
    same size, full scale = repaint. strength: denoising strength, above 0 and at most 1; REMOVE_STRENGTH is good to
    take something away. options: only looked at when there is no plan.
    """

    REMOVE_STRENGTH: ClassVar[float] = 0.8
    """At full strength painting starts from noise alone, and what a removed thing is filled with would not count."""

    prompt: str
    image: ImageLike
    selection: ImageLike
    strength: float = 1.0
    plan: CanvasPlan | None = None
    options: CanvasOptions = DEFAULT_OPTIONS


@dataclass(frozen=True, slots=True)
class Texture(Common):
    """A texture that tiles. width, height in px. maps: the material maps wanted; empty means base colour only.

    The result has one patch a map, told apart by `map_name`; base colour comes first. height_sample_type: U8 or U16.
    """

    prompt: str
    width: int
    height: int
    seamless: SeamlessAxes | str = field(default=SeamlessAxes.XY, kw_only=True)
    maps: tuple[MaterialMap | str, ...] = ()
    height_sample_type: SampleType | str = SampleType.U8


@dataclass(frozen=True, slots=True)
class Outpaint(Common):
    """Continue a picture beyond its borders; its own pixels stay as they are.

    left, right, top, bottom: px to add, 0 or more, not all 0. strength: denoising strength, above 0 and at most 1, of
    the new parts; at 1 neither lines nor colours of the picture are led on. fill: what they start from; AUTO is
    STRUCTURE. The patch is the whole larger picture; its bounds place it relative to the original, so that x is -left
    and y is -top.
    """

    prompt: str
    image: ImageLike
    left: int = 0
    right: int = 0
    top: int = 0
    bottom: int = 0
    strength: float = 0.85
    fill: FillMode | str = FillMode.AUTO


@dataclass(frozen=True, slots=True)
class MaterialMaps(Common):
    """Height, normal, roughness and ambient occlusion from a picture. maps: those wanted; empty means all.

    seamless: the axes along which the picture tiles, so that its maps tile too; "auto" lets the server look at its
    borders. height_sample_type: U8 or U16. The result has one patch a map, told apart by `map_name`.
    """

    image: ImageLike
    maps: tuple[MaterialMap | str, ...] = ()
    prompt: str = ""
    seamless: SeamlessAxes | str = field(default="auto", kw_only=True)
    height_sample_type: SampleType | str = SampleType.U8


@dataclass(frozen=True, slots=True)
class Upscale(Common):
    """A larger picture with the same content. factor: 2 or 4. prompt: what it shows; may be empty. strength: 0..1, how
    much detail is invented; 0 resamples alone."""

    image: ImageLike
    factor: int = 2
    prompt: str = ""
    strength: float = 0.3


@dataclass(frozen=True, slots=True)
class Project(Common):
    """What one camera sees of an object, repainted so that it can be projected back. Servers of this version refuse it;
    `Inpaint` with depth and normals as control_images does the same.

    depth: near is bright. image: the current look. normals: in camera space. mask: where to paint, one channel. All of
    one size, all but depth may be None. strength: denoising strength, above 0 and at most 1.
    """

    prompt: str
    depth: ImageLike
    image: ImageLike | None = None
    normals: ImageLike | None = None
    mask: ImageLike | None = None
    strength: float = 1.0


@dataclass(frozen=True, slots=True)
class Live(Common):
    """How to paint live (`Client.live`). num_inference_steps: those really run, 1..4; None: 2, or fewer where the model
    needs fewer. seed: drawn once where it is None. strength: denoising strength, above 0 and at most 1. extent: size of
    the pictures, the canvas is resampled to it; None: the canvas's own. skip_below: a canvas whose samples differ from
    those painted last by less on average, as a share of full scale, 0..1, is not painted; 0: only one that is the same
    bit for bit. count, control_images and reference_images are not for live painting."""

    prompt: str
    strength: float = 0.6
    extent: Extent | tuple[int, int] | None = None
    skip_below: float = 0.0


Request = (
    TextToImage | ImageToImage | Inpaint | Outpaint | Texture | MaterialMaps | Upscale | Project
)
"""Every task of this version."""
