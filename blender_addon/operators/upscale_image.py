"""Make the active image larger."""

import bpy

from ..bridge.errors import Refused
from ..bridge.from_image import UpscaleRequest
from ..bridge.request import Work
from ..host import active, images
from ..host.landing import IntoImage, Landing
from .painting import PaintingOperator


class SCUMBLE_OT_upscale_image(PaintingOperator, bpy.types.Operator):
    """Make the active image larger, with new detail. The larger image takes the old one's place; the old one stays in \
the file"""

    bl_idname = "scumble.upscale_image"
    bl_label = "Upscale"

    def wish(self, context: bpy.types.Context) -> tuple[Work, Landing]:
        """The image as it is now."""
        settings = context.scene.scumble
        image = active.image(context)
        if image.source == "TILED":
            raise Refused(f"'{image.name}' has UDIM tiles: upscale a single image.")
        work = UpscaleRequest(
            prompt=settings.prompt.strip(),
            source=images.read_source(image),
            seed=settings.new_seed(),
            factor=int(settings.upscale_factor),
            seamless=settings.seamless_of(image),
            options=settings.to_options(),
        )
        return work, IntoImage(image.session_uid, into_itself=False, title="Scumble: Upscale Image")
