"""One operator a file, each named verb_object."""

import bpy

from .cancel_generation import SCUMBLE_OT_cancel_generation
from .check_server import SCUMBLE_OT_check_server
from .generate_texture import SCUMBLE_OT_generate_texture
from .start_server import SCUMBLE_OT_start_server
from .stop_server import SCUMBLE_OT_stop_server

_CLASSES = (
    SCUMBLE_OT_generate_texture,
    SCUMBLE_OT_cancel_generation,
    SCUMBLE_OT_check_server,
    SCUMBLE_OT_start_server,
    SCUMBLE_OT_stop_server,
)


def register() -> None:
    for cls in _CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
