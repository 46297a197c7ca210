"""The proof that a tile has no seam: no task knows where the tile begins. Moved input, moved output, for every task.

The random numbers move along with the picture, since they are as much input as it is. Moves are whole cells of the
model's coarsest level: between them a convolution with a stride sees another picture, seam or no seam.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import numpy as np
import pytest
import torch

from core_server.canvas.geometry import Extent
from core_server.canvas.masks import read_wrapped
from core_server.canvas.pixels import Pixels
from core_server.canvas.plan import CanvasOptions, FillMode, SeamlessAxes
from core_server.canvas.seams import mean_ratio, seams
from core_server.pipelines.request import (
    ImageToImage,
    Inpaint,
    Outpaint,
    Parameters,
    Texture,
    Upscale,
)
from core_server.pipelines.seamless_vae import seamless_vae
from core_server.pipelines.tiny import make_tiny_pipeline
from tests.core_server.pipelines.conftest import picture, quiet

CELL = 8
TOLERANCE = 2
"""Codes of 8 bit: a convolution sums in another order where its border lies elsewhere."""


@contextmanager
def moved_noise(rows: int, columns: int) -> Iterator[None]:
    """Within the context the noise of a picture is that of before, moved by so many px down and to the right."""
    draw = torch.randn

    def moved(*args, **kwargs):
        noise = draw(*args, **kwargs)
        if noise.ndim < 4:
            return noise
        return torch.roll(noise, (rows // CELL, columns // CELL), (-2, -1))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "randn", moved)
        yield


def parameters(seamless=SeamlessAxes.XY, **changes):
    return Parameters(
        **{"prompt": "moss", "num_inference_steps": 4, "seed": 3, "seamless": seamless, **changes}
    )


def paint(runtime, request, array, selection=None):
    images = {"a": Pixels(array)}
    if selection is not None:
        images["m"] = Pixels.mask(selection)
    return runtime.run(request, images, quiet)


TASKS = {
    "text to image": (Texture(parameters=parameters(), extent=Extent(96, 64)), (16, 32), 1),
    "image to image": (ImageToImage(parameters=parameters(), image="a", strength=0.6), (16, 32), 1),
    "upscale in one piece": (Upscale(parameters=parameters(), image="a", strength=0.5), (8, 16), 2),
}
"""Request, the document's move (down, right) and how many px of the result a px of the document becomes."""


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_moved_tile_is_painted_the_same(runtime, task, dtype):
    request, move, factor = TASKS[task]
    tile = picture(*((32, 32) if factor == 2 else (96, 64)), dtype=dtype).array
    (before,) = paint(runtime, request, tile)
    moved = tuple(side * factor for side in move)
    with moved_noise(*moved):
        (after,) = paint(runtime, request, np.roll(tile, move, (0, 1)))
    same(before.pixels.array, after.pixels.array, moved)


def test_a_tile_upscaled_in_pieces_as_well(runtime):
    """Two pieces lie around it like beads; moved by one, each is what the other was. Here both have the same noise."""
    request = Upscale(parameters=parameters(), image="a", strength=0.5)
    tile = picture(48, 32).array
    draw = torch.randn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            torch,
            "randn",
            lambda *size, generator=None, **more: draw(
                *size, generator=torch.Generator().manual_seed(1), **more
            ),
        )
        (before,) = paint(runtime, request, tile)
        (after,) = paint(runtime, request, np.roll(tile, 24, 1))
    assert before.recipe["tiles"] == [[0, 0, 64, 64], [48, 0, 64, 64]]
    same(before.pixels.array, after.pixels.array, (0, 48))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_resampled_tile_as_well(runtime, dtype):
    """90 x 45 px are painted at 96 x 48: a move of 15 px is one of 16 there."""
    request = ImageToImage(parameters=parameters(), image="a", strength=0.6)
    tile = picture(90, 45, dtype=dtype).array
    (before,) = paint(runtime, request, tile)
    assert before.recipe["model_extent"] == [96, 48]
    with moved_noise(16, 32):
        (after,) = paint(runtime, request, np.roll(tile, (15, 30), (0, 1)))
    same(before.pixels.array, after.pixels.array, (15, 30))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("move", [(16, 0), (0, 32), (48, 64)], ids=str)
