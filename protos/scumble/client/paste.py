"""The one composite: a patch laid into its document. With numpy where it is there, row by row without.

For a composite mask value m in 0..1, in the document's own sample values:

    alpha  = (1 - m) * alpha_document + m * alpha_patch
    colour = ((1 - m) * alpha_document * colour_document + m * alpha_patch * colour_patch) / alpha

which is the plain mix where both are opaque or have no alpha. m = 0 leaves the document's bytes alone and m = 1 takes
the patch's, bit for bit. Both ways compute in double precision and agree bit for bit.
"""

from __future__ import annotations

import importlib.util
import math
import struct
from collections.abc import Iterator, Sequence

from scumble.client.errors import InvalidRequest
from scumble.client.jobs import Patch
from scumble.client.pixels import Pixels
from scumble.client.values import Bounds, SampleType, SeamlessAxes

_STRUCT_CODES = {SampleType.U8: "B", SampleType.U16: "H", SampleType.F16: "e", SampleType.F32: "f"}


def paste(document: Pixels, patch: Patch, *, use_numpy: bool | None = None) -> Pixels:
    """A new document with the patch in it. The given one stays as it is.

    document: the whole document; patch.pixels must have its sample type, colour space and channels. Where
    patch.composite_mask is 0 the result is bit-identical. A patch that wraps around a seamless document goes in on both
    sides. use_numpy: None uses it if it is there.
    Raises InvalidRequest if the patch does not fit.
    """
    bounds, mask = _check(document, patch)
    result = bytearray(document.view)
    if use_numpy is None:
        use_numpy = importlib.util.find_spec("numpy") is not None
    blend = _blend_with_numpy if use_numpy else _blend_by_rows
    for target, source in _pieces(bounds, document):
        blend(result, document, patch.pixels, mask, target=target, source=source)
    return Pixels(
        result,
        document.width,
        document.height,
        document.channels,
        document.sample_type,
        document.color_space,
        document.icc_profile,
    )


def _check(document: Pixels, patch: Patch) -> tuple[Bounds, Pixels | None]:
    bounds = patch.bounds or Bounds(0, 0, document.width, document.height)
    pixels, mask = patch.pixels, patch.composite_mask
    problem = ""
    if pixels.extent != bounds.extent:
        problem = f"its pixels are {tuple(pixels.extent)} and its bounds {tuple(bounds.extent)}"
    elif mask is not None and (mask.extent != bounds.extent or mask.channels != 1):
        problem = f"its composite mask is no single channel of {tuple(bounds.extent)} px"
    elif (pixels.sample_type, pixels.channels) != (document.sample_type, document.channels):
        problem = (
            f"it has {pixels.channels} channels of {pixels.sample_type} and the document {document.channels} of "
            f"{document.sample_type}"
        )
    elif pixels.color_space != document.color_space:
        problem = (
            f"its colour space is {pixels.color_space} and the document's {document.color_space}"
        )
    else:
        seamless = patch.plan.seamless if patch.plan is not None else SeamlessAxes.NONE
        inside_x = bounds.x >= 0 and bounds.right <= document.width
        inside_y = bounds.y >= 0 and bounds.bottom <= document.height
        wraps_x = "x" in seamless.value and bounds.width <= document.width
        wraps_y = "y" in seamless.value and bounds.height <= document.height
        if not ((inside_x or wraps_x) and (inside_y or wraps_y)):
            problem = (
                f"its bounds {tuple(bounds)} leave the document of {tuple(document.extent)} px"
            )
    if problem:
        raise InvalidRequest.about(
            "patch", f"The patch does not belong to this document: {problem}."
        )
    return bounds, mask


def _pieces(bounds: Bounds, document: Pixels) -> Iterator[tuple[Bounds, tuple[int, int]]]:
    """The rectangles of the document a patch covers, each with its origin in the patch; several where it wraps."""
    for y, top, height in _spans(bounds.y, bounds.height, document.height):
        for x, left, width in _spans(bounds.x, bounds.width, document.width):
            yield Bounds(x, y, width, height), (left, top)


def _spans(start: int, length: int, period: int) -> Iterator[tuple[int, int, int]]:
    """(position in the document, position in the patch, length) of each unbroken run along one axis."""
    done = 0
    while done < length:
        position = (start + done) % period
        run = min(length - done, period - position)
        yield position, done, run
        done += run


