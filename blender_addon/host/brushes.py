"""What Texture Paint works with: the image it paints on, and the one the Clone brush takes its colours from."""

import bpy


def paint_on(context: bpy.types.Context, image: bpy.types.Image) -> None:
    """Texture Paint paints on this image, whatever the material shows."""
    paint = context.scene.tool_settings.image_paint
    paint.mode, paint.canvas = "IMAGE", image


def clone_from(context: bpy.types.Context, image: bpy.types.Image) -> None:
    """The Clone brush takes its colours from this image."""
    paint = context.scene.tool_settings.image_paint
    paint.clone_image = image
    brush = paint.brush
    if brush is not None and hasattr(brush, "clone_image") and brush.library is None:
        brush.clone_image = image  # the 2D Clone brush before 4.4
