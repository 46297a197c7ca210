"""Pictures that Blender rendered: the last render, a frame's file, the viewport; and the scene before the camera."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bpy
import numpy as np

from ..bridge.errors import Refused
from ..bridge.pictures import Source
from ..bridge.restyle import Drawn, RenderFile, Scene
from . import images, subject

_RESULT = "Render Result"


def last_render(context: bpy.types.Context) -> RenderFile:
    """The last render as it is displayed, with the scene's view transform. Raises Refused where there is none.

    Blender gives its pixels to nobody, but writes them: uncompressed, so that nothing is encoded here.
    """
    result = bpy.data.images.get(_RESULT)
    missing = "There is no render: press F12 first, or choose Viewport."
    if result is None:
        raise Refused(missing)
    path = Path(tempfile.mkdtemp(prefix="scumble-render-")) / "render.tga"
    with _targa(context.scene):
        try:
            result.save_render(str(path), scene=context.scene)
        except RuntimeError as error:
            path.parent.rmdir()
            raise Refused(missing) from error
    if not path.is_file():
        path.parent.rmdir()
        raise Refused(missing)
    return RenderFile(path, opaque=not context.scene.render.film_transparent)


def frame_file(path: Path) -> Source:
    """A rendered frame. Raises Refused where it is missing or no picture."""
    try:
        loaded = bpy.data.images.load(str(path), check_existing=False)
    except RuntimeError as error:
        raise Refused(f"The frame {path} is not there: render the animation first.") from error
    try:
        return images.read_source(loaded)
    finally:
        bpy.data.images.remove(loaded)


def viewport(context: bpy.types.Context) -> Drawn:
    """What the 3D viewport shows, without overlays. Raises Refused where there is none."""
    area = subject.viewport_area(context)
    if bpy.app.background:
        raise Refused("Without a window there is no viewport to draw: choose Last Render.")
    import gpu

    region = next(r for r in area.regions if r.type == "WINDOW")
    space = area.spaces.active
    view = space.region_3d
    overlays = space.overlay.show_overlays
    offscreen = gpu.types.GPUOffScreen(region.width, region.height)
    space.overlay.show_overlays = False
    try:
        offscreen.draw_view3d(
            context.scene,
            context.view_layer,
            space,
            region,
            view.view_matrix,
            view.window_matrix,
            do_color_management=True,
        )
        with offscreen.bind():
            buffer = gpu.state.active_framebuffer_get().read_color(
                0, 0, region.width, region.height, 4, 0, "UBYTE"
            )
        return Drawn(np.array(buffer, np.uint8).reshape(region.height, region.width, 4))
    finally:
        space.overlay.show_overlays = overlays
        offscreen.free()


def scene_before(context: bpy.types.Context, source: str) -> Scene:
    """The scene for depth and normals, as it is now. source: CAMERA or VIEWPORT. Raises Refused."""
    render = context.scene.render
    if source == "CAMERA" and render.use_border and render.use_crop_to_border:
        raise Refused(
            "The render is cropped to its Render Region: switch Crop to Render Region off, or set Control to None."
        )
    (view,) = subject.views(context, source, 1024)
    return Scene(subject.gather(context, None, None), view)


@contextmanager
def _targa(scene: bpy.types.Scene) -> Iterator[None]:
    """The scene's output settings are Targa for a moment."""
    output = scene.render.image_settings
    names = ("media_type", "file_format", "color_mode", "color_depth")
    before = {name: getattr(output, name) for name in names if hasattr(output, name)}
    if "media_type" in before:  # since 5.0
        output.media_type = "IMAGE"
    output.file_format, output.color_mode = "TARGA_RAW", "RGBA"
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(output, name, value)
