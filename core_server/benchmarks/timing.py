"""Clocks and made-up pictures that several suites share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from scumble.client import Patch, Pixels


def timed(action: Callable[[], Any]) -> float:
    """Seconds that `action` takes, by a clock that never jumps."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def noise_picture(seed: int, width: int, height: int, channels: int = 4) -> Pixels:
    """8-bit noise, opaque: no two seeds alike, nothing to compress, nothing stored before."""
    from scumble.client import Pixels  # noqa: PLC0415

    array = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    array[..., 3:] = 255
    return Pixels.from_numpy(array)


def only(patches: list[Patch]) -> Patch:
    """The one picture of a result."""
    [patch] = patches
    return patch
