"""TIFF files to and from Photoshop: 8, 16 or 32 bit, ICC profile, resolution and the mask as an extra channel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from photoshop_plugin.document import Capture, LayerPatch
from photoshop_plugin.errors import DocumentRefused, ScriptFailed
from scumble.client import ColorSpace, Pixels

Array = npt.NDArray[Any]

_ASSOCIATED_ALPHA = 1
"""ExtraSamples value for premultiplied alpha (TIFF 6.0, section 18)."""
_ICC_TAG = 34675
_DTYPES = ("uint8", "uint16", "float16", "float32")


def read_capture(path: Path, profile: str, *, selected: bool, converted: bool = False) -> Capture:
    """Reads RGB, alpha if there is one, and, if something was selected, the selection, which is then the last channel.

    profile: the document's profile name; sRGB needs no ICC conversion on the server. converted: the file is sRGB, or
    linear sRGB where its samples are floats, whatever the document is.
    """
    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            samples = np.atleast_3d(page.asarray())
            extra = [int(kind) for kind in page.extrasamples]
            tag = page.tags.get(_ICC_TAG)
            icc = bytes(tag.value) if tag else b""
    except Exception as error:  # tifffile raises what its parsers raise
        raise DocumentRefused("unreadable") from error
    channels = samples.shape[2] - selected
    if samples.dtype.name not in _DTYPES or channels not in (3, 4):
        raise ScriptFailed(
            "capture", f"it saved {channels} channels of {samples.dtype.name} instead of RGB."
        )
    if samples.dtype.kind == "f":
        samples = samples.astype(np.float32)  # half floats too: one type less on the way back
    color = samples[..., :channels]
    selection = samples[..., channels] if selected else full_selection(samples)
    if channels == 4 and extra[:1] == [_ASSOCIATED_ALPHA]:
        color = straight_alpha(color)
    if samples.dtype.kind == "f":
        selection = np.clip(selection, 0, 1)
        color_space = ColorSpace.LINEAR_REC709
    else:
        color_space = ColorSpace.ICC if icc and not _is_srgb(profile) else ColorSpace.SRGB
    if converted:
        icc = b""
        color_space = ColorSpace.SRGB if color_space is ColorSpace.ICC else color_space
    return Capture(
        Pixels.from_numpy(color, color_space, icc if color_space is ColorSpace.ICC else b""),
        Pixels.from_numpy(selection, ColorSpace.NON_COLOR),
        icc,
    )


def write_patch(path: Path, patch: LayerPatch, resolution: float, bits: int) -> None:
    """Writes RGB and the mask as an extra channel, in the document's depth, with its profile and resolution (ppi).

    The patch's own alpha goes into the mask: the layer stays opaque underneath, as a painter expects.
    """
    dtype = np.dtype({8: np.uint8, 16: np.uint16, 32: np.float32}[bits])
    pixels = _in_depth(patch.pixels, dtype)
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    mask = full_selection(pixels)
    if patch.mask is not None:
        mask = np.clip(convert_samples(patch.mask.numpy()[..., 0], dtype), 0, full_scale(dtype))
    if pixels.shape[2] == 4:
        full = full_scale(dtype)
        product = mask.astype(np.float64) * pixels[..., 3] / full
        mask = (np.rint(product) if dtype.kind == "u" else product).astype(dtype)
    try:
        tifffile.imwrite(
            path,
            np.dstack([pixels[..., :3], mask]),
            photometric="rgb",
            planarconfig="contig",
            extrasamples=["unspecified"],
            resolution=(resolution, resolution),
            resolutionunit="inch",
            iccprofile=patch.icc_profile or None,
            metadata=None,
        )
    except OSError as error:
        raise DocumentRefused(
            "unwritable",
            f"The folder for temporary files, {path.parent}, cannot be written: {error.strerror or error}. Make room "
            "there and try again; the document is unchanged.",
        ) from error


def _in_depth(pixels: Pixels, dtype: np.dtype[Any]) -> Array:
    """The samples of a picture in a depth. Floats in a document are linear light, whole numbers are not (what
    Photoshop's 32 Bits/Channel means)."""
    samples = pixels.numpy()
    space = pixels.color_space
    if dtype.kind == "f" and space is ColorSpace.SRGB:
        samples = convert_samples(samples, dtype)
        return _with_color(samples, srgb_to_linear)
    if dtype.kind == "u" and space is ColorSpace.LINEAR_REC709:
        return convert_samples(_with_color(samples, linear_to_srgb), dtype)
    return convert_samples(samples, dtype)


def _with_color(samples: Array, curve: Callable[[Array], Array]) -> Array:
    channels = samples.shape[2]
    if channels != 4:
        return curve(samples)
    return np.dstack([curve(samples[..., :3]), samples[..., 3]])


def srgb_to_linear(values: Array) -> Array:
    """IEC 61966-2-1, float, 0..1 and beyond."""
    low = values / 12.92
    high = ((np.maximum(values, 0.04045) + 0.055) / 1.055) ** 2.4
    result: Array = np.where(values <= 0.04045, low, high).astype(np.float32)
    return result


def linear_to_srgb(values: Array) -> Array:
    """The inverse of `srgb_to_linear`."""
    high = 1.055 * np.maximum(values, 0.0031308) ** (1 / 2.4) - 0.055
    result: Array = np.where(values <= 0.0031308, values * 12.92, high).astype(np.float32)
    return result


def full_scale(dtype: npt.DTypeLike) -> int:
    """The number that stands for 1."""
    kind = np.dtype(dtype)
    return int(np.iinfo(kind).max) if kind.kind == "u" else 1


def convert_samples(samples: Array, dtype: npt.DTypeLike) -> Array:
    """Samples of any of the four wire types in another one; full scale stays full scale, 0 stays 0. Whole numbers cut
    what is beyond them, floats keep it."""
    target = np.dtype(dtype)
    if samples.dtype == target:
        return samples
    unit = samples.astype(np.float64) / full_scale(samples.dtype)
    if target.kind == "f":
        return unit.astype(target)
    scaled: Array = np.rint(np.clip(unit, 0, 1) * full_scale(target))
    return scaled.astype(target)


def straight_alpha(premultiplied: Array) -> Array:
    """RGBA of shape (height, width, 4) divided by its alpha; colour is 0 where alpha is."""
    full = full_scale(premultiplied.dtype)
    alpha = premultiplied[..., 3:].astype(np.float64)
    color = np.divide(
        premultiplied[..., :3] * float(full),
        alpha,
        out=np.zeros((*alpha.shape[:2], 3)),
        where=alpha > 0,
    )
    if premultiplied.dtype.kind == "u":
        color = np.minimum(np.rint(color), full)
    straight = np.dstack([color, premultiplied[..., 3]])
    result: Array = straight.astype(premultiplied.dtype)
    return result


def full_selection(samples: Array) -> Array:
    """Full scale everywhere: (height, width) as large as `samples`, in their type."""
    return np.full(samples.shape[:2], full_scale(samples.dtype), samples.dtype)


def _is_srgb(profile: str) -> bool:
    """Adobe's own name for the sRGB space, as every Photoshop installs it."""
    return profile == "sRGB IEC61966-2.1"
