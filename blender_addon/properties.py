"""The settings of the panel. They live in the scene, so a file remembers how its textures were made."""

import json
import random
from collections.abc import Iterable

import bpy

from . import preferences
from .bridge.live import LiveWish
from .bridge.request import Options, TextureRequest
from .choices import (
    CONTROL_ITEMS,
    FACTOR_ITEMS,
    FEW_STEP_ITEMS,
    FRAMES_ITEMS,
    HEIGHT_ITEMS,
    LIVE_SHOW_ITEMS,
    MAP_ITEMS,
    MASK_ITEMS,
    PLACE_ITEMS,
    PRECISION_ITEMS,
    REPAINT_SEAMLESS_ITEMS,
    RESTYLE_ITEMS,
    SEAMLESS_ITEMS,
    SEED_ITEMS,
    STRUCTURE_ITEMS,
    TARGET_ITEMS,
    VIEW_ITEMS,
)
from .host import controller

_MAX_SEED = 2**31 - 1  # the most a Blender integer property holds
_MOST_VARIATIONS = 16
_BESIDE_THE_FILE = {"PATH_SUPPORTS_BLEND_RELATIVE"} if bpy.app.version >= (4, 5) else set()


def _models(settings: bpy.types.PropertyGroup, context: bpy.types.Context, text: str) -> list[str]:
    return _matching((name for name, _ in controller.get().catalogue.models), text)


def _loras(lora: bpy.types.PropertyGroup, context: bpy.types.Context, text: str) -> list[str]:
    return _matching(controller.get().catalogue.loras, text)


def _styles(settings: bpy.types.PropertyGroup, context: bpy.types.Context, text: str) -> list[str]:
    return _matching(controller.get().catalogue.styles, text)


def _schedulers(
    settings: bpy.types.PropertyGroup, context: bpy.types.Context, text: str
) -> list[str]:
    return _matching(controller.get().catalogue.schedulers, text)


def _matching(names: Iterable[str], text: str) -> list[str]:
    return [name for name in names if text.lower() in name.lower()]


