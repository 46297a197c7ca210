"""Scumble for Blender: seamless textures and materials from a prompt, painted by a local server.

`operators/` is one operator a file, `host/` is the only room that touches Blender's data, `bridge/` talks to the
server and knows no bpy. The imports stand inside the functions so that `bridge` and `package` work without Blender.
"""


def register() -> None:
    """Called by Blender when the add-on is enabled."""
    from . import registration

    registration.register()


def unregister() -> None:
    """Called by Blender when the add-on is disabled, and when Blender quits: leaves no class, timer or thread."""
    from . import registration

    registration.unregister()
