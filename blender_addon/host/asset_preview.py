"""A preview for the Asset Browser made from the texture itself, where Blender cannot render one."""

import bpy
import numpy as np

from ..bridge.errors import Refused
from . import images

_SIDE = 256


def show(material: bpy.types.Material, image: bpy.types.Image) -> None:
    """The material's preview is its texture, every k-th pixel of it; an image without pixels changes nothing."""
    try:
        source = images.read_source(image)
    except Refused:
        return
    rows = np.arange(_SIDE) * source.height // _SIDE
    columns = np.arange(_SIDE) * source.width // _SIDE
    small = source.flat.reshape(source.height, source.width, 4)[rows][:, columns]
    preview = material.preview_ensure()
    preview.image_size = (_SIDE, _SIDE)
    preview.image_pixels_float.foreach_set(np.ascontiguousarray(small).ravel())
