"""The settings of the panel. They live in the scene, so a file remembers how its textures were made."""

import random

import bpy

from .bridge.request import TextureRequest

_MAX_SEED = 2**31 - 1  # the most a Blender integer property holds

SEAMLESS_ITEMS = (
    ("xy", "Both", "Tiles in both directions", 1),
    ("x", "X", "Left meets right", 2),
    ("y", "Y", "Top meets bottom", 3),
    ("none", "None", "Does not tile", 4),
)

PLACE_ITEMS = (
    (
        "MATERIAL",
        "Material",
        "Show the texture on the active object: in a new material if it has none, in Scumble's own texture node if "
        "there is one, else at a free Base Color. Nothing that is connected is touched",
        "MATERIAL",
        1,
    ),
    (
        "NEW_SLOT",
        "New Material",
        "Make a new material in a new slot of the active object; its faces keep their materials",
        "ADD",
        2,
    ),
    ("IMAGE", "Image Only", "Make an image and touch nothing else", "IMAGE_DATA", 3),
)


class ScumbleSettings(bpy.types.PropertyGroup):
    """`scene.scumble`"""

    prompt: bpy.props.StringProperty(
        name="Prompt", description="What to paint", maxlen=8192, options=set()
    )
    negative_prompt: bpy.props.StringProperty(
        name="Negative Prompt", description="What to avoid", maxlen=8192, options=set()
    )
    width: bpy.props.IntProperty(
        name="Width", description="Of the texture; 0 takes the model's best size", default=0, min=0, max=16384,
        soft_max=2048, step=64, subtype="PIXEL", options=set(),
    )  # fmt: skip
    height: bpy.props.IntProperty(
        name="Height", description="Of the texture; 0 takes the model's best size", default=0, min=0, max=16384,
        soft_max=2048, step=64, subtype="PIXEL", options=set(),
    )  # fmt: skip
    seamless: bpy.props.EnumProperty(
        name="Seamless", description="Directions in which the texture tiles without a seam",
        items=SEAMLESS_ITEMS, default="xy", options=set(),
    )  # fmt: skip
    num_inference_steps: bpy.props.IntProperty(
        name="Steps", description="Denoising steps; 0 takes the model's own number",
        default=0, min=0, max=1000, soft_max=60, options=set(),
    )  # fmt: skip
    guidance_auto: bpy.props.BoolProperty(
        name="Auto Guidance", description="Take the model's own guidance scale", default=True,
        options=set(),
    )  # fmt: skip
    guidance_scale: bpy.props.FloatProperty(
        name="Guidance", description="How closely to follow the prompt; 1 turns guidance off",
        default=7.0, min=0.0, max=50.0, soft_min=1.0, soft_max=15.0, options=set(),
    )  # fmt: skip
    seed: bpy.props.IntProperty(
        name="Seed", description="Start of the noise: the same seed and settings give the same texture",
        default=0, min=0, max=_MAX_SEED, options=set(),
    )  # fmt: skip
    lock_seed: bpy.props.BoolProperty(
        name="Lock Seed", description="Keep the seed; unlocked, every texture draws a new one",
        default=False, options=set(),
    )  # fmt: skip
    model: bpy.props.StringProperty(
        name="Model", description="A model of the server; empty takes its default model",
        options=set(),
    )  # fmt: skip
    place: bpy.props.EnumProperty(
        name="Result", description="Where the texture goes", items=PLACE_ITEMS, default="MATERIAL",
        options=set(),
    )  # fmt: skip

    def to_request(self) -> TextureRequest:
        """The settings as the bridge wants them. Draws a new seed first, unless it is locked."""
        if not self.lock_seed:
            self.seed = random.SystemRandom().randint(0, _MAX_SEED)
        return TextureRequest(
            prompt=self.prompt.strip(),
            negative_prompt=self.negative_prompt.strip(),
            width=self.width,
            height=self.height,
            seamless=self.seamless,
            num_inference_steps=self.num_inference_steps or None,
            guidance_scale=None if self.guidance_auto else self.guidance_scale,
            seed=self.seed,
            model=self.model.strip(),
        )


def register() -> None:
    bpy.utils.register_class(ScumbleSettings)
    bpy.types.Scene.scumble = bpy.props.PointerProperty(type=ScumbleSettings)


def unregister() -> None:
    del bpy.types.Scene.scumble
    bpy.utils.unregister_class(ScumbleSettings)
