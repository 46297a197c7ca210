"""ControlNet: pictures that keep the structure of the result.

UNets are painted with by the stock pipelines with control; a transformer's own pipelines paint as ever, and the control
networks' answer is added inside (`pipelines.control_residuals`), so that every task of its family has control.

Sources: Zhang et al., "Adding Conditional Control to Text-to-Image Diffusion Models", arXiv:2302.05543; ControlNet++
(the union of kinds in one network), https://github.com/xinsir6/ControlNetPlus.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch

from core_server.canvas.colour import to_model_rgb
from core_server.canvas.geometry import Bounds, Extent
from core_server.canvas.pixels import Pixels
from core_server.canvas.plan import CanvasPlan, SeamlessAxes
from core_server.canvas.resample import document_to_model
from core_server.errors import InvalidRequest
from core_server.pipelines.control_files import ControlFile, ControlShelf, width_of
from core_server.pipelines.control_networks import ControlNetwork, needed_networks
from core_server.pipelines.families.registry import FAMILIES
from core_server.pipelines.model import FloatArray, LoadedModel
from core_server.pipelines.request import ControlImage, ControlKind
from core_server.pipelines.settings import Settings

TASKS = ("text_to_image", "texture", "image_to_image", "inpaint")
_XL = "stable_diffusion_xl"
_SUFFIXES = {"text_to_image": "", "image_to_image": "Img2Img", "inpaint": "Inpaint"}


@dataclass(frozen=True, slots=True)
class Control:
    """Control pictures for one job. pictures: (height, width, 3) float32 sRGB 0..1, one for each of `images`.

    document, context: where the pictures lie in an inpaint, document px; view: the part that is painted now. hidden:
    (height, width) 0..1 over that part at the model's size, where it is repainted; beneath: what is there now.
    """

    images: tuple[ControlImage, ...]
    pictures: tuple[FloatArray, ...]
    files: tuple[ControlFile, ...]
    loaded: tuple[ControlNetwork, ...]
    context: Bounds | None = None
    document: Extent | None = None
    view: Bounds | None = None
    hidden: FloatArray | None = None
    beneath: FloatArray | None = None
    made: dict[str, Any] = field(default_factory=dict)
    """The job's pipelines by class; every part of the job gets the same one."""

    @property
    def networks(self) -> list[Any]:
        """The network for each of `images`."""
        return [it.module for it in self.loaded]

    @property
    def is_union(self) -> bool:
        """Whether one network does all of it."""
        return bool(self.files) and self.files[0].is_union

    def draws(self, model: LoadedModel) -> int:
        """How often latents are drawn for the pictures, from a picture's own generator before anything else."""
        if model.family.controls_itself:
            return 1
        drawn = {"FluxControlNetModel": "input_hint_block", "QwenImageControlNetModel": ""}
        if model.family.control not in drawn:
            return 0
        hint = drawn[model.family.control]
        return sum(
            not file.sees_mask and getattr(network, hint, None) is None
            for file, network in zip(self.files, self.networks, strict=True)
        )

    def over(self, plan: CanvasPlan) -> Control:
        """For an inpaint: the pictures cover the document, or exactly its context. Errors: InvalidRequest."""
        allowed = (plan.document, plan.context.extent)
        for index, picture in enumerate(self.pictures):
            extent = Extent(picture.shape[1], picture.shape[0])
            if extent not in allowed:
                raise InvalidRequest(
                    f"parameters.control_images[{index}].image",
                    f"The control image is {extent.width} x {extent.height} px; it must cover the whole document "
                    f"({plan.document.width} x {plan.document.height}) or the plan's context "
                    f"({plan.context.width} x {plan.context.height}).",
                )
        return dataclasses.replace(self, context=plan.context, document=plan.document)

    def seen(self, view: Bounds) -> Control:
        """The same for one pass over `view`, document px."""
        return dataclasses.replace(self, view=view)

    def hiding(self, mask: FloatArray, image: FloatArray) -> Control:
        """The same for a pass that repaints `image` where `mask` is, both at the model's size."""
        return dataclasses.replace(self, hidden=mask, beneath=image)

    def shown(self, painted: Extent, multiple: int, axes: SeamlessAxes) -> list[FloatArray]:
        """The pictures at the model's size `painted`, px: (height, width, 3) float32 sRGB 0..1."""
        return [document_to_model(self._cut(it), painted, multiple, axes) for it in self.pictures]

    def pipeline(self, task: str, model: LoadedModel, scheduler: str) -> Any:
        """The stock pipeline with control for "text_to_image", "image_to_image" or "inpaint"."""
        start = "StableDiffusionXL" if model.family.adapters == _XL else "StableDiffusion"
        union = "Union" if self.is_union else ""
        cls = getattr(diffusers, f"{start}ControlNet{union}{_SUFFIXES[task]}Pipeline")
        pipeline = self.made.get(cls.__name__)
        if pipeline is None:
            pipeline = self.made[cls.__name__] = self._make(cls, model)
        pipeline.scheduler = model.schedulers.fresh(scheduler)
        return pipeline

    def _make(self, cls: Any, model: LoadedModel) -> Any:
        single = self.is_union or len(self.loaded) == 1
        kept = ("vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "unet")
        parts = {name: part for name, part in model.components.items() if name in kept}
        if model.family.adapters != _XL:
            parts |= {"safety_checker": None, "feature_extractor": None}
        pipeline = cls(
            **parts,
            scheduler=model.components["scheduler"],
            controlnet=self.networks[0] if single else self.networks,
            **model.family.pipeline_options,
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def arguments(
        self, task: str, painted: Extent, multiple: int, axes: SeamlessAxes
    ) -> dict[str, Any]:
        """What the pipeline takes beside the task's own arguments. painted: px at model size."""
        shown = self.shown(painted, multiple, axes)
        if not self.loaded:  # of a model that takes the picture itself
            return {"control_image": shown[0][None]}
        pictures = [
            _tensor(self._without_hidden(picture, it.kind))
            for picture, it in zip(shown, self.images, strict=True)
        ]
        weights = [it.weight for it in self.images]
        single = len(pictures) == 1
        name = "image" if task == "text_to_image" and not self.is_union else "control_image"
        found: dict[str, Any] = {
            name: pictures[0] if single and not self.is_union else pictures,
            "controlnet_conditioning_scale": weights[0] if single else weights,
        }
        if self.is_union:
            found["control_mode"] = [self.files[0].mode(it.kind) for it in self.images]
        return found

    def _without_hidden(self, picture: FloatArray, kind: ControlKind) -> FloatArray:
        """Networks for inpainting know by their marks what is to be repainted: -1, and black in a union."""
        if kind is not ControlKind.INPAINT or self.hidden is None:
            return picture
        mark = np.float32(0 if self.is_union else -1)
        return np.where(self.hidden[..., None] > 0.5, mark, picture)

    def recipe(self) -> list[dict[str, Any]]:
        """Its part of a recipe."""
        return [
            {
                "kind": it.kind.value,
                "image": it.image,
                "weight": it.weight,
                **told,
            }
            for it, told in zip(self.images, self._networks_told(), strict=True)
        ]

    def _networks_told(self) -> list[dict[str, Any]]:
        if not self.loaded:
            return [{} for _ in self.images]
        return [
            {"network": file.name, "sha256": network.sha256.result()}
            for file, network in zip(self.files, self.loaded, strict=True)
        ]

    def notes(self) -> tuple[str, ...]:
        """Notes for the recipe."""
        if self.loaded or all(it.weight == 1 for it in self.images):
            return ()
        return ("the control image's weight had no effect: the model takes the picture as it is",)

    def _cut(self, picture: FloatArray) -> FloatArray:
        if self.view is None or self.context is None:
            return picture
        whole = self.document == Extent(picture.shape[1], picture.shape[0])
        origin = (0, 0) if whole else (self.context.x, self.context.y)
        rows = torch.arange(self.view.y, self.view.bottom).sub(origin[1]) % picture.shape[0]
        columns = torch.arange(self.view.x, self.view.right).sub(origin[0]) % picture.shape[1]
        cut: FloatArray = picture[rows.numpy()][:, columns.numpy()]
        return cut


def stock_pipeline(task: str, model: LoadedModel, settings: Settings) -> Any:
    """The stock pipeline of a task, with a UNet's control where the settings have some, and a fresh scheduler."""
    if settings.control is None or model.family.denoiser != "unet":
        return model.pipeline(task, settings.scheduler)
    return settings.control.pipeline(task, model, settings.scheduler)


def take_control(
    model: LoadedModel,
    images: tuple[ControlImage, ...],
    pixels: Mapping[str, Pixels],
    task: str,
    data_dir: Path,
) -> Control:
    """Finds and loads the networks. Errors: InvalidRequest for what cannot be done here, ModelLoadFailed."""
    family = model.family
    if family.controls_itself and task in TASKS:
        return _taken_itself(model, images, pixels)
    if not family.control or task not in TASKS:
        what = task if task not in TASKS else family.title
        having = [it.title for it in FAMILIES.values() if it.control or it.controls_itself]
        raise InvalidRequest(
            "parameters.control_images",
            f"Control images do not work with {what}; they work in {', '.join(TASKS)} with {', '.join(having)}.",
        )
    kinds = [it.kind for it in images]
    width = width_of(model.denoiser.config)
    shelf = ControlShelf(data_dir)
    files = shelf.choose(kinds, family.control, width, family.adapters, family.title)
    for index, file in enumerate(files):
        if file.sees_mask and task != "inpaint":
            raise InvalidRequest(
                f"parameters.control_images[{index}].kind",
                f"The ControlNet {file.name!r} reads a selection beside the picture, so it works in inpaint alone; "
                f"leave the control image out of {task}.",
            )
    return Control(
        images=images,
        pictures=tuple(to_model_rgb(pixels[it.image]) for it in images),
        files=tuple(files),
        loaded=needed_networks(files, model.device, model.dtype),
    )


def _taken_itself(
    model: LoadedModel, images: tuple[ControlImage, ...], pixels: Mapping[str, Pixels]
) -> Control:
    """For a model whose own pipelines take the picture. Errors: InvalidRequest for several, or another kind."""
    kinds = (ControlKind.DEPTH, ControlKind.LINE)
    if len(images) != 1 or images[0].kind not in kinds:
        raise InvalidRequest(
            "parameters.control_images",
            f"{model.family.title} take one control image, of the kind depth or line; send just that.",
            allowed="1 of depth or line",
        )
    return Control(images, (to_model_rgb(pixels[images[0].image]),), (), ())


def _tensor(image: FloatArray) -> torch.Tensor:
    return torch.from_numpy(image.transpose(2, 0, 1)[None].copy())
