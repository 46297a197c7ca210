"""Blender images from pictures, and back."""

import bpy
import numpy as np

from ..bridge.errors import Refused
from ..bridge.pictures import FloatArray, Picture, Source

RECIPE_KEY = "scumble_recipe"
SEED_KEY = "scumble_seed"
PROMPT_KEY = "scumble_prompt"
_LINEAR = "Linear Rec.709"
_DEPTHS_WITH_ALPHA = (32, 64, 128)  # bits of a pixel, as Blender counts them
_NAME_CHARACTERS = 40  # Blender cuts names at 63 bytes and may add ".001"


def create_image(picture: Picture, prompt: str, name: str = "") -> bpy.types.Image:
    """A new, packed image, so that saving the file keeps it. How it was made stands in its custom properties.

    Costs a copy of the encoded bytes; Blender decodes them when it first draws the image.
    """
    name = name or image_name(prompt, picture.map_name)
    image = bpy.data.images.new(name, 1, 1, is_data=picture.is_data)
    if picture.png is not None:
        image.pack(data=picture.png, data_len=len(picture.png))
        image.source = "FILE"
    elif picture.exr is not None:
        bpy.data.images.remove(image)
        image = bpy.data.images.new(name, 1, 1, float_buffer=True, is_data=picture.is_data)
        _pack_exr(image, picture.exr)
    if not picture.is_data and picture.png is not None:
        image.colorspace_settings.name = "sRGB"
    sign(image, picture, prompt)
    return image


def image_name(prompt: str, map_name: str = "") -> str:
    """A short name from the prompt's first words."""
    words = " ".join(prompt.split())
    if len(words) > _NAME_CHARACTERS:
        words = words[:_NAME_CHARACTERS].rsplit(" ", 1)[0]
    suffix = f" {map_name.replace('_', ' ')}" if map_name not in ("", "base_color") else ""
    return (words or "Scumble") + suffix


def read_source(image: bpy.types.Image, buffer: FloatArray | None = None) -> Source:
    """A single image's pixels, unsaved paint included. Raises Refused with a sentence where there are none.

    Costs one copy of the floats, into `buffer` if there is one; everything else happens on the bridge's thread.
    """
    if image.source == "TILED":
        raise Refused(
            f"The image '{image.name}' has UDIM tiles: read them with `tiles.read_sources`."
        )
    if image.type in ("RENDER_RESULT", "COMPOSITING") or image.source in (
        "VIEWER",
        "MOVIE",
        "SEQUENCE",
    ):
        raise Refused(
            f"The pixels of '{image.name}' cannot be read: save it as an image file and open that."
        )
    width, height = image.size
    if width == 0 or height == 0:
        raise Refused(
            f"The image '{image.name}' has no pixels that can be read: its file is missing. Find it with File > "
            "External Data > Find Missing Files."
        )
    flat = np.empty(width * height * 4, np.float32) if buffer is None else buffer
    image.pixels.foreach_get(flat)
    return Source(
        flat=flat,
        width=width,
        height=height,
        is_float=image.is_float,
        is_premultiplied=image.is_float and image.alpha_mode not in ("CHANNEL_PACKED", "NONE"),
        has_alpha=image.depth in _DEPTHS_WITH_ALPHA,
        color_space=_color_space(image),
    )


def create_like(image: bpy.types.Image, picture: Picture, prompt: str) -> bpy.types.Image:
    """A new, packed image that stands beside `image` and is used as it is."""
    made = create_image(picture, prompt, name=image.name)
    if picture.png is not None:
        made.colorspace_settings.name = image.colorspace_settings.name
    if image.alpha_mode in ("CHANNEL_PACKED", "NONE"):
        made.alpha_mode = image.alpha_mode
    return made


def overwrite(image: bpy.types.Image, picture: Picture, prompt: str) -> None:
    """Packs the picture into the image itself; `show_written` makes Blender show it."""
    packed = picture.png if picture.png is not None else picture.exr
    if packed is not None:
        image.pack(data=packed, data_len=len(packed))
    sign(image, picture, prompt)


def show_written(image: bpy.types.Image, picture: Picture) -> None:
    """The image lets go of its old pixels; Blender decodes those that `overwrite` packed when it next draws it."""
    alpha_mode = image.alpha_mode
    image.source = "FILE"
    if picture.png is not None:
        # The PNG is straight, whatever the file was before.
        image.alpha_mode = "STRAIGHT" if alpha_mode == "PREMUL" else alpha_mode
        return
    if not picture.is_data and image.colorspace_settings.name != _LINEAR:
        # A 16-bit file's pixels are linear in Blender, too.
        image.colorspace_settings.name = _LINEAR
    image.alpha_mode = alpha_mode if alpha_mode in ("CHANNEL_PACKED", "NONE") else "PREMUL"


def swap(old: bpy.types.Image, new: bpy.types.Image) -> None:
    """Everything that shows the old image shows the new one. The old one stays in the file."""
    old.user_remap(new)
    if not old.library:
        old.use_fake_user = True
    new.scumble_mask = old.scumble_mask


def sign(image: bpy.types.Image, picture: Picture, prompt: str) -> None:
    """Leaves on the image how it was made."""
    image[RECIPE_KEY] = picture.recipe
    image[SEED_KEY] = str(picture.seed)  # custom properties hold 32 bit, seeds have 64
    image[PROMPT_KEY] = prompt


def _pack_exr(image: bpy.types.Image, exr: bytes) -> None:
    """Gives the image the pixels of an EXR file of ours, whose colours are multiplied by alpha."""
    image.pack(data=exr, data_len=len(exr))
    image.source = "FILE"
    image.alpha_mode = "PREMUL"


def _color_space(image: bpy.types.Image) -> str:
    """As on the wire. What is neither data nor linear is shown as sRGB is."""
    if image.colorspace_settings.is_data:
        return "non_color"
    linear = image.is_float or image.colorspace_settings.name.startswith("Linear")
    return "linear_rec709" if linear else "srgb"
