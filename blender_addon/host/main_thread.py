"""The clock: a timer on Blender's main thread takes the bridge's events in. Headless it never fires; see `wait`."""

from __future__ import annotations

import os
import time
import traceback
from typing import Any

import bpy

from .. import preferences
from ..bridge.addresses import configured_address, is_loopback
from . import controller, live, windows

_BUSY_SECONDS = 0.1
_IDLE_SECONDS = 1.0
_LIVE_SECONDS = 0.05
_WAIT_SECONDS = 0.02


def _tick() -> float:
    """One turn of the clock: seconds to the next. An error here would end the timer, so it is shown instead."""
    scumble = controller.get()
    try:
        if scumble.wants_check and not preferences.online_refusal(bpy.context):
            scumble.check(preferences.get(bpy.context).to_server())
        told = scumble.status.error
        changed = scumble.pump()
        if scumble.live.wants_tick:
            changed |= scumble.live.tick(bpy.context.scene.scumble.to_live_wish())
        if changed:
            windows.redraw_panels()
        if scumble.status.error not in ("", told):
            windows.tell(scumble.status.error)
    except Exception as error:  # noqa: BLE001
        traceback.print_exc()
        scumble.status.fail(f"Something unexpected happened ({error}); the console has more.")
        windows.redraw_panels()
    if scumble.laying:
        return 0.0  # what else is to do for the result, as soon as Blender has taken the artist's events
    if scumble.live.wants_tick:
        return _LIVE_SECONDS
    return _BUSY_SECONDS if scumble.busy else _IDLE_SECONDS


def hurry() -> None:
    """Sets the clock to its quick pace; call it after starting something."""
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    bpy.app.timers.register(_tick, first_interval=_BUSY_SECONDS, persistent=True)


def wait() -> None:
    """Pumps until nothing is under way: for scripts and for Blender without a window.

    On Ctrl-C the generation is cancelled and KeyboardInterrupt goes on.
    """
    scumble = controller.get()
    try:
        while scumble.busy or scumble.session.checking:
            scumble.pump()
            time.sleep(_WAIT_SECONDS)
    except KeyboardInterrupt:
        scumble.cancel()
        raise


@bpy.app.handlers.persistent  # type: ignore[untyped-decorator]
def _before_load(*_: Any) -> None:
    controller.get().file_closes()


@bpy.app.handlers.persistent  # type: ignore[untyped-decorator]
def _before_render(*_: Any) -> None:
    """The graphics card is Blender's now, unless an animation is being restyled, which needs both in turn."""
    scumble, chosen = controller.get(), preferences.get(bpy.context)
    if chosen.free_on_render and not scumble.busy and scumble.status.server_reachable:
        server = chosen.to_server()
        if is_loopback(configured_address(server.address, os.environ)):
            scumble.session.free(server)


@bpy.app.handlers.persistent  # type: ignore[untyped-decorator]
def _after_load(*_: Any) -> None:
    live.clean_up()


def register() -> None:
    controller.start()
    bpy.app.handlers.load_pre.append(_before_load)
    bpy.app.handlers.load_post.append(_after_load)
    bpy.app.handlers.render_init.append(_before_render)
    bpy.app.timers.register(_tick, first_interval=_IDLE_SECONDS, persistent=True)


def unregister() -> None:
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    bpy.app.handlers.load_pre.remove(_before_load)
    bpy.app.handlers.load_post.remove(_after_load)
    bpy.app.handlers.render_init.remove(_before_render)
    controller.stop()