def _blend_with_numpy(
    result: bytearray,
    document: Pixels,
    pixels: Pixels,
    mask: Pixels | None,
    *,
    target: Bounds,
    source: tuple[int, int],
) -> None:
    import numpy as np  # noqa: PLC0415

    left, top = source
    piece = np.s_[top : top + target.height, left : left + target.width]
    flat = np.frombuffer(result, dtype=document.sample_type.dtype)
    canvas = flat.reshape(document.height, document.width, document.channels)
    old = canvas[target.y : target.bottom, target.x : target.right]
    new = pixels.numpy()[piece]
    if mask is None:
        old[...] = new
        return
    weight = mask.numpy()[piece][..., 0]
    full = weight >= mask.sample_type.full_scale
    old[full] = new[full]
    soft = (weight > 0) & ~full
    if not soft.any():
        return
    m = weight[soft].astype(np.float64)[:, None] / mask.sample_type.full_scale
    before, after = old[soft].astype(np.float64), new[soft].astype(np.float64)
    mixed = (1 - m) * before + m * after
    if document.channels == 4:
        share_before, share_after = (1 - m) * before[:, 3:], m * after[:, 3:]
        total = share_before + share_after
        with np.errstate(divide="ignore", invalid="ignore"):
            color = (share_before * before[:, :3] + share_after * after[:, :3]) / total
        # Nothing to weigh by where both are transparent or opaque alike: the plain mix.
        weighed = (total > 0) & (before[:, 3:] != after[:, 3:])
        mixed[:, :3] = np.where(weighed, color, mixed[:, :3])
    if document.sample_type in (SampleType.U8, SampleType.U16):
        mixed = np.floor(mixed + 0.5)
    # A no-op stays one: rounding must not move a value that both sides agree on.
    mixed = np.where(before == after, before, mixed)
    old[soft] = mixed.astype(old.dtype)


def _blend_by_rows(
    result: bytearray,
    document: Pixels,
    pixels: Pixels,
    mask: Pixels | None,
    *,
    target: Bounds,
    source: tuple[int, int],
) -> None:
    left, top = source
    step = document.channels * document.sample_type.size
    code = _STRUCT_CODES[document.sample_type]
    for row in range(target.height):
        start = ((target.y + row) * document.width + target.x) * step
        span = slice(start, start + target.width * step)
        origin = ((top + row) * pixels.width + left) * step
        new = pixels.view[origin : origin + target.width * step]
        weights = None if mask is None else _mask_row(mask, left, top + row, target.width)
        if weights is None or min(weights) >= 1:
            result[span] = new
        elif max(weights) > 0:
            samples = f"<{target.width * document.channels}{code}"
            before = struct.unpack_from(samples, result, start)
            after = struct.unpack(samples, new)
            mixed = _mix_row(before, after, weights, document)
            struct.pack_into(samples, result, start, *mixed)


def _mask_row(mask: Pixels, x: int, y: int, width: int) -> list[float]:
    """One run of mask values, as 0..1 where the mask is within its range."""
    size, code = mask.sample_type.size, _STRUCT_CODES[mask.sample_type]
    offset = (y * mask.width + x) * size
    values = struct.unpack_from(f"<{width}{code}", mask.view, offset)
    scale = mask.sample_type.full_scale
    return [value / scale for value in values]


def _mix_row(
    before: Sequence[float], after: Sequence[float], weights: Sequence[float], document: Pixels
) -> list[float]:
    """One row of samples; the same arithmetic as `_blend_with_numpy`, pixel by pixel."""
    channels = document.channels
    whole = document.sample_type in (SampleType.U8, SampleType.U16)
    mixed = list(before)
    for index, m in enumerate(weights):
        if not m > 0:
            continue
        first = index * channels
        if m >= 1:
            mixed[first : first + channels] = after[first : first + channels]
            continue
        share_before = share_after = 0.0
        weighed = False
        if channels == 4:
            share_before, share_after = (1 - m) * before[first + 3], m * after[first + 3]
            weighed = share_before + share_after > 0 and before[first + 3] != after[first + 3]
        for position in range(first, first + channels):
            old, new = before[position], after[position]
            if old == new:
                continue
            value = (1 - m) * old + m * new
            if weighed and position != first + 3:
                value = (share_before * old + share_after * new) / (share_before + share_after)
            mixed[position] = math.floor(value + 0.5) if whole else value
    return mixed
