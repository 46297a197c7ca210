"""Bring back how an image was made, and make it again."""

import json
from typing import Any

import bpy

from ..bridge.errors import Refused
from ..bridge.request import Work
from ..host import active, images, materials
from ..host.landing import Landing
from .painting import PaintingOperator
from .tell import refuse

_FROM_NOTHING = ("texture", "text_to_image")
"""Tasks that the recipe alone can repeat."""


def recipe_of(context: bpy.types.Context, name: str) -> tuple[bpy.types.Image, dict[str, Any]]:
    """The named image, or the active one, and its recipe. Raises Refused."""
    image = bpy.data.images.get(name) if name else active.image(context)
    if image is None:
        raise Refused(f"There is no image '{name}' in this file.")
    try:
        recipe = json.loads(image.get(images.RECIPE_KEY, ""))
    except ValueError as error:
        raise Refused(f"'{image.name}' has no recipe: Scumble did not make it.") from error
    return image, recipe


def restore(settings: bpy.types.PropertyGroup, recipe: dict[str, Any]) -> None:
    """The panel's settings as they were; what a recipe does not know stays."""
    settings.style = str(recipe.get("style", ""))
    plain = "_without_style" if settings.style else ""
    settings.prompt = str(recipe.get(f"prompt{plain}", ""))
    settings.negative_prompt = str(recipe.get(f"negative_prompt{plain}", ""))
    settings.model = str(recipe.get("model", ""))
    settings.scheduler = str(recipe.get("scheduler", ""))
    settings.loras.clear()
    for adapter in recipe.get("adapters", ()):
        if adapter.get("kind") == "lora":
            lora = settings.loras.add()
            lora.name, lora.weight = str(adapter["name"]), float(adapter["weight"])
    if recipe.get("seamless") in ("none", "x", "y", "xy"):
        settings.seamless = recipe["seamless"]
    if recipe.get("task") in _FROM_NOTHING and len(recipe.get("extent", ())) == 2:
        settings.width, settings.height = recipe["extent"]
    if isinstance(recipe.get("num_inference_steps"), int):
        settings.num_inference_steps = recipe["num_inference_steps"]
    if isinstance(recipe.get("guidance_scale"), (int, float)):
        settings.guidance_auto, settings.guidance_scale = False, recipe["guidance_scale"]
    if isinstance(recipe.get("few_step"), bool):
        settings.few_step = "on" if recipe["few_step"] else "off"
    # A recipe tells these only where they took something from the picture.
    settings.guidance_end = float(recipe.get("guidance_end", 1.0))
    settings.block_cache = float(recipe.get("block_cache", 0.0))
    settings.denoiser_precision = str(recipe.get("denoiser_precision", "loaded"))
    if recipe.get("structure") in ("layout", "noise"):
        settings.structure = recipe["structure"]
    if isinstance(recipe.get("strength"), (int, float)):
        settings.strength = recipe["strength"]
    settings.count, settings.lock_seed = 1, True
    settings.seed = min(int(recipe.get("seed", 0)), 2**31 - 1)


class SCUMBLE_OT_use_recipe(bpy.types.Operator):
    """Set the panel as it was when this image was painted"""

    bl_idname = "scumble.use_recipe"
    bl_label = "Use Recipe"
    bl_options = {"REGISTER", "UNDO"}

    image: bpy.props.StringProperty(
        name="Image", description="Its name; empty takes the active one", options={"SKIP_SAVE"},
    )  # fmt: skip

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Prompt, seed and all the rest."""
        try:
            _, recipe = recipe_of(context, self.image)
        except Refused as error:
            return refuse(self, str(error))
        restore(context.scene.scumble, recipe)
        return {"FINISHED"}


class SCUMBLE_OT_generate_again(PaintingOperator, bpy.types.Operator):
    """Paint a texture once more from the recipe that is stored on its image"""

    bl_idname = "scumble.generate_again"
    bl_label = "Generate Again"

    image: bpy.props.StringProperty(
        name="Image", description="Its name; empty takes the active one", options={"SKIP_SAVE"},
    )  # fmt: skip

    def wish(self, context: bpy.types.Context) -> tuple[Work, Landing]:
        """The same texture, as an image of its own."""
        image, recipe = recipe_of(context, self.image)
        if recipe.get("task") not in _FROM_NOTHING:
            raise Refused(
                f"'{image.name}' was made from another picture: press Use Recipe, then Repaint that picture."
            )
        settings = context.scene.scumble
        restore(settings, recipe)
        return settings.to_request(), materials.destination(context, "IMAGE")
