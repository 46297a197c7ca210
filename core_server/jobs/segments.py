"""Shared memory for the pixels of one job. The gateway makes, owns and unlinks every segment; the worker attaches.

A job uses two: one for all its inputs, one for all its outputs. Their names follow from the data folder, which one
gateway owns at a time, so that a new gateway can sweep what a killed one left, also where segments cannot be listed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterable, Sequence
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import numpy as np

from core_server.canvas.pixels import Pixels
from core_server.errors import OutOfMemory
from core_server.jobs.messages import PlacedPixels

_ALIGN = 64
_INPUT, _OUTPUT = "in", "out"


class Segments:
    """The names of one data folder's segments."""

    def __init__(self, data_dir: Path) -> None:
        digest = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:12]
        # Windows frees a segment with its last handle, so there is nothing to sweep, but a dying worker
        # may still hold the name. macOS allows 31 characters.
        unique = f"_{os.getpid()}" if sys.platform == "win32" else ""
        self._prefix = f"scumble_{digest}{unique}_"

    def sweep(self) -> None:
        """Removes what a killed gateway left behind."""
        for purpose in (_INPUT, _OUTPUT):
            try:
                stale = SharedMemory(self._prefix + purpose)
            except OSError:
                continue
            release(stale)

    def for_input(self, size: int) -> SharedMemory:
        """A new segment of at least `size` bytes. Errors: OutOfMemory."""
        return self._create(_INPUT, size)

    def for_output(self, size: int) -> SharedMemory:
        """A new segment of at least `size` bytes. Errors: OutOfMemory."""
        return self._create(_OUTPUT, size)

    def _create(self, purpose: str, size: int) -> SharedMemory:
        _check_room(size)
        try:
            return SharedMemory(self._prefix + purpose, create=True, size=max(size, 1))
        except OSError as error:
            raise OutOfMemory(
                f"No shared memory of {size >> 20} MiB could be had ({error.strerror}); free some memory and try again."
            ) from error


def release(segment: SharedMemory) -> None:
    """Unlinks and unmaps a segment of ours."""
    segment.unlink()
    with contextlib.suppress(
        BufferError
    ):  # a thread still copies: it is unmapped when that has ended
        segment.close()


def size_of(images: Iterable[Pixels]) -> int:
    """Bytes that `pack` needs."""
    return sum(_aligned(pixels.array.nbytes) for pixels in images)


def pack(segment: SharedMemory, images: Sequence[Pixels]) -> list[PlacedPixels]:
    """Copies pixels into a segment, one after the other."""
    placed, offset = [], 0
    for pixels in images:
        array = pixels.array
        target = np.ndarray(array.shape, array.dtype, buffer=segment.buf, offset=offset)
        np.copyto(target, array)
        del target  # a view that outlives this would keep the segment from closing
        height, width, channels = array.shape
        placed.append(
            PlacedPixels(
                offset=offset,
                shape=(height, width, channels),
                dtype=array.dtype.name,
                color_space=pixels.color_space,
                icc_profile=pixels.icc_profile,
            )
        )
        offset += _aligned(array.nbytes)
    return placed


def unpack(segment: SharedMemory, placed: PlacedPixels) -> Pixels:
    """Copies pixels out of a segment; the array owns its memory."""
    view = np.ndarray(placed.shape, placed.dtype, buffer=segment.buf, offset=placed.offset)
    return Pixels(view.copy(), placed.color_space, placed.icc_profile)


def _aligned(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def _check_room(size: int) -> None:
    """Linux lets a segment be made larger than /dev/shm and kills whoever writes to it."""
    if sys.platform != "linux":
        return
    room = os.statvfs("/dev/shm")  # noqa: S108
    free = room.f_bavail * room.f_frsize
    if size > free:
        raise OutOfMemory(
            f"The pictures need {size >> 20} MiB of shared memory and /dev/shm has {free >> 20} MiB left; "
            "make it larger (in a container: --shm-size)."
        )
