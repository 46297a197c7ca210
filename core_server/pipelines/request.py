"""What a task is asked to do: one frozen value holds everything that affects the result. Free of torch.

The values travel as JSON (msgspec) in the job store and to the worker. Images are referred to by id; their pixels
travel beside them.
"""

from __future__ import annotations

from collections.abc import Hashable
from enum import StrEnum

import msgspec

from core_server.canvas.geometry import Extent
from core_server.canvas.plan import CanvasOptions, CanvasPlan, FillMode, SeamlessAxes


class AdapterKind(StrEnum):
    """`scumble.v1.AdapterKind` in lower case."""

    LORA = "lora"
    TEXTUAL_INVERSION = "textual_inversion"


class Adapter(msgspec.Struct, frozen=True, kw_only=True):
    """A LoRA or textual inversion by its name in the data folder; weight -2..2."""

    kind: AdapterKind
    name: str
    weight: float = 1.0


class ControlKind(StrEnum):
    """What a control image shows; `scumble.v1.ControlKind` in lower case."""

    DEPTH = "depth"
    NORMAL = "normal"
    LINE = "line"
    POSE = "pose"
    TILE = "tile"
    INPAINT = "inpaint"


class ControlImage(msgspec.Struct, frozen=True, kw_only=True):
    """A picture that steers the structure of the result. image: id; weight 0..2."""

    kind: ControlKind
    image: str
    weight: float = 1.0


class ReferenceImage(msgspec.Struct, frozen=True, kw_only=True):
    """A picture that steers the look of the result. image: id; weight 0..1, of an IP-Adapter."""

    image: str
    weight: float = 0.6


class StructureStart(StrEnum):
    """What a picture from the prompt alone starts from; `scumble.v1.StructureStart` in lower case."""

    AUTO = "auto"
    NOISE = "noise"
    LAYOUT = "layout"


class DenoiserPrecision(StrEnum):
    """What the products in a denoiser's blocks may be computed in; `scumble.v1.DenoiserPrecision` in lower case."""

    FP8 = "fp8"
    INT8 = "int8"


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """Settings shared by all diffusion tasks. None takes the model's default, filled in by the worker's runtime."""

    prompt: str = ""
    negative_prompt: str = ""
    model: str = ""
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    scheduler: str = ""
    seed: int = 0
    """Start of the noise, 0..2**64-1; image k uses seed + k modulo 2**64. Drawn by the gateway if not given."""
    count: int = 1
    seamless: SeamlessAxes = SeamlessAxes.NONE
    adapters: tuple[Adapter, ...] = ()
    control_images: tuple[ControlImage, ...] = ()
    reference_images: tuple[ReferenceImage, ...] = ()
    style: str = ""
    structure: StructureStart = StructureStart.AUTO
    few_step: bool | None = None
    """Whether the model's few-step weights paint; None: see `pipelines.few_step`."""
    guidance_end: float = 1.0
    """Share of the steps that are guided; see `pipelines.shortcuts`."""
    block_cache: float = 0.0
    """Threshold of the first block cache, 0 for none."""
    denoiser_precision: DenoiserPrecision | None = None
    """None: as the model is loaded. See `pipelines.tiers.low_precision`."""


class TextToImage(msgspec.Struct, frozen=True, kw_only=True, tag="text_to_image"):
    """Paint from the prompt alone. extent: size of the result, any size within the limits."""

    parameters: Parameters
    extent: Extent


class ImageToImage(msgspec.Struct, frozen=True, kw_only=True, tag="image_to_image"):
    """Repaint a whole picture. strength: denoising strength in (0, 1]."""

    parameters: Parameters
    image: str
    strength: float = 0.6


class Inpaint(msgspec.Struct, frozen=True, kw_only=True, tag="inpaint"):
    """Repaint the selected part.

    image, selection: ids of equally large pixels; they cover `plan.context` if there is a plan, else the document.
    """

    parameters: Parameters
    image: str
    selection: str
    strength: float = 1.0
    plan: CanvasPlan | None = None
    options: CanvasOptions = CanvasOptions()


class Outpaint(msgspec.Struct, frozen=True, kw_only=True, tag="outpaint"):
    """Continue a picture beyond its borders. image: id; left, right, top, bottom: px to add, 0 or more, not all 0.

    strength: in (0, 1]; fill: what the new parts start from, AUTO is the structure-aware fill.
    """

    parameters: Parameters
    image: str
    left: int = 0
    right: int = 0
    top: int = 0
    bottom: int = 0
    strength: float = 0.85
    fill: FillMode = FillMode.AUTO


class Texture(msgspec.Struct, frozen=True, kw_only=True, tag="texture"):
    """A seamless texture from a prompt. maps: names as in `scumble.v1.MaterialMap`; empty means base colour only.

    height_dtype: "uint8" or "uint16".
    """

    parameters: Parameters
    extent: Extent
    maps: tuple[str, ...] = ()
    height_dtype: str = "uint8"


class MaterialMaps(msgspec.Struct, frozen=True, kw_only=True, tag="material_maps"):
    """Height, normal, roughness and ambient occlusion from a picture. image: id; maps: empty means all.

    height_dtype: "uint8" or "uint16". axes_from_picture: `parameters.seamless` says nothing; the picture's borders do.
    """

    parameters: Parameters
    image: str
    maps: tuple[str, ...] = ()
    height_dtype: str = "uint8"
    axes_from_picture: bool = False


class Upscale(msgspec.Struct, frozen=True, kw_only=True, tag="upscale"):
    """A larger picture with the same content. image: id; factor: 2 or 4; strength: 0..1, 0 resamples alone."""

    parameters: Parameters
    image: str
    factor: int = 2
    strength: float = 0.3


class Project(msgspec.Struct, frozen=True, kw_only=True, tag="project"):
    """What one camera sees of an object, repainted. depth (near is bright), image (the current look), normals and
    mask (where to paint): ids of equally large pixels, all but depth may be missing. strength: in (0, 1]."""

    parameters: Parameters
    depth: str
    image: str | None = None
    normals: str | None = None
    mask: str | None = None
    strength: float = 1.0


Request = (
    TextToImage | ImageToImage | Inpaint | Outpaint | Texture | MaterialMaps | Upscale | Project
)
"""Every task this version can do; a tagged union, `request.__struct_config__.tag` is the task's name."""


ANY_MODEL_TASKS = ("material_maps",)
"""What a network of its own does, whatever the model."""


def task_name(request: Request) -> str:
    """Name of the task as in `scumble.v1.Generation.task`."""
    return str(request.__struct_config__.tag)


def batch_key(request: Request) -> Hashable | None:
    """Equal for requests that differ in what each picture of a pass may have of its own: words, seed, count. None for
    what is painted alone: other tasks, and what acts on a whole call of the denoiser or on single words."""
    if not isinstance(request, TextToImage):
        return None
    parameters = request.parameters
    alone = (
        parameters.control_images
        or parameters.reference_images
        or any(it.kind is not AdapterKind.LORA for it in parameters.adapters)
        or parameters.guidance_end < 1
        or parameters.block_cache
    )
    if alone:
        return None
    shared = msgspec.structs.replace(parameters, prompt="", negative_prompt="", seed=0, count=1)
    return (request.extent, shared)


def image_ids(request: Request) -> tuple[str, ...]:
    """Ids of the images a request refers to, those of its parameters last."""
    parameters = request.parameters
    names = ("depth", "image", "selection", "normals", "mask")
    own = (getattr(request, name, None) for name in names)
    return (
        *(it for it in own if it is not None),
        *(it.image for it in parameters.control_images),
        *(it.image for it in parameters.reference_images),
    )
