"""How long Blender's main thread stands still for the add-on's own steps: prints a table. Run by hand:

    SCUMBLE_TEST_EXTENSION=... PYTHON -m tests.blender_addon.bpy.measure_stall

Reading is what a button costs, laying what a result costs. The fastest of 5, without a window.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.blender_addon.bpy.conftest import (
    addon,
    bpy,
)  # bpy must not load before the profile is set

ROUNDS = 5


def fastest(step: Callable[[], Any], undo: Callable[[Any], None] = lambda _: None) -> float:
    """Milliseconds."""
    best = float("inf")
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        result = step()
        best = min(best, time.perf_counter() - begun)
        undo(result)
    return best * 1000


def main() -> None:
    """One line a size."""
    images = addon("host.images")
    print(f"Blender {bpy.app.version_string}; ms on the main thread")
    print(
        "| side | read bytes | read float | new bytes | into bytes | new float | into float | tick without news |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for side in (1024, 2048, 4096):
        rng = np.random.default_rng(1)
        flat = np.rint(rng.random(side * side * 4, np.float32) * 255) / np.float32(255)
        row = []
        made: dict[bool, Any] = {}
        for is_float in (False, True):
            image = bpy.data.images.new("x", side, side, alpha=True, float_buffer=is_float)
            image.pixels.foreach_set(flat)
            row.append(fastest(lambda image=image: images.read_source(image)))
            source = images.read_source(image)
            wire = source.to_wire()
            made[is_float] = (image, source.to_picture(wire, wire, seed=1, recipe={}))
        for is_float in (False, True):
            image, picture = made[is_float]
            row.append(
                fastest(
                    lambda i=image, p=picture: images.create_like(i, p, "x"), bpy.data.images.remove
                )
            )
            row.append(fastest(lambda i=image, p=picture: images.overwrite(i, p, "x")))
            bpy.data.images.remove(image)
        row.append(fastest(addon("host.controller").get().pump))
        print(f"| {side} | " + " | ".join(f"{value:.1f}" for value in row) + " |", flush=True)


if __name__ == "__main__":
    main()
