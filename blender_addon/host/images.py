"""Blender images from pictures, and back."""

from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ..bridge.pictures import Picture, to_wire

RECIPE_KEY = "scumble_recipe"
SEED_KEY = "scumble_seed"
PROMPT_KEY = "scumble_prompt"
_NAME_CHARACTERS = 40  # Blender cuts names at 63 bytes and may add ".001"


def create_image(picture: Picture, prompt: str) -> bpy.types.Image:
    """A new, packed image, so that saving the file keeps it. How it was made stands in its custom properties.

    Costs a copy of the encoded bytes; Blender decodes them when it first draws the image.
    """
    image = bpy.data.images.new(image_name(prompt, picture.map_name), 1, 1, is_data=picture.is_data)
    if picture.png is not None:
        image.pack(data=picture.png, data_len=len(picture.png))
        image.source = "FILE"
    elif picture.floats is not None:
        bpy.data.images.remove(image)
        image = bpy.data.images.new(
            image_name(prompt, picture.map_name), picture.width, picture.height,
            alpha=picture.channels == 4, float_buffer=True, is_data=picture.is_data,
        )  # fmt: skip
        image.pixels.foreach_set(picture.floats.ravel())
        image.update()
        image.pack()
    if not picture.is_data and picture.png is not None:
        image.colorspace_settings.name = "sRGB"
    image[RECIPE_KEY] = picture.recipe
    image[SEED_KEY] = str(picture.seed)  # custom properties hold 32 bit, seeds have 64
    image[PROMPT_KEY] = prompt
    return image


def image_name(prompt: str, map_name: str = "") -> str:
    """A short name from the prompt's first words."""
    words = " ".join(prompt.split())
    if len(words) > _NAME_CHARACTERS:
        words = words[:_NAME_CHARACTERS].rsplit(" ", 1)[0]
    suffix = f" {map_name.replace('_', ' ')}" if map_name not in ("", "base_color") else ""
    return (words or "Scumble") + suffix


def read_pixels(image: bpy.types.Image) -> NDArray[Any]:
    """An image's pixels for the wire: height x width x 4, row 0 on top, straight alpha.

    uint8 as stored for byte images; float32 for float images, sRGB-encoded unless the image is Non-Color data.
    Raises ValueError with a sentence for images without readable pixels.
    """
    if image.source == "TILED":
        raise ValueError(
            f"The image '{image.name}' has UDIM tiles, which Scumble cannot read yet: choose a single image."
        )
    width, height = image.size
    if width == 0 or height == 0:
        raise ValueError(
            f"The image '{image.name}' has no pixels that can be read: its file is missing, or it is a render result "
            "(save that to a file and open it)."
        )
    flat = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(flat)
    is_data = bool(image.colorspace_settings.is_data)
    return to_wire(flat, width, height, is_float=image.is_float, is_data=is_data)
