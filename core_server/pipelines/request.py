"""What a task is asked to do: one frozen value holds everything that affects the result. Free of torch.

The values travel as JSON (msgspec) in the job store and to the worker. Images are referred to by id; their pixels
travel beside them.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from core_server.canvas.geometry import Extent
from core_server.canvas.plan import CanvasOptions, CanvasPlan, SeamlessAxes


class AdapterKind(StrEnum):
    """`scumble.v1.AdapterKind` in lower case."""

    LORA = "lora"
    TEXTUAL_INVERSION = "textual_inversion"


class Adapter(msgspec.Struct, frozen=True, kw_only=True):
    """A LoRA or textual inversion by its name in the data folder; weight -2..2."""

    kind: AdapterKind
    name: str
    weight: float = 1.0


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
    style: str = ""


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


class Texture(msgspec.Struct, frozen=True, kw_only=True, tag="texture"):
    """A seamless texture from a prompt; maps beyond base colour are a later version's."""

    parameters: Parameters
    extent: Extent
    maps: tuple[str, ...] = ()


Request = TextToImage | ImageToImage | Inpaint | Texture
"""Every task this version can do; a tagged union, `request.__struct_config__.tag` is the task's name."""


def task_name(request: Request) -> str:
    """Name of the task as in `scumble.v1.Generation.task`."""
    return str(request.__struct_config__.tag)


def image_ids(request: Request) -> tuple[str, ...]:
    """Ids of the images a request refers to."""
    match request:
        case ImageToImage():
            return (request.image,)
        case Inpaint():
            return (request.image, request.selection)
        case _:
            return ()
