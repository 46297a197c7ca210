"""The panels "Scumble" in the sidebars of 3D viewport, Image Editor and Shader Editor. Draw; decide nothing."""

import bpy

from . import preferences, presets
from .drawing import draw_progress, draw_server, draw_text, draw_variations
from .host import active, controller, images

_SPACES = {"VIEW_3D": "view3d", "IMAGE_EDITOR": "image_editor", "NODE_EDITOR": "node_editor"}
_HISTORY_ROWS = 12


class _ScumblePanel:
    """What all editors share."""

    bl_category = "Scumble"
    bl_region_type = "UI"
    layout: bpy.types.UILayout  # set by Blender

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """In the Shader Editor, and not in its siblings."""
        space = context.space_data
        return bool(space.type != "NODE_EDITOR" or space.tree_type == "ShaderNodeTree")


class _Main(_ScumblePanel):
    bl_label = "Scumble"

    def draw(self, context: bpy.types.Context) -> None:
        """Server, prompt, Generate, and what is happening."""
        scumble, layout = controller.get(), self.layout
        scumble.panel_drawn()
        settings, status = context.scene.scumble, scumble.status
        layout.use_property_decorate = False
        draw_server(layout, context, scumble)
        column = layout.column(align=True)
        column.prop(settings, "prompt", text="", placeholder="Prompt: what to paint")
        column.prop(
            settings, "negative_prompt", text="", placeholder="Negative prompt: what to avoid"
        )
        row = layout.row(align=True)
        seed = row.row(align=True)
        seed.active = settings.lock_seed
        seed.prop(settings, "seed")
        row.prop(
            settings, "lock_seed", text="", icon="LOCKED" if settings.lock_seed else "UNLOCKED"
        )
        row.separator()
        row.prop(settings, "count", text="Variations")
        if scumble.busy:
            draw_progress(layout, status)
        else:
            row = layout.row(align=True)
            row.scale_y = 1.4
            row.operator("scumble.generate_texture", text="Generate", icon="BRUSH_DATA")
            row.operator("scumble.repaint_image", text="Repaint", icon="TPAINT_HLT")
        if icon := scumble.preview.icon_id:
            layout.template_icon(icon_value=icon, scale=8)
        if scumble.variations:
            draw_variations(layout, scumble)
        if status.error:
            box = layout.box()
            box.alert = True
            draw_text(box, context, status.error, icon="ERROR")
        elif status.note and not scumble.busy:
            draw_text(layout, context, status.note, icon="CHECKMARK")


class _Texture(_ScumblePanel):
    bl_label = "Texture"

    def draw(self, context: bpy.types.Context) -> None:
        """Size, seams, maps, and where it goes."""
        layout, settings = self.layout, context.scene.scumble
        row = layout.row(align=True)
        row.prop(settings, "width", text="W")
        row.prop(settings, "height", text="H")
        if not (settings.width and settings.height):
            model = settings.model.strip() or preferences.default_model(context)
            best = controller.get().catalogue.size_of(model)
            size = f"{best[0]} x {best[1]} px" if best else "its best size"
            layout.label(text=f"0: the model's own, {size}", icon="INFO")
        split = layout.split(factor=0.3)
        split.label(text="Seamless")
        split.row(align=True).prop(settings, "seamless", expand=True)
        column = layout.column(align=True)
        column.label(text="Maps")
        column.grid_flow(columns=2, align=True).prop(settings, "maps")
        if "height" in settings.maps:
            layout.prop(settings, "height_as")
        layout.prop(settings, "place", text="Result")


class _Repaint(_ScumblePanel):
    bl_label = "Repaint"

    def draw(self, context: bpy.types.Context) -> None:
        """Which image, where, how much."""
        layout, settings = self.layout, context.scene.scumble
        image = active.find_image(context)
        layout.prop(settings, "image", text="Image")
        if settings.image is None:
            layout.label(text=image.name if image else "No active image", icon="IMAGE_DATA")
        layout.prop(settings, "mask")
        if settings.mask in ("FACES", "UV"):
            layout.prop(settings, "margin")
        if settings.mask == "LAYER":
            row = layout.row(align=True)
            row.operator("scumble.paint_mask", icon="BRUSH_DATA")
            row.operator("scumble.clear_mask", text="", icon="X")
        layout.prop(settings, "strength")
        if settings.mask != "WHOLE":
            layout.prop(settings, "exact")
        layout.prop(settings, "repaint_seamless")
        layout.prop(settings, "target")
        row = layout.row(align=True)
        row.operator("scumble.repaint_image", icon="TPAINT_HLT")
        row.operator("scumble.revert_image", text="", icon="LOOP_BACK")


class _Live(_ScumblePanel):
    bl_label = "Live"

    def draw(self, context: bpy.types.Context) -> None:
        """The switch, what can be changed while it runs, and how it goes."""
        layout, settings, live = self.layout, context.scene.scumble, controller.get().live
        row = layout.row(align=True)
        row.scale_y = 1.4
        if live.running:
            row.operator("scumble.stop_live", text="Live", icon="REC", depress=True)
        else:
            row.operator("scumble.start_live", text="Live", icon="REC")
        row.operator("scumble.keep_live", icon="CHECKMARK")
        if live.told:
            draw_text(layout, context, live.told, icon="INFO")
        layout.prop(settings, "live_strength")
        row = layout.row(align=True)
        row.prop(settings, "live_size")
        row.prop(settings, "live_steps")
        column = layout.column()
        column.enabled = not live.running
        column.row(align=True).prop(settings, "live_show", expand=True)


