"""What is registered with Blender, in order; unregistering is the mirror image."""

from types import ModuleType

from . import interface, keymap, operators, preferences, presets, properties
from .host import main_thread

_MODULES: tuple[ModuleType, ...] = (
    preferences,
    properties,
    operators,
    presets,
    interface,
    keymap,
    main_thread,
)


def register() -> None:
    """Classes first, the timer that uses them last."""
    for module in _MODULES:
        module.register()


def unregister() -> None:
    """Stops the timer and the bridge first, then takes the classes away."""
    for module in reversed(_MODULES):
        module.unregister()