class ScumbleLora(bpy.types.PropertyGroup):
    """One row of `scene.scumble.loras`"""

    name: bpy.props.StringProperty(
        name="LoRA", description="Its name on the server", search=_loras, search_options={"SUGGESTION"},
        options=set(),
    )  # fmt: skip
    weight: bpy.props.FloatProperty(
        name="Weight",
        description="How strongly it acts",
        default=1.0,
        min=-2.0,
        max=2.0,
        options=set(),
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
        search=_models, search_options={"SUGGESTION"}, options=set(),
    )  # fmt: skip
    count: bpy.props.IntProperty(
        name="Variations", description="How many to paint; with more than one you pick from a strip",
        default=1, min=1, max=_MOST_VARIATIONS, soft_max=8, options=set(),
    )  # fmt: skip
    maps: bpy.props.EnumProperty(
        name="Maps", description="Material maps beside the base colour", items=MAP_ITEMS, options={"ENUM_FLAG"},
    )  # fmt: skip
    height_as: bpy.props.EnumProperty(
        name="Height As", description="What the height map does", items=HEIGHT_ITEMS, default="BUMP", options=set(),
    )  # fmt: skip
    loras: bpy.props.CollectionProperty(
        type=ScumbleLora, name="LoRAs", description="Small files on the server that change what the model paints"
    )  # fmt: skip
    style: bpy.props.StringProperty(
        name="Style", description="A prompt template of the server, such as watercolour; empty for none",
        search=_styles, search_options={"SUGGESTION"}, options=set(),
    )  # fmt: skip
    scheduler: bpy.props.StringProperty(
        name="Scheduler", description="Noise schedule and solver; empty takes the model's own",
        search=_schedulers, search_options={"SUGGESTION"}, options=set(),
    )  # fmt: skip
    structure: bpy.props.EnumProperty(
        name="Start", description="What a texture starts from", items=STRUCTURE_ITEMS, default="auto", options=set(),
    )  # fmt: skip
    few_step: bpy.props.EnumProperty(
        name="Few Steps", description="Weights that paint in a few steps", items=FEW_STEP_ITEMS, default="auto",
        options=set(),
    )  # fmt: skip
    guidance_end: bpy.props.FloatProperty(
        name="Guided Steps", description="Share of the steps that are guided; fewer are faster, for models with a UNet",
        default=1.0, min=0.05, max=1.0, subtype="FACTOR", options=set(),
    )  # fmt: skip
    block_cache: bpy.props.FloatProperty(
        name="Block Cache", description="Leave blocks out while the first one changes less than this; 0: none. "
        "For FLUX and Qwen-Image", default=0.0, min=0.0, max=1.0, subtype="FACTOR", options=set(),
    )  # fmt: skip
    denoiser_precision: bpy.props.EnumProperty(
        name="Precision", description="What the denoiser's products are computed in", items=PRECISION_ITEMS,
        default="loaded", options=set(),
    )  # fmt: skip
    image: bpy.props.PointerProperty(
        name="Image", description="The image to repaint; empty takes the active one", type=bpy.types.Image,
    )  # fmt: skip
    mask: bpy.props.EnumProperty(
        name="Where", description="Where to repaint", items=MASK_ITEMS, default="FACES", options=set(),
    )  # fmt: skip
    margin: bpy.props.IntProperty(
        name="Margin", description="Around the selected faces, so that no old colour shows along seams",
        default=2, min=0, max=64, subtype="PIXEL", options=set(),
    )  # fmt: skip
    strength: bpy.props.FloatProperty(
        name="Strength", description="Denoising strength: how far the result may go from what is there",
        default=0.8, min=0.05, max=1.0, subtype="FACTOR", options=set(),
    )  # fmt: skip
    exact: bpy.props.BoolProperty(
        name="Exact Edges", description="Change the marked pixels only. Off: the edge is blended, a little beyond them",
        default=True, options=set(),
    )  # fmt: skip
    repaint_seamless: bpy.props.EnumProperty(
        name="Seamless", description="Directions in which the image tiles", items=REPAINT_SEAMLESS_ITEMS,
        default="auto", options=set(),
    )  # fmt: skip
    target: bpy.props.EnumProperty(
        name="Result", description="Where the repainted image goes", items=TARGET_ITEMS, default="NEW", options=set(),
    )  # fmt: skip
    view_from: bpy.props.EnumProperty(
        name="From", description="What looks at the object", items=VIEW_ITEMS, default="CAMERA", options=set(),
    )  # fmt: skip
    view_size: bpy.props.IntProperty(
        name="View Size", description="Longest side of the view that is painted", default=768, min=64, max=4096,
        subtype="PIXEL", options=set(),
    )  # fmt: skip
    control: bpy.props.EnumProperty(
        name="Control", description="Keep the shape: the view's depth and normals go along where the server has a "
        "ControlNet for the model", items=CONTROL_ITEMS, default="AUTO", options=set(),
    )  # fmt: skip
    restyle_from: bpy.props.EnumProperty(
        name="From", description="What is restyled", items=RESTYLE_ITEMS, default="RENDER", options=set(),
    )  # fmt: skip
    restyle_strength: bpy.props.FloatProperty(
        name="Strength", description="How far the result may go from the render",
        default=0.5, min=0.05, max=1.0, subtype="FACTOR", options=set(),
    )  # fmt: skip
    frames_from: bpy.props.EnumProperty(
        name="Frames", description="Where the frames come from", items=FRAMES_ITEMS, default="RENDER", options=set(),
    )  # fmt: skip
    frames_seed: bpy.props.EnumProperty(
        name="Seed", description="What the frames start from", items=SEED_ITEMS, default="FIXED", options=set(),
    )  # fmt: skip
    frames_folder: bpy.props.StringProperty(
        name="Folder", description="Where the restyled frames go. Frames that are there already are skipped, so that "
        "an animation goes on where it ended", subtype="DIR_PATH", default="//restyled/",
        options=_BESIDE_THE_FILE,
    )  # fmt: skip
    frames_overwrite: bpy.props.BoolProperty(
        name="Overwrite", description="Paint frames anew that are in the folder already", default=False, options=set(),
    )  # fmt: skip
    live_strength: bpy.props.FloatProperty(
        name="Strength", description="How far the picture may go from what you paint; can be changed while it runs",
        default=0.6, min=0.05, max=1.0, subtype="FACTOR", options=set(),
    )  # fmt: skip
    live_size: bpy.props.IntProperty(
        name="Size", description="Longest side of the pictures; smaller is faster. The painting is never enlarged",
        default=512, min=64, max=2048, step=64, subtype="PIXEL", options=set(),
    )  # fmt: skip
    live_steps: bpy.props.IntProperty(
        name="Steps", description="Denoising steps of a picture; fewer are faster, 0 lets the server choose",
        default=0, min=0, max=4, options=set(),
    )  # fmt: skip
    live_show: bpy.props.EnumProperty(
        name="Show", description="Where the picture is seen", items=LIVE_SHOW_ITEMS, default="BESIDE", options=set(),
    )  # fmt: skip
    upscale_factor: bpy.props.EnumProperty(
        name="Factor", description="How much larger", items=FACTOR_ITEMS, options=set(),
    )  # fmt: skip
    place: bpy.props.EnumProperty(
        name="Result", description="Where the texture goes", items=PLACE_ITEMS, default="MATERIAL",
        options=set(),
    )  # fmt: skip

    @property
    def made(self) -> list[bpy.types.Image]:
        """The images of the last result, for scripts: base colour first, then its maps."""
        names = controller.get().last_images
        return [bpy.data.images[name] for name in names if name in bpy.data.images]

    def new_seed(self) -> int:
        """The locked seed, else a new one, which the panel shows."""
        if not self.lock_seed:
            self.seed = random.SystemRandom().randint(0, _MAX_SEED - _MOST_VARIATIONS)
        return int(self.seed)

    def to_options(self, count: int | None = None) -> Options:
        """What all wishes share. count: other than the panel's."""
        return Options(
            negative_prompt=self.negative_prompt.strip(),
            model=self.model.strip() or preferences.default_model(bpy.context),
            num_inference_steps=self.num_inference_steps or None,
            guidance_scale=None if self.guidance_auto else self.guidance_scale,
            count=self.count if count is None else count,
            loras=tuple((lora.name, lora.weight) for lora in self.loras if lora.name.strip()),
            scheduler=self.scheduler.strip(),
            style=self.style.strip(),
            structure=self.structure,
            few_step={"auto": None, "on": True, "off": False}[self.few_step],
            guidance_end=self.guidance_end if self.guidance_end < 1 else None,
            block_cache=self.block_cache or None,
            denoiser_precision=None
            if self.denoiser_precision == "loaded"
            else self.denoiser_precision,
        )

    def to_request(self) -> TextureRequest:
        """A texture from the settings. Draws a new seed first, unless it is locked."""
        return TextureRequest(
            prompt=self.prompt.strip(),
            width=self.width,
            height=self.height,
            seamless=self.seamless,
            seed=self.new_seed(),
            maps=tuple(name for name, *_ in MAP_ITEMS if name in self.maps),
            options=self.to_options(),
        )

    def to_live_wish(self, image: bpy.types.Image | None = None) -> LiveWish:
        """How to paint live, as the panel says now. Draws no seed: the picture moves only where the canvas does."""
        image = image or controller.get().live.canvas
        return LiveWish(
            prompt=self.prompt.strip(),
            strength=self.live_strength,
            seed=self.seed,
            longest=self.live_size,
            steps=self.live_steps,
            seamless="none" if image is None else self.seamless_of(image),
            options=self.to_options(count=1),
        )

    def seamless_of(self, image: bpy.types.Image) -> str:
        """The axes along which an image tiles: as chosen, else as its recipe says."""
        if self.repaint_seamless != "auto":
            return str(self.repaint_seamless)
        try:
            return str(json.loads(image.get("scumble_recipe", "{}")).get("seamless") or "none")
        except ValueError:
            return "none"


_CLASSES = (ScumbleLora, ScumbleSettings)


def register() -> None:
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.Scene.scumble = bpy.props.PointerProperty(type=ScumbleSettings)
    bpy.types.Image.scumble_mask = bpy.props.PointerProperty(
        name="Scumble Mask",
        description="Where to repaint this image; painted by hand",
        type=bpy.types.Image,
    )


def unregister() -> None:
    del bpy.types.Image.scumble_mask
    del bpy.types.Scene.scumble
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