class _Project(_ScumblePanel):
    bl_label = "Project from View"

    def draw(self, context: bpy.types.Context) -> None:
        """Cameras and how to blend them."""
        layout, settings = self.layout, context.scene.scumble
        layout.prop(settings, "view_from")
        layout.prop(settings, "view_size")
        layout.prop(settings, "strength")
        layout.prop(settings, "control")
        layout.prop(settings, "target")
        layout.operator("scumble.project_view", icon="OUTLINER_OB_CAMERA")


class _Restyle(_ScumblePanel):
    bl_label = "Restyle Render"

    def draw(self, context: bpy.types.Context) -> None:
        """One picture, and the whole animation."""
        layout, settings = self.layout, context.scene.scumble
        layout.prop(settings, "restyle_from")
        layout.prop(settings, "restyle_strength")
        layout.prop(settings, "control")
        layout.operator("scumble.restyle_render", icon="RENDER_STILL")
        layout.separator()
        layout.prop(settings, "frames_from")
        layout.prop(settings, "frames_seed")
        layout.prop(settings, "frames_folder")
        row = layout.row(align=True)
        row.operator("scumble.restyle_animation", icon="RENDER_ANIMATION")
        row.prop(settings, "frames_overwrite", text="", icon="FILE_REFRESH")


class _FromImage(_ScumblePanel):
    bl_label = "From Image"

    def draw(self, context: bpy.types.Context) -> None:
        """Maps, a larger one, and what else it can be used for."""
        layout, settings = self.layout, context.scene.scumble
        layout.operator("scumble.make_maps", icon="MATERIAL")
        row = layout.row(align=True)
        row.prop(settings, "upscale_factor", expand=True)
        row.operator("scumble.upscale_image")
        row = layout.row(align=True)
        row.operator("scumble.use_image", text="Paint on It").use = "PAINT"
        row.operator("scumble.use_image", text="Clone from It").use = "CLONE"
        layout.operator("scumble.mark_asset", icon="ASSET_MANAGER")


class _Model(_ScumblePanel):
    bl_label = "Model"

    def draw(self, context: bpy.types.Context) -> None:
        """Which one, and how it paints."""
        layout, settings = self.layout, context.scene.scumble
        presets.draw(layout)
        layout.prop(
            settings,
            "model",
            placeholder=preferences.default_model(context) or "the server's default",
        )
        layout.prop(settings, "style", placeholder="none")
        layout.prop(settings, "num_inference_steps", text="Steps (0: the model's own)")
        row = layout.row(align=True)
        guidance = row.row(align=True)
        guidance.active = not settings.guidance_auto
        guidance.prop(settings, "guidance_scale", text="Guidance")
        row.prop(settings, "guidance_auto", text="Auto", toggle=True)
        layout.prop(settings, "scheduler", placeholder="the model's own")
        layout.prop(settings, "few_step")
        layout.prop(settings, "structure")
        column = layout.column(align=True)
        row = column.row()
        row.label(text="LoRAs")
        row.operator("scumble.add_lora", text="", icon="ADD")
        for number, lora in enumerate(settings.loras):
            row = column.row(align=True)
            row.prop(lora, "name", text="")
            row.prop(lora, "weight", text="")
            row.operator("scumble.remove_lora", text="", icon="X").number = number


class _Speed(_ScumblePanel):
    bl_label = "Speed"

    def draw(self, context: bpy.types.Context) -> None:
        """What is faster and costs quality; a recipe tells what was used."""
        layout, settings = self.layout, context.scene.scumble
        layout.label(text="Faster, at a cost in quality")
        layout.prop(settings, "guidance_end", slider=True)
        layout.prop(settings, "block_cache", slider=True)
        layout.prop(settings, "denoiser_precision")


class _History(_ScumblePanel):
    bl_label = "History"

    def draw(self, context: bpy.types.Context) -> None:
        """The images of this file that Scumble made; the newest last."""
        layout = self.layout
        made = [image for image in bpy.data.images if images.RECIPE_KEY in image]
        if not made:
            layout.label(text="Nothing was painted in this file yet")
        for image in made[-_HISTORY_ROWS:]:
            row = layout.row(align=True)
            row.label(text=image.name, icon_value=image.preview.icon_id if image.preview else 0)
            row.operator("scumble.use_recipe", text="", icon="COPYDOWN").image = image.name
            row.operator("scumble.generate_again", text="", icon="FILE_REFRESH").image = image.name


_PARTS: dict[str, tuple[type, ...]] = {
    "VIEW_3D": (
        _Texture,
        _Repaint,
        _Project,
        _Restyle,
        _Live,
        _FromImage,
        _Model,
        _Speed,
        _History,
    ),
    "IMAGE_EDITOR": (_Repaint, _Live, _Texture, _Restyle, _FromImage, _Model, _Speed, _History),
    "NODE_EDITOR": (_Texture, _FromImage, _Repaint, _Model, _Speed, _History),
}
"""What is needed in an editor, the most needed first."""
_OPEN = {
    "VIEW_3D": (_Texture,),
    "IMAGE_EDITOR": (_Repaint, _Live),
    "NODE_EDITOR": (_Texture, _FromImage),
}


def _panels() -> tuple[type, ...]:
    """Each panel for each editor; the parts hang below the main one."""
    made: list[type] = []
    for space, suffix in _SPACES.items():
        main = f"SCUMBLE_PT_{suffix}"
        made.append(type(main, (_Main, bpy.types.Panel), {"bl_space_type": space}))
        for part in _PARTS[space]:
            name = f"SCUMBLE_PT_{suffix}_{part.__name__.strip('_').lower()}"
            members = {"bl_space_type": space, "bl_parent_id": main}
            closed = set() if part in _OPEN[space] else {"DEFAULT_CLOSED"}
            made.append(type(name, (part, bpy.types.Panel), {**members, "bl_options": closed}))
    return tuple(made)


_CLASSES = _panels()


def register() -> None:
    for cls in _CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
