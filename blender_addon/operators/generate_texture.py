"""Paint a texture from the panel's settings."""

import bpy

from ..bridge.errors import Refused
from ..bridge.request import Work
from ..host import materials
from ..host.landing import Landing
from .painting import PaintingOperator


class SCUMBLE_OT_generate_texture(PaintingOperator, bpy.types.Operator):
    """Paint a texture from the prompt. It goes on in the background; the result is one undo step"""

    bl_idname = "scumble.generate_texture"
    bl_label = "Generate Texture"

    def wish(self, context: bpy.types.Context) -> tuple[Work, Landing]:
        """A texture into a material."""
        settings = context.scene.scumble
        if not settings.prompt.strip():
            raise Refused("Type a prompt first: what should the texture show?")
        return settings.to_request(), materials.destination(context, settings.place)
