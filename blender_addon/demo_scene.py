"""Shows the add-on at work, without a window: a seamless material for two objects, and a picture of them.

    BPY_PYTHON blender_addon/demo_scene.py --extension scumble.zip --out DIR [--prompt TEXT] [--seed N] ...

Runs under an interpreter that has `bpy` and nothing of ours: it installs the extension's zip into a fresh Blender
profile and calls the operator that the panel's button calls. The server is found as any client finds it
(SCUMBLE_SERVER and SCUMBLE_TOKEN, else the data folder). Writes `texture.png`, `render.png` and `material.blend` and
prints one line of JSON about them. Not part of the extension.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MODULE = "bl_ext.user_default.scumble"
FLOOR_REPEATS = 8


def main() -> int:
    """The command line. Exit status 1, with one line of reason, where the picture could not be made."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--extension", type=Path, required=True, help="the zip that package.py built"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--prompt", default="weathered red bricks with grey mortar")
    parser.add_argument("--negative-prompt", default="")
    parser.add_argument("--size", type=int, default=512, help="of the texture, px")
    parser.add_argument("--num-inference-steps", type=int, default=0, help="0: the model's own")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--render-size", type=int, nargs=2, default=(640, 480), metavar=("W", "H"))
    parser.add_argument("--samples", type=int, default=24, help="of Cycles")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="scumble-demo-") as profile:
        # Before bpy is imported: the user's own Blender takes no part.
        os.environ["BLENDER_USER_RESOURCES"] = profile
        import bpy

        try:
            report = make(bpy, chosen)
        except RuntimeError as error:  # what an operator's error report becomes
            print(str(error).strip().removeprefix("Error: "), file=sys.stderr)  # noqa: T201
            return 1
    print(json.dumps(report))  # noqa: T201
    return 0


def make(bpy: Any, chosen: argparse.Namespace) -> dict[str, Any]:
    """Installs, generates, renders. Raises RuntimeError with a sentence."""
    bpy.ops.extensions.package_install_files(
        filepath=str(chosen.extension.resolve()),
        repo="user_default",
        enable_on_install=True,
        overwrite=True,
    )
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True, load_ui=False)
    block = rounded_cube(bpy)
    settings = bpy.context.scene.scumble
    settings.prompt, settings.negative_prompt = chosen.prompt, chosen.negative_prompt
    settings.width = settings.height = chosen.size
    settings.num_inference_steps = chosen.num_inference_steps
    settings.seamless = "xy"
    settings.seed, settings.lock_seed = chosen.seed, True
    begun = time.monotonic()
    bpy.ops.scumble.generate_texture()
    painted = time.monotonic()

    material = block.active_material
    floor(bpy).data.materials.append(material)
    image = next(node.image for node in material.node_tree.nodes if node.type == "TEX_IMAGE")
    texture = chosen.out / "texture.png"
    texture.write_bytes(image.packed_file.data)
    stage(bpy)
    picture = chosen.out / "render.png"
    render(bpy, picture, chosen)
    rendered = time.monotonic()
    bpy.ops.wm.save_as_mainfile(filepath=str((chosen.out / "material.blend").resolve()))
    return {
        "texture": str(texture),
        "render": str(picture),
        "blend": str(chosen.out / "material.blend"),
        "prompt": chosen.prompt,
        "seed": int(image["scumble_seed"]),
        "recipe": json.loads(image["scumble_recipe"]),
        "generate_seconds": round(painted - begun, 2),
        "render_seconds": round(rendered - painted, 2),
    }


def rounded_cube(bpy: Any) -> Any:
    """A cube of 2 m with soft edges, turned a little; the active object."""
    bpy.ops.mesh.primitive_cube_add(size=2, location=(0, 0, 1), rotation=(0, 0, math.radians(32)))
    cube = bpy.context.active_object
    bevel = cube.modifiers.new("Bevel", "BEVEL")
    bevel.width, bevel.segments = 0.16, 6
    # The cube's UV map is a cross of quarters; give each side the whole tile, upright.
    mesh = cube.data
    for polygon in mesh.polygons:
        facing = max(range(3), key=lambda axis: abs(polygon.normal[axis]))
        across, up = ((1, 2), (0, 2), (0, 1))[facing]
        for loop in polygon.loop_indices:
            corner = mesh.vertices[mesh.loops[loop].vertex_index].co
            vector = ((corner[across] + 1) / 2, (corner[up] + 1) / 2)
            mesh.uv_layers.active.uv[loop].vector = vector
    bpy.ops.object.shade_smooth()
    return cube


def floor(bpy: Any) -> Any:
    """A plane on which the texture repeats: a seam would show here."""
    bpy.ops.mesh.primitive_plane_add(size=2 * FLOOR_REPEATS)
    plane = bpy.context.active_object
    for corner in plane.data.uv_layers.active.uv:
        corner.vector = corner.vector * FLOOR_REPEATS
    return plane


def stage(bpy: Any) -> None:
    """Camera, a warm key light and a pale sky."""
    scene = bpy.context.scene
    bpy.ops.object.camera_add(
        location=(4.9, -4.9, 3.9), rotation=(math.radians(65), 0, math.radians(45))
    )
    scene.camera = bpy.context.active_object
    scene.camera.data.lens = 46
    bpy.ops.object.light_add(type="AREA", location=(3.2, -1.2, 4.2))
    key = bpy.context.active_object
    key.rotation_euler = (math.radians(28), math.radians(36), 0)
    key.data.energy, key.data.size, key.data.color = 420, 2.5, (1, 0.93, 0.84)
    world = bpy.data.worlds.new("Sky")
    scene.world = world
    if world.node_tree is None:  # before Blender 5.0
        world.use_nodes = True
    background = world.node_tree.nodes["Background"]
    background.inputs["Color"].default_value = (0.62, 0.72, 0.85, 1)
    background.inputs["Strength"].default_value = 0.7


def render(bpy: Any, path: Path, chosen: argparse.Namespace) -> None:
    """A PNG by Cycles on the CPU."""
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.samples = chosen.samples
    scene.cycles.use_denoising = True
    scene.render.resolution_x, scene.render.resolution_y = chosen.render_size
    scene.render.resolution_percentage = 100
    settings = scene.render.image_settings
    if hasattr(settings, "media_type"):  # Blender 5.0 on
        settings.media_type = "IMAGE"
    settings.file_format, settings.color_mode = "PNG", "RGB"
    scene.render.filepath = str(path.resolve())
    bpy.ops.render.render(write_still=True)


if __name__ == "__main__":
    sys.exit(main())
