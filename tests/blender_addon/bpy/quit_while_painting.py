"""Starts a long generation in a Blender of its own and leaves. Run by test_quit.py."""

import os
import sys
import tempfile
import time

os.environ["BLENDER_USER_RESOURCES"] = tempfile.mkdtemp()

import bpy

bpy.ops.extensions.package_install_files(
    filepath=os.environ["SCUMBLE_TEST_EXTENSION"],
    repo="user_default",
    enable_on_install=True,
    overwrite=True,
)
MODULE = "bl_ext.user_default.scumble"
controller = sys.modules[f"{MODULE}.host.controller"].get()
materials = sys.modules[f"{MODULE}.host.materials"]
server = bpy.context.preferences.addons[MODULE].preferences.to_server()
settings = bpy.context.scene.scumble
settings.prompt, settings.num_inference_steps = "bricks", 1000
controller.generate(server, settings.to_request(), materials.destination(bpy.context, "MATERIAL"))
deadline = time.monotonic() + 200
while controller.status.fraction == 0 and time.monotonic() < deadline:
    controller.pump()
    time.sleep(0.01)
print("painting", controller.status.fraction > 0)
