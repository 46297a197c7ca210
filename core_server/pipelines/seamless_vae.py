"""Seamless tiles through an autoencoder, whole or in pieces.

A whole picture wraps in the autoencoder's convolutions (`pipelines.seamless`). One that is worked on in pieces cannot:
a piece would wrap onto itself. It is given a margin of what lies beyond the border, and the two versions of each
margin are faded into each other, so that the picture goes on across its border as it does inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from core_server.canvas.plan import SeamlessAxes, wraps
from core_server.pipelines.seamless import seamless

MARGIN = 16
"""Latents beyond the border; more than the reach of the decoder's convolutions that shows."""


@contextmanager
def seamless_vae(axes: SeamlessAxes, vae: Any, cell: int) -> Iterator[None]:
    """Within the context `vae` encodes and decodes tiles along `axes`. cell: px a side of one latent."""
    if axes is SeamlessAxes.NONE or not getattr(vae, "use_tiling", False):
        with seamless(axes, vae):
            yield
        return
    dims = [dim for dim, axis in ((-2, 0), (-1, 1)) if wraps(axes, axis)]
    encode, decode = vae.encode, vae.decode
    hidden = {name: vars(vae).get(name) for name in ("encode", "decode")}

    def encode_wrapped(image: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        return _mapped(
            encode(_with_margins(image, dims, MARGIN * cell), *args, **kwargs),
            lambda codes: _without_margins(codes, dims, codes_of(image), MARGIN),
        )

    def codes_of(image: torch.Tensor) -> dict[int, int]:
        return {dim: image.shape[dim] // cell for dim in dims}

    def decode_wrapped(latents: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        sizes = {dim: latents.shape[dim] * cell for dim in dims}
        return _mapped(
            decode(_with_margins(latents, dims, MARGIN), *args, **kwargs),
            lambda image: _without_margins(image, dims, sizes, MARGIN * cell),
        )

    vae.encode, vae.decode = encode_wrapped, decode_wrapped
    try:
        yield
    finally:
        for name, before in hidden.items():
            delattr(vae, name)
            if before is not None:
                setattr(vae, name, before)


def _with_margins(x: torch.Tensor, dims: list[int], margin: int) -> torch.Tensor:
    for dim in dims:
        size = x.shape[dim]
        index = torch.arange(-margin, size + margin, device=x.device) % size
        x = x.index_select(x.ndim + dim, index)
    return x


def _without_margins(
    x: torch.Tensor, dims: list[int], sizes: dict[int, int], margin: int
) -> torch.Tensor:
    for dim in dims:
        size = sizes[dim]
        faded = min(margin, size)
        inside = x.narrow(dim, margin, size)
        # What follows the last column is the first one again, painted as the last one's neighbour.
        beyond = x.narrow(dim, margin + size, faded)
        shape = [1] * x.ndim
        shape[dim] = faded
        weight = ((torch.arange(faded, device=x.device, dtype=x.dtype) + 0.5) / faded).view(shape)
        start = inside.narrow(dim, 0, faded) * weight + beyond * (1 - weight)
        x = torch.cat([start, inside.narrow(dim, faded, size - faded)], dim=dim)
    return x


def _mapped(result: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The autoencoders' results: tuples or objects of a picture, of codes, or of a distribution of codes."""
    if isinstance(result, tuple) and not hasattr(result, "keys"):
        return tuple(_mapped(item, change) for item in result)
    if isinstance(result, torch.Tensor):
        return change(result)
    for name in ("sample", "latent", "latents"):
        if isinstance(getattr(result, name, None), torch.Tensor):
            setattr(result, name, change(getattr(result, name)))
            return result
    if hasattr(result, "latent_dist"):
        result.latent_dist = _mapped(result.latent_dist, change)
        return result
    return type(result)(change(result.parameters))  # the distribution itself
