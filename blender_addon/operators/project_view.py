"""Paint what cameras see of the active object into its texture."""

import bpy

from ..bridge.errors import Refused
from ..bridge.masks import FaceMask
from ..bridge.projection import ProjectRequest
from ..bridge.request import Work
from ..host import active, images, subject, tiles
from ..host.landing import IntoImage, Landing
from .painting import PaintingOperator


class SCUMBLE_OT_project_view(PaintingOperator, bpy.types.Operator):
    """Paint the active object as the camera or viewport sees it, and bake that into the image of its own UV map"""

    bl_idname = "scumble.project_view"
    bl_label = "Project from View"

    def wish(self, context: bpy.types.Context) -> tuple[Work, Landing]:
        """Meshes and cameras as they are now."""
        settings = context.scene.scumble
        target = context.active_object
        if target is None or target.type != "MESH":
            raise Refused("Select the mesh to paint on: the active object is none.")
        if not target.data.uv_layers:
            raise Refused(f"'{target.name}' has no UV map: unwrap it first (Edit Mode, U).")
        if target.mode == "EDIT":
            target.update_from_editmode()
        image = active.image(context)
        into_itself = settings.target == "SAME"
        if into_itself and image.library is not None:
            raise Refused(
                f"The image '{image.name}' is linked from another file: choose New Image."
            )
        scene = subject.gather(context, target, image)
        if image.source == "TILED":
            reached = FaceMask(scene.target_uv).tiles()
            wanted = [number for number in tiles.numbers(image) if number in reached]
            if not wanted:
                raise Refused(
                    f"The UV map of '{target.name}' lies in none of the tiles of '{image.name}': add the tile, or move "
                    "the UVs."
                )
            sources = tiles.read_sources(image, wanted)
        else:
            sources = (images.read_source(image),)
        work = ProjectRequest(
            prompt=settings.prompt.strip(),
            sources=sources,
            subject=scene,
            views=subject.views(context, settings.view_from, settings.view_size),
            seed=settings.new_seed(),
            strength=settings.strength,
            control=settings.control.lower(),
            options=settings.to_options(),
        )
        return work, IntoImage(image.session_uid, into_itself, title="Scumble: Project from View")
