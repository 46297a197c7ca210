"""Put the active image to use: paint on it, clone from it, keep its material as an asset."""

import bpy

from ..bridge.errors import BridgeError
from ..host import active, asset_preview, brushes, images, materials
from .tell import refuse

_MOST_TAGS = 8


class SCUMBLE_OT_use_image(bpy.types.Operator):
    """Use the active image in Texture Paint"""

    bl_idname = "scumble.use_image"
    bl_label = "Use Image"
    bl_options = {"REGISTER", "UNDO"}

    use: bpy.props.EnumProperty(
        name="Use", description="What for",
        items=(
            ("PAINT", "Paint on It", "Texture Paint paints on this image, whatever the material shows"),
            ("CLONE", "Clone from It", "The Clone brush takes its colours from this image"),
        ),
    )  # fmt: skip

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Sets it."""
        try:
            image = active.image(context)
        except BridgeError as error:
            return refuse(self, str(error))
        if self.use == "PAINT":
            brushes.paint_on(context, image)
            done = f"Texture Paint paints on '{image.name}'."
        else:
            brushes.clone_from(context, image)
            done = f"The Clone brush takes its colours from '{image.name}'."
        self.report({"INFO"}, done)
        return {"FINISHED"}


class SCUMBLE_OT_mark_asset(bpy.types.Operator):
    """Put the active material into the Asset Browser, with a preview and tags"""

    bl_idname = "scumble.mark_asset"
    bl_label = "Mark as Asset"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A material of this file."""
        material = getattr(context.active_object, "active_material", None)
        return material is not None and material.library is None

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Marks it, describes it by its prompt and tags it."""
        material = context.active_object.active_material
        if material.asset_data is None:
            material.asset_mark()
        asset = material.asset_data
        asset.tags.new("scumble", skip_if_exists=True)
        image = materials.base_color(material)
        prompt = str(image.get(images.PROMPT_KEY, "")) if image is not None else ""
        if prompt:
            asset.description = prompt
            for word in prompt.replace(",", " ").split()[:_MOST_TAGS]:
                asset.tags.new(word.lower(), skip_if_exists=True)
        if not bpy.app.background:
            material.asset_generate_preview()
        elif image is not None:
            asset_preview.show(material, image)  # Blender renders previews only with a window
        self.report({"INFO"}, f"'{material.name}' is an asset now.")
        return {"FINISHED"}
