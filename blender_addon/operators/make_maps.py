"""Material maps from the active image."""

import bpy

from ..bridge.errors import Refused
from ..bridge.from_image import MapsRequest
from ..bridge.request import Work
from ..choices import MAP_ITEMS
from ..host import active, images, materials
from ..host.landing import Landing
from .painting import PaintingOperator


class SCUMBLE_OT_make_maps(PaintingOperator, bpy.types.Operator):
    """Make normal, roughness and height maps from the active image, and connect them to the active material where \
nothing else is"""

    bl_idname = "scumble.make_maps"
    bl_label = "Maps from Image"

    def wish(self, context: bpy.types.Context) -> tuple[Work, Landing]:
        """The chosen maps; all if none is chosen."""
        settings = context.scene.scumble
        image = active.image(context)
        if image.source == "TILED":
            raise Refused(f"'{image.name}' has UDIM tiles: make maps from a single image.")
        maps = tuple(name for name, *_ in MAP_ITEMS if name in settings.maps or not settings.maps)
        work = MapsRequest(
            prompt=image.name,
            source=images.read_source(image),
            maps=maps,
            seamless=settings.repaint_seamless,
            options=settings.to_options(),
        )
        return work, materials.destination(context, settings.place)
