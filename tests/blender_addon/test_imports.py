"""Blender's main thread must not pay for grpc, and the bridge must not need Blender."""

import subprocess
import sys


def test_the_bridge_loads_without_bpy_and_before_grpc() -> None:
    program = (
        "import sys; import blender_addon.bridge.connector, blender_addon.bridge.status;"
        "print([name for name in ('bpy', 'grpc', 'google', 'scumble') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
