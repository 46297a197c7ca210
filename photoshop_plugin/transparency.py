"""What is transparent in a picture, and what a model is shown there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scumble.client import Bounds, Pixels

if TYPE_CHECKING:  # numpy is imported late: the command line's --help has no need of it
    import numpy.typing as npt

    Array = npt.NDArray[Any]


def is_empty(image: Pixels) -> bool:
    """Whether nothing of it can be seen."""
    return image.channels == 4 and not image.numpy()[..., 3].any()


def opaque(image: Pixels) -> Pixels:
    """RGB without transparency: on mid-grey, the least telling of backgrounds. Opaque px stay bit for bit."""
    if image.channels != 4:
        return image
    import numpy as np  # noqa: PLC0415

    samples, full = image.numpy(), image.sample_type.full_scale
    alpha = samples[..., 3:].astype(np.float64) / full
    mixed = samples[..., :3] * alpha + full / 2 * (1 - alpha)
    if samples.dtype.kind == "u":
        mixed = np.rint(mixed)
    color = np.where(alpha >= 1, samples[..., :3], mixed.astype(samples.dtype))
    return Pixels.from_numpy(np.ascontiguousarray(color), image.color_space, image.icc_profile)


def transparent_part(image: Pixels, selection: Pixels) -> Array:
    """How far each px is transparent and selected: (height, width), full scale = wholly, in the selection's type."""
    import numpy as np  # noqa: PLC0415

    chosen, full = selection.numpy()[..., 0], selection.sample_type.full_scale
    if image.channels != 4:
        return np.zeros_like(chosen)
    missing = 1 - image.numpy()[..., 3].astype(np.float64) / image.sample_type.full_scale
    share = chosen * missing
    if chosen.dtype.kind == "u":
        share = np.rint(share)
    result: Array = np.clip(share, 0, full).astype(chosen.dtype)
    return result


def bounding_box(mask: Array) -> Bounds | None:
    """Of what is not 0 in (height, width); None if all of it is."""
    import numpy as np  # noqa: PLC0415

    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    left, top = int(columns[0]), int(rows[0])
    return Bounds(left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top)


def cut(image: Pixels, bounds: Bounds) -> Pixels:
    """A rectangle of a picture, px."""
    return Pixels.from_numpy(
        image.numpy()[bounds.y : bounds.bottom, bounds.x : bounds.right],
        image.color_space,
        image.icc_profile,
    )
