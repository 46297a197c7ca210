"""Shared memory for the pixels of one job. The gateway makes, owns and unlinks every segment; the worker attaches.

A job uses two: one for inputs that are in no file, one for its results. They serve the next job too, because fresh
pages cost more than copying does; results on their way to disk stay where they are, and the next job gets another
segment. Their names follow from the data folder, which one gateway owns at a time, so that a new gateway can sweep what
a killed one left, also where segments cannot be listed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import numpy as np

from core_server.canvas.pixels import Pixels
from core_server.config import MIB
from core_server.errors import OutOfMemory
from core_server.jobs.messages import PlacedPixels

_ALIGN = 64
_KEEP_BYTES = 64 * MIB
_ROUND_BYTES = 1 * MIB
_INPUT, _OUTPUT = "in", "out"
SLOTS = 2
"""Frames of live sessions that may be under way at once, each with two segments; jobs use the first input."""
OUTPUTS = SLOTS + 2
"""Pictures of frames: those of the frames under way, and those on their way to clients; what comes behind is copied."""
_RESULTS = ("res0", "res1", "res2")
"""One that the worker fills, and two on their way to disk; what comes behind them is copied."""


def _purposes() -> Iterator[str]:
    for kind, count in ((_INPUT, SLOTS), (_OUTPUT, OUTPUTS)):
        yield from (f"{kind}{slot or ''}" for slot in range(count))
    yield from _RESULTS


class Segments:
    """The segments of one data folder. Used by one thread; what is lent may come back on any."""

    def __init__(self, data_dir: Path) -> None:
        digest = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:12]
        # Windows frees a segment with its last handle, so there is nothing to sweep, but a dying worker
        # may still hold the name. macOS allows 31 characters.
        unique = f"_{os.getpid()}" if sys.platform == "win32" else ""
        self._prefix = f"scumble_{digest}{unique}_"
        self._made: dict[str, SharedMemory] = {}
        self._nameless: list[SharedMemory] = []
        self._lent: Counter[str] = Counter()
        self._keep = _KEEP_BYTES
        self._lock = threading.RLock()  # the last view of a result may go while it is held
        self.made = 0
        """How many there were so far."""

    def sweep(self) -> None:
        """Removes what a killed gateway left behind."""
        for purpose in _purposes():
            try:
                stale = SharedMemory(self._prefix + purpose)
            except OSError:
                continue
            _release(stale)

    def for_input(self, size: int, slot: int = 0) -> SharedMemory:
        """The segment of at least `size` bytes for the next job's inputs. Errors: OutOfMemory."""
        return self._get(f"{_INPUT}{slot or ''}", size)

    def for_output(self, size: int, slot: int = 0) -> SharedMemory:
        """The segment of at least `size` bytes for a frame's picture. Errors: OutOfMemory."""
        return self._get(f"{_OUTPUT}{slot or ''}", size)

    def free_outputs(self) -> list[int]:
        """The slots of frames' pictures that nobody has a picture from."""
        return [slot for slot in range(OUTPUTS) if not self._lent[f"{_OUTPUT}{slot or ''}"]]

    def take_output(self, segment: SharedMemory, placed: PlacedPixels) -> Pixels:
        """A frame's picture where it is, as `lender` gives results; a copy where the frames to come need its place."""
        if len(self.free_outputs()) <= SLOTS:
            return unpack(segment, placed)
        return self._lend(self._purpose_of(segment), segment, placed)

    def for_result(self, size: int) -> SharedMemory:
        """A segment of at least `size` bytes for the running job's results. Errors: OutOfMemory."""
        with self._lock:
            free = [purpose for purpose in _RESULTS if not self._lent[purpose]]
            there = [purpose for purpose in free if purpose in self._made]
            fitting = [purpose for purpose in there if self._made[purpose].size >= size]
            return self._get((fitting or there or free)[0], size)

    def lender(self, segment: SharedMemory) -> Callable[[PlacedPixels], Pixels] | None:
        """Gives results where they are: their segment is kept for them as long as anybody has one of them.

        None where it will be needed before: then they are to be copied (`unpack`).
        """
        purpose = self._purpose_of(segment)
        lent = sum(self._lent[purpose] > 0 for purpose in _RESULTS)
        if lent >= len(_RESULTS) - 1 or _room() < segment.size:
            return None
        return lambda placed: self._lend(purpose, segment, placed)

    def shrink(self, keep: int = _KEEP_BYTES) -> None:
        """Gives back what is larger than `keep` bytes, and lent ones when they come back; call it when no job runs.

        With 0, at the end, lent ones lose their names at once: whoever has a view of them keeps it.
        """
        with self._lock:
            self._keep = keep
            for purpose, segment in list(self._made.items()):
                if segment.size > keep and not self._lent[purpose]:
                    _release(self._made.pop(purpose))
                elif not keep:
                    segment.unlink()
                    self._nameless.append(self._made.pop(purpose))

    def _purpose_of(self, segment: SharedMemory) -> str:
        return segment.name.removeprefix("/").removeprefix(self._prefix)

    def _lend(self, purpose: str, segment: SharedMemory, placed: PlacedPixels) -> Pixels:
        array = np.ndarray(placed.shape, placed.dtype, buffer=segment.buf, offset=placed.offset)
        array.flags.writeable = False
        with self._lock:
            self._lent[purpose] += 1
        weakref.finalize(array, self._returned, purpose).atexit = False
        return Pixels(array, placed.color_space, placed.icc_profile)

    def _returned(self, purpose: str) -> None:
        """On whatever thread the last one let go of it."""
        with self._lock:
            self._lent[purpose] -= 1
            segment = self._made.get(purpose)
            if segment is not None and not self._lent[purpose] and segment.size > self._keep:
                _release(self._made.pop(purpose))

    def _get(self, purpose: str, size: int) -> SharedMemory:
        made = self._made.get(purpose)
        if made is not None:
            if made.size >= size:
                return made
            _release(self._made.pop(purpose))
        wanted = max(-(-size // _ROUND_BYTES), 1) * _ROUND_BYTES
        _check_room(wanted)
        try:
            made = SharedMemory(self._prefix + purpose, create=True, size=wanted)
        except OSError as error:
            raise OutOfMemory(
                f"No shared memory of {size // MIB} MiB could be had ({error.strerror}); "
                "free some memory and try again."
            ) from error
        self._made[purpose] = made
        self.made += 1
        return made


class Attached:
    """The worker's side between two jobs or frames: to map a segment anew costs more than to copy what is in it.

    On Windows a segment lives, with its name, as long as anybody has it, so nothing is kept there.
    """

    def __init__(self) -> None:
        self._kept: dict[str, SharedMemory] = {}
        self.made = -1

    def get(self, name: str, made: int) -> SharedMemory:
        """The segment of that name while `made` were made; valid until the job or frame has ended."""
        if made != self.made:
            self.drop()
            self.made = made
        if name not in self._kept:
            self._kept[name] = SharedMemory(name)
        return self._kept[name]

    def frame_ended(self) -> None:
        """Lets go of what must not be kept."""
        if sys.platform == "win32":
            self.drop()

    def job_ended(self) -> None:
        """Lets go of what must not be kept, and of what the gateway does not keep either."""
        self.frame_ended()
        if any(segment.size > _KEEP_BYTES for segment in self._kept.values()):
            self.drop()

    def drop(self) -> None:
        """Lets go of all of them."""
        while self._kept:
            _, segment = self._kept.popitem()
            with contextlib.suppress(
                BufferError
            ):  # somebody still looks at it, and unmaps it after
                segment.close()


def _release(segment: SharedMemory) -> None:
    """Unlinks and unmaps."""
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


def seen(segment: SharedMemory, placed: PlacedPixels) -> Pixels:
    """Pixels as they lie in a segment: good until somebody writes to it."""
    view = np.ndarray(placed.shape, placed.dtype, buffer=segment.buf, offset=placed.offset)
    return Pixels(view, placed.color_space, placed.icc_profile)


def unpack(segment: SharedMemory, placed: PlacedPixels) -> Pixels:
    """Copies pixels out of a segment; the array owns its memory."""
    view = np.ndarray(placed.shape, placed.dtype, buffer=segment.buf, offset=placed.offset)
    return Pixels(view.copy(), placed.color_space, placed.icc_profile)


def _aligned(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def _room() -> int:
    """Bytes of shared memory that can still be made."""
    if sys.platform != "linux":
        return sys.maxsize
    room = os.statvfs("/dev/shm")  # noqa: S108
    return room.f_bavail * room.f_frsize


def _check_room(size: int) -> None:
    """Linux lets a segment be made larger than /dev/shm and kills whoever writes to it."""
    free = _room()
    if size > free:
        raise OutOfMemory(
            f"The pictures need {size // MIB} MiB of shared memory and /dev/shm has {free // MIB} MiB left; "
            "make it larger (in a container: --shm-size)."
        )
