"""Painting live: which part of the document goes to the server, how large, and how a picture of it becomes a layer.
Knows no COM and no Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from photoshop_plugin.document import Capture, Document, PlacedLayer, Source
from photoshop_plugin.errors import DocumentRefused
from photoshop_plugin.host.interface import PhotoshopHost
from photoshop_plugin.placing import Place, lay
from photoshop_plugin.settings import Settings
from photoshop_plugin.task import Task
from photoshop_plugin.transparency import opaque
from scumble.client import Bounds, Extent, LivePicture, Patch, Pixels

LONGEST = 512
"""px of a picture's longer side, at most."""
MOST_STEPS = 4
"""That live painting takes."""


@dataclass(frozen=True, slots=True)
class LiveRegion:
    """What is looked at as long as the session lasts. bounds: document px. extent: of the pictures."""

    document: Document
    bounds: Bounds
    source: Source
    extent: Extent


def region_of(document: Document, settings: Settings) -> LiveRegion:
    """The selection's bounding box, or all of the document. Raises DocumentRefused."""
    if document.quick_mask:
        raise DocumentRefused("quick_mask")
    document.require_paintable()
    if not settings.prompt.strip():
        raise DocumentRefused("no_prompt")
    bounds = document.selection or document.bounds
    scale = min(1.0, LONGEST / max(bounds.extent))
    extent = Extent(max(1, round(bounds.width * scale)), max(1, round(bounds.height * scale)))
    return LiveRegion(document, bounds, settings.source, extent)


def fields_of(settings: Settings, region: LiveRegion, seed: int) -> dict[str, Any]:
    """The fields of `scumble.client.Live`. More steps than live painting takes are left to the server."""
    steps = settings.num_inference_steps
    return {
        "prompt": settings.prompt,
        "negative_prompt": settings.negative_prompt,
        "strength": settings.strength,
        "extent": region.extent,
        "seed": seed if settings.seed is None else settings.seed,
        "model": settings.model,
        "num_inference_steps": steps if steps is not None and steps <= MOST_STEPS else None,
        "style": settings.style,
        "adapters": settings.adapters,
        "few_step": settings.few_step,
    }


def canvas(image: Pixels) -> Pixels:
    """What is sent of a capture: opaque, and with whole blocks of px averaged where it is twice as large as needed. The
    server brings it to its exact size."""
    image = opaque(image)
    factor = max(image.extent) // LONGEST
    if factor < 2:
        return image
    import numpy as np  # noqa: PLC0415

    samples = image.numpy()
    height, width = samples.shape[0] // factor, samples.shape[1] // factor
    if not height or not width:  # a strip, thinner than a block
        return image
    blocks = samples[: height * factor, : width * factor]
    means = blocks.reshape(height, factor, width, factor, -1).mean(axis=(1, 3), dtype=np.float64)
    if samples.dtype.kind == "u":
        means = np.rint(means)
    return Pixels.from_numpy(means.astype(samples.dtype), image.color_space, image.icc_profile)


def resized(pixels: Pixels, extent: Extent) -> Pixels:
    """A picture brought to a size, bicubic, in its own type."""
    if pixels.extent == extent:
        return pixels
    import numpy as np  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415

    samples = pixels.numpy()
    planes = [
        Image.fromarray(samples[..., k].astype(np.float32)).resize(extent, Image.Resampling.BICUBIC)
        for k in range(samples.shape[2])
    ]
    larger = np.dstack([np.asarray(plane) for plane in planes])
    if samples.dtype.kind == "u":
        larger = np.rint(np.clip(larger, 0, pixels.sample_type.full_scale))
    return Pixels.from_numpy(
        np.ascontiguousarray(larger.astype(samples.dtype)), pixels.color_space, pixels.icc_profile
    )


def within_selection(picture: Pixels, canvas: Pixels, selection: Pixels) -> Pixels:
    """The picture as it will show above the canvas, through what was selected. canvas and selection: of any size."""
    import numpy as np  # noqa: PLC0415

    mask = resized(selection, picture.extent).numpy() / selection.sample_type.full_scale
    if (mask >= 1).all():
        return picture
    below, above = resized(canvas, picture.extent).numpy(), picture.numpy()
    mixed = above * mask + below * (1 - mask)
    if above.dtype.kind == "u":
        mixed = np.rint(mixed)
    return Pixels.from_numpy(mixed.astype(above.dtype), picture.color_space, picture.icc_profile)


def lay_live(
    host: PhotoshopHost, region: LiveRegion, capture: Capture, picture: LivePicture, prompt: str
) -> list[PlacedLayer]:
    """Makes the picture a layer on its region, masked by what was selected. capture: one of the region."""
    document = region.document
    above = document.layer if region.source is not Source.MERGED and document.layer else None
    place = Place(
        task=Task.RESTYLE,
        document=document,
        bounds=region.bounds,
        icc_profile=capture.icc_profile,
        prompt=prompt,
        above=above,
    )
    patch = Patch(
        pixels=resized(picture.pixels, region.bounds.extent),
        seed=picture.settings.seed,
        recipe={},
        index=0,
        bounds=region.bounds,
        composite_mask=capture.selection,
    )
    return lay(host, place, [patch])
