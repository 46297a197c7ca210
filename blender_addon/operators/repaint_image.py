"""Repaint the active image: all of it, or where the artist marked it."""

import bpy

from ..bridge.errors import Refused
from ..bridge.masks import FaceMask, TiledMask
from ..bridge.repaint import RepaintRequest
from ..bridge.request import Work
from ..host import active, images, selection, tiles
from ..host.landing import IntoImage, Landing
from .painting import PaintingOperator


class SCUMBLE_OT_repaint_image(PaintingOperator, bpy.types.Operator):
    """Repaint the active image where it is marked: selected faces or UVs, a painted mask, the stencil, or what was \
erased. Everything else stays bit for bit"""

    bl_idname = "scumble.repaint_image"
    bl_label = "Repaint"

    def wish(self, context: bpy.types.Context) -> tuple[Work, Landing]:
        """The image's pixels and the mask, as they are now."""
        settings = context.scene.scumble
        image = active.image(context)
        into_itself = settings.target == "SAME"
        if into_itself and image.library is not None:
            raise Refused(
                f"The image '{image.name}' is linked from another file: choose New Image."
            )
        marked = selection.take(context, image)
        if marked is None and not settings.prompt.strip():
            raise Refused("Type a prompt first: what should the image become?")
        if image.source == "TILED":
            wanted = tiles.numbers(image)
            if isinstance(marked, FaceMask | TiledMask):
                wanted = tuple(number for number in marked.tiles() if number in wanted)
            sources = tiles.read_sources(image, wanted)
        else:
            sources = (images.read_source(image),)
        work = RepaintRequest(
            prompt=settings.prompt.strip(),
            sources=sources,
            seed=settings.new_seed(),
            marked=marked,
            strength=settings.strength,
            seamless=settings.seamless_of(image),
            exact=settings.exact,
            options=settings.to_options(),
        )
        return work, IntoImage(image.session_uid, into_itself)
