"""Which function does which task. Every one takes (model, request, settings, images, on_step)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core_server.canvas.pixels import Pixels
from core_server.errors import NotImplementedHere
from core_server.pipelines.image_to_image import image_to_image
from core_server.pipelines.inpaint import inpaint
from core_server.pipelines.material_maps import material_maps
from core_server.pipelines.model import LoadedModel
from core_server.pipelines.outpaint import outpaint
from core_server.pipelines.request import (
    ImageToImage,
    Inpaint,
    MaterialMaps,
    Outpaint,
    Request,
    TextToImage,
    Texture,
    Upscale,
    task_name,
)
from core_server.pipelines.settings import Settings
from core_server.pipelines.task import StepCallback, TaskOutput
from core_server.pipelines.text_to_image import text_to_image
from core_server.pipelines.upscale import upscale


def do_task(
    model: LoadedModel,
    request: Request,
    settings: Settings,
    images: Mapping[str, Pixels],
    on_step: StepCallback,
) -> Sequence[TaskOutput]:
    """Does one request with a loaded model. Errors: InvalidRequest, TaskFailed and what `on_step` raises."""
    match request:
        case TextToImage() | Texture():
            return text_to_image(model, request, settings, on_step)
        case ImageToImage():
            return image_to_image(model, request, settings, images, on_step)
        case Inpaint():
            return inpaint(model, request, settings, images, on_step)
        case Outpaint():
            return outpaint(model, request, settings, images, on_step)
        case Upscale():
            return upscale(model, request, settings, images, on_step)
        case MaterialMaps():
            return material_maps(model, request, images, on_step)
        case _:
            raise NotImplementedHere(f"This version cannot do {task_name(request)}.")
