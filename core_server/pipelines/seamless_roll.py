"""Seamless tiles for transformers: the denoiser sees the picture shifted around by another amount at each step.

A transformer knows absolute positions, so it paints a border wherever it is shown one. Shown another place as the
border at each step, no place stays one: D'(x) = unroll(D(roll(x))). What lies over the latents (masks, masked
pictures, references of the same size) is rolled along, so this holds for every task. The autoencoder's convolutions
wrap (`pipelines.seamless`), and so do those that a denoiser has.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from core_server.canvas.geometry import Extent
from core_server.canvas.plan import SeamlessAxes, wraps
from core_server.pipelines.overrides import called_by

# The plastic number's powers: steps of an additive sequence that fills a square evenly (M. Roberts, "The Unreasonable
# Effectiveness of Quasirandom Sequences"), so that no two steps near each other have their border at the same place.
_STEPS = (0.7548776662466927, 0.5698402909980532)


@contextmanager
def rolled_denoiser(denoiser: nn.Module, roller: Roller) -> Iterator[None]:
    """Within the context `denoiser` sees its latents rolled; afterwards nothing is left of it."""
    if roller.axes is SeamlessAxes.NONE:
        yield
        return
    original, cells = denoiser.forward, roller.cells

    def forward(*args: Any, **kwargs: Any) -> Any:
        shift = roller.turn(_timestep(args, kwargs))
        if args:
            args = (_rolled(args[0], cells, shift), *args[1:])
        elif "hidden_states" in kwargs:
            kwargs["hidden_states"] = _rolled(kwargs["hidden_states"], cells, shift)
        else:
            kwargs["x"] = _rolled(kwargs["x"], cells, shift)
        result = original(*args, **kwargs)
        back = (-shift[0], -shift[1])
        if isinstance(result, tuple):
            return (_rolled(result[0], cells, back), *result[1:])
        result.sample = _rolled(result.sample, cells, back)
        return result

    with called_by(denoiser, forward):
        yield


class Roller:
    """One shift for all calls of a step (with and without the prompt), another for the next step.

    cells: columns and rows of what the denoiser takes as its grid: of tokens where latents come as tokens, else of
    latents. shift: of the step at hand, (rows, columns).
    """

    def __init__(self, axes: SeamlessAxes, cells: Extent) -> None:
        self.axes, self.cells = axes, cells
        self.shift = (0, 0)
        self._rows = cells.height if wraps(axes, 0) else 0
        self._columns = cells.width if wraps(axes, 1) else 0
        self._count = 0
        self._last: float | None = None

    def turn(self, timestep: float) -> tuple[int, int]:
        """The shift of the step that begins at `timestep`."""
        if timestep != self._last:
            self._last = timestep
            self._count += 1
            self.shift = (
                int(self._rows * (self._count * _STEPS[0] % 1)),
                int(self._columns * (self._count * _STEPS[1] % 1)),
            )
        return self.shift

    def rolled(self, value: torch.Tensor, px: int = 1) -> torch.Tensor:
        """What lies over the latents, as the denoiser sees it in this step. px: cells of `value` a side of one."""
        if px == 1:
            found: torch.Tensor = _rolled(value, self.cells, self.shift)
            return found
        return torch.roll(value, (self.shift[0] * px, self.shift[1] * px), (-2, -1))


def _timestep(args: tuple[Any, ...], kwargs: dict[str, Any]) -> float:
    value = kwargs.get("timestep", kwargs.get("t", args[1] if len(args) > 1 else 0.0))
    return float(value.flatten()[0]) if isinstance(value, torch.Tensor) else float(value)


def _rolled(value: Any, cells: Extent, shift: tuple[int, int]) -> Any:
    if shift == (0, 0):
        return value
    if isinstance(value, list):
        return [_rolled(item, cells, shift) for item in value]
    if not isinstance(value, torch.Tensor):
        return value
    if value.shape[-2:] == (cells.height, cells.width):
        return torch.roll(value, shift, (-2, -1))
    return _rolled_tokens(value, cells, shift)


def _rolled_tokens(value: torch.Tensor, cells: Extent, shift: tuple[int, int]) -> torch.Tensor:
    # (batch, tokens, channels): the picture's own tokens come first, those of references follow; a reference of the
    # same size lies over the picture, and one of another size stays as it is.
    count = cells.width * cells.height
    batch, tokens, channels = value.shape
    whole = tokens // count if tokens % count == 0 else 1
    own = value[:, : whole * count].reshape(batch * whole, cells.height, cells.width, channels)
    own = torch.roll(own, shift, (1, 2)).reshape(batch, whole * count, channels)
    return torch.cat([own, value[:, whole * count :]], dim=1)
