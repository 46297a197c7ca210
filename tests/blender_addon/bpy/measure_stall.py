"""How long Blender's main thread is busy with the add-on's own steps: prints a table. Run by hand:

    SCUMBLE_TEST_EXTENSION=... PYTHON -m tests.blender_addon.bpy.measure_stall

Reading is what a button costs, laying what a result costs, the undo step what Blender takes to remember it. A result
that is written into its image comes in steps: keep what was there, pack what is new, let go of the old pixels; those of
floats have a tick each. The median of 7, in ms of the thread's own processor time, so that other programs do not count;
without a window.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.blender_addon.bpy.conftest import (
    addon,
    bpy,
)  # bpy must not load before the profile is set

ROUNDS = 7
PAUSE = float(os.environ.get("SCUMBLE_STALL_PAUSE", "0"))
"""s between rounds; from 12 on, Blender's allocator has given back what it held, as in a session with an artist."""
SIDES = tuple(
    int(side) for side in os.environ.get("SCUMBLE_STALL_SIDES", "1024,2048,4096").split(",")
)
COLUMNS = (
    "side, px", "read bytes", "read float", "new bytes", "new float", "new half float", "keep bytes", "into bytes",
    "show bytes", "keep float", "into float", "show float", "undo step", "preview", "tick without news",
)  # fmt: skip


def typical(step: Callable[[], Any], undo: Callable[[Any], None] = lambda _: None) -> float:
    """Milliseconds."""
    found = []
    for _ in range(ROUNDS):
        begun = time.thread_time()
        result = step()
        found.append(time.thread_time() - begun)
        undo(result)
        time.sleep(PAUSE)
    return statistics.median(found) * 1000


def picture_of(side: int, *, is_float: bool, half: bool = False) -> tuple[Any, Any]:
    """An image of noise, which does not compress, and a result that replaces all of it."""
    noise = np.random.default_rng(1).random(side * side * 4, np.float32)
    if half:
        noise = noise.astype(np.float16).astype(np.float32)
    image = bpy.data.images.new("x", side, side, alpha=True, float_buffer=is_float)
    image.pixels.foreach_set(noise)
    source = addon("host.images").read_source(image)
    wire = source.to_wire()
    return image, source.to_picture(wire, wire, seed=1, recipe={})


def read_again(image: Any, picture: Any) -> None:
    """Old pixels in Blender's memory, as before a result is written over them."""
    addon("host.images").show_written(image, picture)
    assert image.pixels[0] is not None


def row(side: int) -> list[float]:
    """The figures of one size."""
    images, remove = addon("host.images"), bpy.data.images.remove
    found: dict[str, float] = {}
    for name, is_float, half in (
        ("bytes", False, False),
        ("float", True, False),
        ("half float", True, True),
    ):
        image, picture = picture_of(side, is_float=is_float, half=half)
        found[f"read {name}"] = typical(lambda image=image: images.read_source(image))
        found[f"new {name}"] = typical(
            lambda i=image, p=picture: images.create_like(i, p, "x"), remove
        )
        spare = np.ones(side * side * 4, np.float32)
        kept = addon("host.kept").Kept()
        found[f"keep {name}"] = typical(lambda i=image, k=kept, s=spare: k.keep(i, s))
        found[f"into {name}"] = typical(
            lambda i=image, p=picture: images.overwrite(i, p, "x"),
            lambda _, i=image, p=picture: read_again(i, p),
        )
        found[f"show {name}"] = typical(
            lambda i=image, p=picture: images.show_written(i, p), lambda _, i=image: i.pixels[0]
        )
        if name == "bytes":
            thumbnail = picture.thumbnail
            found["undo step"] = undo_step(lambda i=image, p=picture: images.create_like(i, p, "x"))
        for other in list(bpy.data.images):
            remove(other)
    previews = bpy.utils.previews.new()
    add = addon("host.preview")._add
    found["preview"] = typical(lambda: add(previews, "a", thumbnail), lambda _: previews.clear())
    bpy.utils.previews.remove(previews)
    found["tick without news"] = typical(addon("host.controller").get().pump)
    return [found[name] for name in COLUMNS[1:]]


def undo_step(lay: Callable[[], Any]) -> float:
    """What remembering one more image costs."""
    found = []
    for _ in range(ROUNDS):
        lay()
        begun = time.thread_time()
        addon("host.windows").push_undo("x")
        found.append(time.thread_time() - begun)
    return statistics.median(found) * 1000


def main() -> None:
    """One line a size."""
    print(f"Blender {bpy.app.version_string}; ms of the main thread")
    print("| " + " | ".join(COLUMNS) + " |")
    print("|---" * len(COLUMNS) + "|")
    for side in SIDES:
        print(f"| {side} | " + " | ".join(f"{value:.1f}" for value in row(side)) + " |", flush=True)


if __name__ == "__main__":
    main()
