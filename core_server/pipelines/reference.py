"""IP-Adapter: pictures that lend the result their look. Stock attention processors of UNets and of FLUX.1.

Source: Ye et al., "IP-Adapter: Text Compatible Image Prompt Adapter for Text-to-Image Diffusion Models",
arXiv:2308.06721. Every picture has an attention of its own beside the prompt's, and so a weight of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from core_server.canvas.pixels import Pixels
from core_server.errors import InvalidRequest
from core_server.pipelines.control_files import width_of
from core_server.pipelines.hashes import stamp_of
from core_server.pipelines.model import LoadedModel
from core_server.pipelines.overrides import called_by
from core_server.pipelines.reference_files import ReferenceShelf
from core_server.pipelines.reference_kit import ReferenceKit, View, files_of
from core_server.pipelines.reference_timed import TimedReferenceKit
from core_server.pipelines.request import ReferenceImage


@dataclass(frozen=True, slots=True)
class Reference:
    """The reference pictures of one job."""

    model: LoadedModel
    images: tuple[ReferenceImage, ...]
    views: tuple[View, ...]
    kit: ReferenceKit

    def arguments(
        self, given: Mapping[str, Any], known: Collection[str], *, guided: bool
    ) -> dict[str, Any]:
        """What a UNet's stock pipelines take beside `given`: for each picture (1 or 2, 1, ...), nothing's view first
        where they guide."""
        if self.model.family.denoiser != "unet":
            return {}
        guided = guided and self.model.denoiser.config.time_cond_proj_dim is None
        return {
            "ip_adapter_image_embeds": [
                torch.cat([it.nothing, it.picture]) if guided else it.picture for it in self.views
            ]
        }

    @contextmanager
    def beside(self, pipeline: Any) -> Iterator[None]:
        """Within the context a transformer is given the pictures at each call: only some pipelines do that."""
        denoiser = self.model.denoiser
        if self.model.family.denoiser == "unet":
            yield
            return
        original = denoiser.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            more = dict(kwargs.pop("joint_attention_kwargs", None) or {})
            rows = kwargs["hidden_states"].shape[0]
            more["ip_adapter_image_embeds"] = self.kit.given(self.views, rows, self.model.device)
            return original(*args, **kwargs, joint_attention_kwargs=more)

        with called_by(denoiser, forward):
            yield

    def notes(self) -> tuple[str, ...]:
        """Notes for the recipe."""
        return ()

    def recipe(self) -> dict[str, Any]:
        """Its part of a recipe."""
        return {
            "reference_images": [{"image": it.image, "weight": it.weight} for it in self.images],
            "reference_adapter": {
                "name": self.kit.file.name,
                "sha256": self.kit.sha256.result(),
                "encoder_sha256": self.kit.encoder_sha256.result(),
            },
        }


@contextmanager
def looking_at(
    model: LoadedModel,
    images: tuple[ReferenceImage, ...],
    pixels: Mapping[str, Pixels],
    data_dir: Path,
) -> Iterator[Reference]:
    """Within the context the model paints with the reference pictures.

    Errors: InvalidRequest for a family without an IP-Adapter, or where none is installed; ModelLoadFailed.
    """
    if len(images) > model.family.most_looks:
        raise InvalidRequest(
            "parameters.reference_images",
            f"The IP-Adapter of {model.family.title} reads one picture at once; leave the others out.",
            allowed=f"at most {model.family.most_looks}",
        )
    file = ReferenceShelf(data_dir).choose(_width(model), model.family)
    kind = TimedReferenceKit if model.family.name == "stable_diffusion_3" else ReferenceKit
    kit = model.reference_kit
    if kit is None or (kit.file, kit.stamp) != (file, stamp_of(files_of(file))):
        kit = model.reference_kit = kind.read(file, model.denoiser)
    views = kit.views([pixels[it.image] for it in images], model)
    with kit.worn(model.denoiser, [it.weight for it in images], model):
        yield Reference(model, images, views, kit)


def _width(model: LoadedModel) -> int:
    """Of what a fitting adapter's keys are made from, which tells its family."""
    config = model.denoiser.config
    if model.family.name == "stable_diffusion_3":
        return width_of(config)
    found = getattr(config, "cross_attention_dim", 0) or getattr(config, "joint_attention_dim", 0)
    return int(found or 0)
