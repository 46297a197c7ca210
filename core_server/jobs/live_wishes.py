"""What a live session is asked for, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from core_server.canvas.geometry import Extent
from core_server.jobs.job import ImageEncoding, ImageHeader
from core_server.pipelines.live_frame import LiveFrame, LivePicture, LiveTold
from core_server.pipelines.request import Parameters

_PIECE_BYTES = 64 * 1024
_LASTING = ("parameters", "strength", "extent", "encoding", "skip_below", "header", "payload")


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveWish:
    """What the client wants painted. None: not said (yet); the value before stays.

    header, payload: the canvas as it came. extent: of the picture wanted. skip_below: see `is_like`. arrived:
    `time.monotonic`.
    """

    number: int = 0
    parameters: Parameters | None = None
    strength: float | None = None
    extent: Extent | None = None
    encoding: ImageEncoding | None = None
    skip_below: float | None = None
    header: ImageHeader | None = None
    payload: bytes | memoryview | None = None
    arrived: float = 0.0

    def after(self, earlier: LiveWish) -> LiveWish:
        """With what this one leaves open taken from an earlier one."""
        kept = {name: getattr(earlier, name) for name in _LASTING if getattr(self, name) is None}
        return replace(self, **kept)

    @property
    def frame(self) -> LiveFrame:
        """How to paint it, once all of that is said."""
        assert self.parameters is not None
        assert self.strength is not None
        return LiveFrame(parameters=self.parameters, strength=self.strength, extent=self.extent)

    def is_like(self, other: LiveWish | None) -> bool:
        """Whether both give the same picture, sample for sample; or nearly, where the mean difference of their samples
        is below `skip_below`, a share of full scale."""
        return other is not None and (
            (self.parameters, self.strength, self.extent, self.encoding, self.header)
            == (other.parameters, other.strength, other.extent, other.encoding, other.header)
            and (_is_same(self.payload, other.payload) or self._is_near(other))
        )

    def _is_near(self, other: LiveWish) -> bool:
        bound, header = self.skip_below, self.header
        if not bound or header is None or header.encoding is not ImageEncoding.RAW:
            return False
        if self.payload is None or other.payload is None or len(self.payload) != len(other.payload):
            return False
        dtype = np.dtype(header.dtype).newbyteorder("<")
        if len(self.payload) % dtype.itemsize:  # cut short, which is told of when it is painted
            return False
        one, two = (np.frombuffer(it, dtype) for it in (self.payload, other.payload))
        full = np.iinfo(dtype).max if dtype.kind == "u" else 1.0
        mean = (np.maximum(one, two) - np.minimum(one, two)).mean(dtype=np.float64)
        return bool(mean / full < bound)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveAnswer:
    """A picture (header and payload), skipped, or waiting with a message. Seconds since the frame arrived.

    told: what is painted with, at first and after each change. painting: seconds in the worker.
    """

    wish: LiveWish
    dropped: int
    rate: float
    seconds: float
    header: ImageHeader | None = None
    payload: bytes | memoryview | None = None
    painting: float = 0.0
    told: LiveTold | None = None
    skipped: bool = False
    message: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Painted:
    """A frame's picture, packed."""

    wish: LiveWish
    picture: LivePicture
    header: ImageHeader
    payload: bytes | memoryview


def _is_same(one: bytes | memoryview | None, other: bytes | memoryview | None) -> bool:
    """Whether two payloads have the same bytes; a piece at a time, since most that differ do so early."""
    if one is None or other is None or len(one) != len(other):
        return one is other
    ours, theirs = (np.frombuffer(it, np.uint8) for it in (one, other))
    return one is other or all(
        np.array_equal(ours[at : at + _PIECE_BYTES], theirs[at : at + _PIECE_BYTES])
        for at in range(0, len(ours), _PIECE_BYTES)
    )
