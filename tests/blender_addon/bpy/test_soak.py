"""Memory, open files and threads stay flat while textures are painted and thrown away, all in one Blender.

A few rounds here; SCUMBLE_SOAK_ROUNDS=200 for the long run, which prints its figures (pytest -s).
"""

from __future__ import annotations

import ctypes
import gc
import os
import statistics
import sys
import threading
from pathlib import Path
from typing import Any

import bpy
import pytest

from tests.real_server import RealServer

from .conftest import addon

ROUNDS = int(os.environ.get("SCUMBLE_SOAK_ROUNDS", "16"))
WARM = 8
"""Rounds before the first measurement: caches, pools and imports fill up."""
MOST_MB = 12
"""What 100 of 200 rounds may add; one picture of each round, kept, would be 25 MB."""

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
    pytest.mark.timeout(3600),
]


def resident() -> float:
    """MB of memory in use; what the C library keeps for later is given back first."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def handles() -> tuple[int, int, int, int]:
    """Open files, threads of ours, images of the file, objects of Python."""
    ours = [t for t in threading.enumerate() if t.name.startswith("scumble-")]
    return len(os.listdir("/proc/self/fd")), len(ours), len(bpy.data.images), len(gc.get_objects())  # noqa: PTH208


def test_generate_and_discard(scumble: Any, server: RealServer) -> None:
    scumble.width = scumble.height = 128
    memory: list[float] = []
    opened: list[tuple[int, int, int, int]] = []
    for number in range(WARM + ROUNDS):
        scumble.count = 1 + number % 2
        assert bpy.ops.scumble.generate_texture() == {"FINISHED"}
        if scumble.count == 2:
            assert bpy.ops.scumble.discard_variations() == {"FINISHED"}
        else:
            name = addon("host.controller").get().last_images[0]
            bpy.data.images.remove(bpy.data.images[name])
        if number >= WARM:
            memory.append(resident())
            opened.append(handles())
    # Blender's allocator goes up and down by some MB: quarters are compared, not moments.
    first, last = (
        statistics.median(part)
        for part in (memory[ROUNDS // 4 : ROUNDS // 2], memory[ROUNDS * 3 // 4 :])
    )
    quarters = ", ".join(f"{value:.1f}" for value in memory[:: max(1, ROUNDS // 8)])
    print(
        f"Blender {bpy.app.version_string}, {ROUNDS} rounds: {first:.1f} MB in the second quarter, "
        f"{last:.1f} MB in the last, {max(memory):.1f} MB at most ({quarters}); "
        f"files, threads, images, objects {opened[0]} at first, {opened[-1]} at last"
    )
    assert last - first < MOST_MB, memory
    assert opened[-1][0] <= opened[0][0] + 2
    assert opened[-1][1:3] == opened[0][1:3]
    assert opened[-1][3] <= opened[0][3] + 100, "a list or dictionary of ours grows"
