"""The model's layers as a PSD, written and read back by psd-tools: a judge of offsets and masks that is not ours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from psd_tools import PSDImage

from tests.fakes.photoshop.samples import Array

if TYPE_CHECKING:
    from tests.fakes.photoshop.document import Document


@dataclass(frozen=True)
class ReadLayer:
    """The top layer as psd-tools reads it: bbox = (left, top, right, bottom); arrays of shape (height, width[, 3])."""

    name: str
    bbox: tuple[int, int, int, int]
    pixels: Array
    mask: Array
    mask_x: int
    mask_y: int


def save_psd(document: Document, path: Path) -> ReadLayer:
    """Writes an 8-bit document, bottom layer first, and reads its top layer back from the file."""
    psd = PSDImage.new("RGB", document.extent)
    for layer in reversed(document.stack):
        state = layer._state
        picture = Image.fromarray(state.pixels[..., :3])
        # psd-tools only writes the old Mac Roman name.
        name = state.name.encode("ascii", "replace").decode()
        made = psd.create_pixel_layer(picture, name=name, top=state.y, left=state.x)
        made.visible = state.visible
        if state.mask is not None:
            made.create_mask(Image.fromarray(state.mask), top=state.mask_y, left=state.mask_x)
    psd.save(path)
    top = PSDImage.open(path)[-1]
    assert top.mask is not None
    return ReadLayer(
        top.name,
        top.bbox,
        np.asarray(top.topil().convert("RGB")),
        np.asarray(top.mask.topil()),
        top.mask.left,
        top.mask.top,
    )
