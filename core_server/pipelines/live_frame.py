"""Live painting as the worker sees it: one frame in, one picture out. Free of torch.

Nothing is kept between two frames but caches, so that a worker that died is replaced by the next frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from core_server.canvas.geometry import Extent
from core_server.canvas.pixels import Pixels
from core_server.pipelines.request import Parameters

DEFAULT_LIVE_STEPS = 2
"""Where neither the request nor the model says."""


class LiveFrame(msgspec.Struct, frozen=True, kw_only=True):
    """How to paint one canvas.

    parameters: as for every task, but num_inference_steps are the steps really run. strength: above 0, at most 1.
    extent: size of the picture wanted, px; None: the canvas's own.
    """

    parameters: Parameters
    strength: float
    extent: Extent | None = None


class LiveTold(msgspec.Struct, frozen=True, kw_only=True):
    """What a picture was painted with. seconds: in the worker, from the canvas's samples to the picture's."""

    model: str
    num_inference_steps: int
    guidance_scale: float
    scheduler: str
    model_extent: Extent
    few_step: bool
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class LivePicture:
    """pixels: in the canvas's sample type, channels, colour space and alpha. ahead: whether the next frame is worth
    sending while this one is painted: the device takes it up at once, and a frame is over soon."""

    pixels: Pixels
    told: LiveTold
    ahead: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class LiveStarted:
    """A frame under way. finish: waits for it, on any thread; errors: as those of painting. on_device: whether there is
    something to wait for, so that the next frame may be begun before."""

    finish: Callable[[], LivePicture]
    on_device: bool = False
