"""Seamless tiles: convolutions that read across the border, for the time of one call.

Source: the circular-padding trick for convolutional denoisers and autoencoders; both need it, the decoder most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from core_server.canvas.plan import SeamlessAxes, wraps
from core_server.pipelines.overrides import Overrides


@contextmanager
def seamless(axes: SeamlessAxes, *modules: nn.Module) -> Iterator[None]:
    """Within the context every convolution of `modules` that pads does so circularly along `axes`.

    Conv2d, the causal Conv3d of video autoencoders (rows and columns, not time) and the padding that blocks which halve
    the size add themselves. Afterwards nothing is left of it.
    """
    if axes is SeamlessAxes.NONE:
        yield
        return
    rows, columns = wraps(axes, 0), wraps(axes, 1)
    overrides = Overrides()
    for root in modules:
        for module in root.modules():
            if isinstance(module, nn.Conv2d):
                overrides.add(module, "_conv_forward", CircularConv(module, rows, columns))
            elif isinstance(module, nn.ZeroPad2d):
                overrides.add(module, "forward", _circular_zero_pad(module, rows, columns))
            elif _is_causal_conv(module):
                overrides.add(module, "forward", _circular_causal_conv(module, rows, columns))
            elif _pads_itself(module):
                overrides.add(module, "forward", _circular_downsample(module, rows, columns))
    try:
        overrides.put_on()
        yield
    finally:
        overrides.take_off()


class CircularConv:
    """A convolution's `_conv_forward` that reads across the border. rows, columns: whether those wrap."""

    def __init__(self, module: nn.Conv2d, rows: bool, columns: bool) -> None:
        self._module = module
        self._rows, self._columns = rows, columns
        self._height, self._width = (int(side) for side in module.padding)

    def __call__(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        module = self._module
        x = _pad(x, (self._width, self._width, 0, 0), self._columns)
        x = _pad(x, (0, 0, self._height, self._height), self._rows)
        return functional.conv2d(x, weight, bias, module.stride, 0, module.dilation, module.groups)

    def wrapped(self, x: torch.Tensor) -> tuple[torch.Tensor, tuple[int, int]]:
        """What wraps around stands beside the picture, and the (rows, columns) of zeros that are still to be added.

        x: (batch, channels, height, width); the result is in memory as x is, channels last if x is.
        """
        down, across = self._height * self._rows, self._width * self._columns
        if across:
            x = torch.cat([x[..., -across:], x, x[..., :across]], dim=-1)
        if down:
            x = torch.cat([x[..., -down:, :], x, x[..., :down, :]], dim=-2)
        return x, (self._height - down, self._width - across)


def _circular_zero_pad(
    module: nn.ZeroPad2d, rows: bool, columns: bool
) -> Callable[[torch.Tensor], torch.Tensor]:
    def forward(x: torch.Tensor) -> torch.Tensor:
        left, right, top, bottom = module.padding
        return _pad(_pad(x, (left, right, 0, 0), columns), (0, 0, top, bottom), rows)

    return forward


def _is_causal_conv(module: nn.Module) -> bool:
    # The video autoencoders pad before their Conv3d: rows and columns on both sides, time on the past's side alone.
    return isinstance(module, nn.Conv3d) and len(getattr(module, "_padding", ())) == 6


def _circular_causal_conv(module: Any, rows: bool, columns: bool) -> Callable[..., torch.Tensor]:
    left, right, top, bottom, past, _ = module._padding

    def forward(x: torch.Tensor, cache_x: torch.Tensor | None = None) -> torch.Tensor:
        needed = past
        if cache_x is not None and past > 0:
            x = torch.cat([cache_x.to(x.device), x], dim=2)
            needed -= cache_x.shape[2]
        frames = x.shape[2]
        flat = x.transpose(1, 2).flatten(0, 1)
        flat = _pad(_pad(flat, (left, right, 0, 0), columns), (0, 0, top, bottom), rows)
        x = flat.reshape(-1, frames, *flat.shape[1:]).transpose(1, 2)
        return nn.Conv3d.forward(module, functional.pad(x, (0, 0, 0, 0, needed, 0)))

    return forward


def _pads_itself(module: nn.Module) -> bool:
    # The autoencoder's Downsample2D adds one row and column of zeros before a convolution without padding.
    return (
        type(module).__name__ == "Downsample2D"
        and bool(getattr(module, "use_conv", False))
        and getattr(module, "padding", None) == 0
        and getattr(module, "norm", None) is None
    )


def _circular_downsample(module: Any, rows: bool, columns: bool) -> Callable[..., torch.Tensor]:
    def forward(hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        x = _pad(hidden_states, (0, 1, 0, 0), columns)
        result: torch.Tensor = module.conv(_pad(x, (0, 0, 0, 1), rows))
        return result

    return forward


def _pad(x: torch.Tensor, widths: tuple[int, int, int, int], circular: bool) -> torch.Tensor:
    if not any(widths):
        return x
    return functional.pad(x, widths, mode="circular" if circular else "constant")
