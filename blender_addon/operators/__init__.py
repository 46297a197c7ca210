"""One operator a file, each named verb_object; what belongs together shares one."""

import bpy

from .cancel_generation import SCUMBLE_OT_cancel_generation
from .check_server import SCUMBLE_OT_check_server
from .free_memory import SCUMBLE_OT_free_memory
from .generate_texture import SCUMBLE_OT_generate_texture
from .live import (
    SCUMBLE_OT_keep_live,
    SCUMBLE_OT_start_live,
    SCUMBLE_OT_stop_live,
    SCUMBLE_OT_update_live,
)
from .loras import SCUMBLE_OT_add_lora, SCUMBLE_OT_remove_lora
from .make_maps import SCUMBLE_OT_make_maps
from .paint_mask import SCUMBLE_OT_clear_mask, SCUMBLE_OT_paint_mask
from .project_view import SCUMBLE_OT_project_view
from .repaint_image import SCUMBLE_OT_repaint_image
from .restyle import SCUMBLE_OT_restyle_animation, SCUMBLE_OT_restyle_render
from .revert_image import SCUMBLE_OT_revert_image
from .start_server import SCUMBLE_OT_start_server
from .stop_server import SCUMBLE_OT_stop_server
from .tell import SCUMBLE_OT_tell
from .upscale_image import SCUMBLE_OT_upscale_image
from .use_image import SCUMBLE_OT_mark_asset, SCUMBLE_OT_use_image
from .use_recipe import SCUMBLE_OT_generate_again, SCUMBLE_OT_use_recipe
from .variations import (
    SCUMBLE_OT_accept_variation,
    SCUMBLE_OT_choose_variation,
    SCUMBLE_OT_discard_variations,
)

_CLASSES = (
    SCUMBLE_OT_generate_texture,
    SCUMBLE_OT_repaint_image,
    SCUMBLE_OT_make_maps,
    SCUMBLE_OT_upscale_image,
    SCUMBLE_OT_project_view,
    SCUMBLE_OT_restyle_render,
    SCUMBLE_OT_restyle_animation,
    SCUMBLE_OT_start_live,
    SCUMBLE_OT_stop_live,
    SCUMBLE_OT_update_live,
    SCUMBLE_OT_keep_live,
    SCUMBLE_OT_generate_again,
    SCUMBLE_OT_use_recipe,
    SCUMBLE_OT_use_image,
    SCUMBLE_OT_mark_asset,
    SCUMBLE_OT_paint_mask,
    SCUMBLE_OT_clear_mask,
    SCUMBLE_OT_revert_image,
    SCUMBLE_OT_choose_variation,
    SCUMBLE_OT_accept_variation,
    SCUMBLE_OT_discard_variations,
    SCUMBLE_OT_add_lora,
    SCUMBLE_OT_remove_lora,
    SCUMBLE_OT_cancel_generation,
    SCUMBLE_OT_check_server,
    SCUMBLE_OT_free_memory,
    SCUMBLE_OT_start_server,
    SCUMBLE_OT_stop_server,
    SCUMBLE_OT_tell,
)


def register() -> None:
    for cls in _CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
