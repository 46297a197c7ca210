"""Reference pictures for models that look at pictures themselves, without an adapter.

FLUX.2 reads any number of them beside what it paints; FLUX.1 Kontext and Qwen-Image-Edit Plus take them as pictures to
edit. As their stock pipelines do it, but in every task.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from core_server.canvas.colour import to_model_rgb, to_uint8
from core_server.canvas.pixels import Pixels
from core_server.errors import InvalidRequest
from core_server.pipelines.families.family import Looks
from core_server.pipelines.model import LoadedModel
from core_server.pipelines.overrides import called_by
from core_server.pipelines.request import ReferenceImage

_FIELD = "parameters.reference_images"
_MEGAPIXEL, _LEAST_PX, _MOST_RATIO = 1024 * 1024, 64, 8
_APART = 10
"""Between the places in time that FLUX.2 gives its pictures."""
_PLAIN_WEIGHT = ReferenceImage(image="").weight


@dataclass(frozen=True, slots=True)
class SeenReference:
    """The reference pictures of one job. pictures: a megapixel each at most."""

    model: LoadedModel
    images: tuple[ReferenceImage, ...]
    pictures: tuple[Image.Image, ...]

    def arguments(
        self, given: Mapping[str, Any], known: Collection[str], *, guided: bool
    ) -> dict[str, Any]:
        """What the pipeline takes beside `given`. known: all that it takes."""
        if self.model.family.looks is not Looks.PICTURES:
            return {}
        if "image_reference" in known:
            return {"image_reference": self.pictures[0]}
        own = given.get("image")
        found = [*(() if own is None else (own,)), *self.pictures]
        return {"image": found[0] if len(found) == 1 else found}

    @contextmanager
    def beside(self, pipeline: Any) -> Iterator[None]:
        """Within the context FLUX.2 reads the pictures beside what `pipeline` shows it."""
        if self.model.family.looks is not Looks.TOKENS:
            yield
            return
        denoiser = self.model.denoiser
        original = denoiser.forward
        with torch.no_grad():
            grids = [self._encoded(pipeline, it) for it in self.pictures]
        tokens = torch.cat([it.flatten(2).transpose(1, 2) for it in grids], dim=1)
        places: list[torch.Tensor] = []

        def forward(*args: Any, **kwargs: Any) -> Any:
            latents, ids = kwargs["hidden_states"], kwargs["img_ids"]
            if not places:
                last = int(ids[..., 0].max())
                places.append(_places(grids, last + _APART).to(ids))
            kwargs["hidden_states"] = torch.cat([latents, tokens.to(latents)], dim=1)
            kwargs["img_ids"] = torch.cat([ids, places[0]], dim=1)
            found = original(*args, **kwargs)
            return (found[0][:, : latents.shape[1]], *found[1:])

        with called_by(denoiser, forward):
            yield

    def recipe(self) -> dict[str, Any]:
        """Its part of a recipe."""
        return {
            "reference_images": [{"image": it.image, "weight": it.weight} for it in self.images]
        }

    def notes(self) -> tuple[str, ...]:
        """Notes for the recipe."""
        if all(it.weight == _PLAIN_WEIGHT for it in self.images):
            return ()
        title = self.model.family.title
        return (f"the weights of reference images had no effect: {title} looks at them itself",)

    def _encoded(self, pipeline: Any, picture: Image.Image) -> torch.Tensor:
        """(1, channels, rows, columns) of latents, as the pipeline shows them to the transformer."""
        multiple = pipeline.vae_scale_factor * 2
        width, height = (side // multiple * multiple for side in picture.size)
        processor = pipeline.image_processor
        pixels = processor.preprocess(picture, height=height, width=width, resize_mode="crop")
        pixels = pixels.to(self.model.device, self.model.vae.dtype)
        grid: torch.Tensor = pipeline._encode_vae_image(image=pixels, generator=None)
        return grid


def seeing(
    model: LoadedModel,
    images: Sequence[ReferenceImage],
    pixels: Mapping[str, Pixels],
    *,
    edits: bool,
) -> SeenReference:
    """The pictures as the model looks at them. edits: whether the task has a picture of its own.

    Errors: InvalidRequest for more or other pictures than the model reads.
    """
    family = model.family
    counts = family.paints_from_looks and edits
    if len(images) > family.most_looks - counts:
        among = " and the picture that is edited is one of them" if counts else ""
        raise InvalidRequest(
            _FIELD,
            f"{family.title} reads at most {family.most_looks} picture{'s' * (family.most_looks > 1)}{among}; leave "
            "some out.",
            allowed=f"at most {family.most_looks - counts}",
        )
    pictures = [Image.fromarray(to_uint8(to_model_rgb(pixels[it.image]))) for it in images]
    for index, picture in enumerate(pictures):
        short, long = sorted(picture.size)
        if short < _LEAST_PX or long > _MOST_RATIO * short:
            raise InvalidRequest(
                f"{_FIELD}[{index}].image",
                f"The reference image is {picture.width} x {picture.height} px; {family.title} reads those of at least "
                f"{_LEAST_PX} px a side that are at most {_MOST_RATIO} times as long as wide.",
            )
    return SeenReference(model, tuple(images), tuple(_reduced(it) for it in pictures))


def _reduced(picture: Image.Image) -> Image.Image:
    """At most a megapixel, as the stock pipelines reduce them."""
    width, height = picture.size
    if width * height <= _MEGAPIXEL:
        return picture
    scale = math.sqrt(_MEGAPIXEL / (width * height))
    size = (int(width * scale), int(height * scale))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _places(grids: Sequence[torch.Tensor], first: int) -> torch.Tensor:
    """(1, tokens, 4): place in time, row, column and layer of each token."""
    found = [
        torch.cartesian_prod(
            torch.tensor([first + _APART * k]),
            torch.arange(grid.shape[-2]),
            torch.arange(grid.shape[-1]),
            torch.arange(1),
        )
        for k, grid in enumerate(grids)
    ]
    return torch.cat(found)[None]