@pytest.mark.parametrize("strength", [0.6, 1.0])
@pytest.mark.parametrize("exact", [True, False], ids=["exact", "soft"])
def test_an_inpaint_does_not_know_where_its_context_begins(runtime, dtype, move, strength, exact):
    """A context as large as the tile may begin anywhere: the selection lies across its border, or within."""
    tile = picture(96, 64, dtype=dtype).array
    selection = np.zeros((64, 96), np.uint8)
    selection[20:41, 30:57] = 255
    options = CanvasOptions(seamless=SeamlessAxes.XY, exact_selection=exact, grow=3, feather=6)
    request = Inpaint(
        parameters=parameters(), image="a", selection="m", strength=strength, options=options
    )
    (first,) = paint(runtime, request, tile, selection)
    plan = msgspec.structs.replace(first.plan, model=Extent(96, 64))
    assert plan.context == plan.mask
    assert plan.context.extent == Extent(96, 64)

    def planned(plan):
        sent = msgspec.structs.replace(request, plan=plan)
        seen, selected = (read_wrapped(array, plan.context) for array in (tile, selection))
        return paint(runtime, sent, seen, selected)[0]

    before = planned(plan)
    other = msgspec.structs.replace(
        plan, **{name: plan.context.moved(-move[1], -move[0]) for name in ("context", "mask")}
    )
    # The selection may now end beyond the context, which goes on at the other side.
    other = msgspec.structs.replace(other, selection=other.mask)
    with moved_noise(*move):
        after = planned(other)
    same(before.pixels.array, after.pixels.array, move)
    assert (np.roll(before.composite_mask.array, move, (0, 1)) == after.composite_mask.array).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("mode", [FillMode.BLUR, FillMode.BORDER, FillMode.NEUTRAL], ids=str)
@pytest.mark.parametrize("side", ["right", "bottom"])
def test_an_outpaint_moves_along_the_axis_that_does_not_grow(runtime, dtype, mode, side):
    tile = picture(64, 64, dtype=dtype).array
    request = Outpaint(parameters=parameters(), image="a", strength=0.85, fill=mode, **{side: 32})
    move = (32, 0) if side == "right" else (0, 32)
    (before,) = paint(runtime, request, tile)
    with moved_noise(*move):
        (after,) = paint(runtime, request, np.roll(tile, move, (0, 1)))
    same(before.pixels.array, after.pixels.array, move)


def test_an_autoencoder_in_pieces_leaves_no_seam():
    """Pieces are decoded one by one and normalised by themselves, so that no exact equality can be had."""
    vae = make_tiny_pipeline().vae
    vae.enable_tiling()

    def decoded(axes):
        for seed in range(6):
            latents = torch.randn(1, 4, 24, 32, generator=torch.Generator().manual_seed(seed))
            down, right = torch.fft.fftfreq(24)[:, None], torch.fft.fftfreq(32)
            clouds = torch.fft.fft2(latents) / (0.05 + torch.hypot(down, right)) ** 1.5
            latents = torch.fft.ifft2(clouds).real
            with torch.no_grad(), seamless_vae(axes, vae, CELL):
                image = vae.decode(latents / latents.std()).sample[0]
            image = (image - image.min()) / (image.max() - image.min())
            yield from seams(image.permute(1, 2, 0).numpy()).values()

    assert mean_ratio(decoded(SeamlessAxes.XY)) < 1.06
    assert mean_ratio(decoded(SeamlessAxes.NONE)) > 1.1


def same(before, after, move):
    scale = 257 if before.dtype == np.uint16 else 1
    difference = np.roll(before.astype(float), move, (0, 1)) - after
    assert np.abs(difference).max() <= TOLERANCE * scale
