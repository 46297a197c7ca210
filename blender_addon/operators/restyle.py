"""Renders painted anew: the last one, the viewport, an animation."""

from pathlib import Path

import bpy

from .. import preferences
from ..bridge.errors import BridgeError, Refused
from ..bridge.request import Work
from ..bridge.restyle import RestyleRequest
from ..host import controller, frames, main_thread, materials, renders, windows
from ..host.landing import Landing
from .painting import PaintingOperator
from .tell import refuse


class SCUMBLE_OT_restyle_render(PaintingOperator, bpy.types.Operator):
    """Paint the last render, or the viewport, anew: an image of its own, as far from the render as Strength allows"""

    bl_idname = "scumble.restyle_render"
    bl_label = "Restyle Render"

    def wish(self, context: bpy.types.Context) -> tuple[Work, Landing]:
        """The picture, and the scene before it."""
        settings = context.scene.scumble
        if not settings.prompt.strip():
            raise Refused("Type a prompt first: what should the render become?")
        is_render = settings.restyle_from == "RENDER"
        picture = renders.last_render(context) if is_render else renders.viewport(context)
        scene = None
        if settings.control != "NONE":
            scene = renders.scene_before(context, "CAMERA" if is_render else "VIEWPORT")
        work = RestyleRequest(
            prompt=settings.prompt.strip(),
            picture=picture,
            seed=settings.new_seed(),
            strength=settings.restyle_strength,
            scene=scene,
            control=settings.control.lower(),
            options=settings.to_options(),
        )
        return work, materials.destination(context, "IMAGE")

    def editor(self, context: bpy.types.Context) -> int:
        """Where the artist looks at renders."""
        return windows.editor_for_render(context)


class SCUMBLE_OT_restyle_animation(bpy.types.Operator):
    """Restyle every frame of the scene's frame range into a folder. Frames that are there already are skipped: cancel \
it and press it again to go on"""

    bl_idname = "scumble.restyle_animation"
    bl_label = "Restyle Animation"
    bl_options = {"REGISTER"}

    wait: bpy.props.BoolProperty(
        name="Wait", description="Return when all frames are there, or fail with the reason: for scripts. Always so "
        "without a window", default=False, options={"HIDDEN", "SKIP_SAVE"},
    )  # fmt: skip

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """One at a time."""
        return not controller.get().busy

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Starts on the first frame that is not there."""
        scumble = controller.get()
        try:
            if sentence := preferences.online_refusal(context):
                raise Refused(sentence)
            scumble.restyle(_plan(context), preferences.get(context).to_server())
        except BridgeError as error:
            return refuse(self, str(error))
        if not (self.wait or bpy.app.background):
            main_thread.hurry()
            return {"FINISHED"}
        main_thread.wait()
        if scumble.status.error:
            self.report({"ERROR"}, scumble.status.error)
            return {"CANCELLED"}
        self.report({"INFO"}, scumble.status.note)
        return {"FINISHED"}


def _plan(context: bpy.types.Context) -> frames.Plan:
    scene, settings = context.scene, context.scene.scumble
    if not settings.prompt.strip():
        raise Refused("Type a prompt first: what should the frames become?")
    if settings.frames_from == "FILES" and scene.render.is_movie_format:
        raise Refused("The scene's Output is a movie: choose an image format, or Render Each.")
    if settings.frames_from == "RENDER" and scene.camera is None:
        raise Refused("The scene has no camera to render from: add one.")
    if settings.frames_folder.startswith("//") and not bpy.data.filepath:
        raise Refused(
            "The folder lies beside the file, which was never saved: save it, or choose another folder."
        )
    plan = frames.Plan(
        folder=Path(bpy.path.abspath(settings.frames_folder)),
        frames=tuple(range(scene.frame_start, scene.frame_end + 1, scene.frame_step)),
        frames_from=settings.frames_from,
        seed=settings.new_seed(),
        seed_policy=settings.frames_seed,
        prompt=settings.prompt.strip(),
        strength=settings.restyle_strength,
        control=settings.control.lower(),
        options=settings.to_options(count=1),
    )
    plan = frames.opened(
        plan, overwrite=settings.frames_overwrite, seed_is_chosen=settings.lock_seed
    )
    settings.seed = plan.seed
    return plan
