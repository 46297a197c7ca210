"""TIFF files to and from Photoshop: 8 or 16 bit, ICC profile, resolution and the mask as an extra channel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from photoshop_plugin.document import Capture, LayerPatch
from photoshop_plugin.errors import ScriptFailed
from scumble.client import ColorSpace, Pixels

Array = npt.NDArray[Any]

_ASSOCIATED_ALPHA = 1
"""ExtraSamples value for premultiplied alpha (TIFF 6.0, section 18)."""
_ICC_TAG = 34675


def read_capture(path: Path, profile: str, *, selected: bool) -> Capture:
    """Reads RGB, alpha if there is one, and, if something was selected, the selection, which is then the last channel.

    profile: the document's profile name; sRGB needs no ICC conversion on the server.
    """
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        samples = np.atleast_3d(page.asarray())
        extra = [int(kind) for kind in page.extrasamples]
        tag = page.tags.get(_ICC_TAG)
        icc = bytes(tag.value) if tag else b""
    channels = samples.shape[2] - selected
    if samples.dtype.name not in ("uint8", "uint16") or channels not in (3, 4):
        raise ScriptFailed(
            "capture", f"it saved {channels} channels of {samples.dtype.name} instead of RGB."
        )
    color = samples[..., :channels]
    selection = samples[..., channels] if selected else full_selection(samples)
    if channels == 4 and extra[:1] == [_ASSOCIATED_ALPHA]:
        color = straight_alpha(color)
    color_space = ColorSpace.ICC if icc and not _is_srgb(profile) else ColorSpace.SRGB
    return Capture(
        Pixels.from_numpy(color, color_space, icc if color_space is ColorSpace.ICC else b""),
        Pixels.from_numpy(selection, ColorSpace.NON_COLOR),
        icc,
    )


def write_patch(path: Path, patch: LayerPatch, resolution: float, bits: int) -> None:
    """Writes RGB and the mask as an extra channel, in the document's depth, with its profile and resolution (ppi).

    The patch's own alpha goes into the mask: the layer stays opaque underneath, as a painter expects.
    """
    dtype = np.dtype(np.uint8 if bits == 8 else np.uint16)
    pixels = convert_samples(patch.pixels.numpy(), dtype)
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    mask = full_selection(pixels)
    if patch.mask is not None:
        mask = convert_samples(patch.mask.numpy()[..., 0], dtype)
    if pixels.shape[2] == 4:
        full = np.iinfo(pixels.dtype).max
        product = mask.astype(np.uint64) * pixels[..., 3]
        mask = ((product + full // 2) // full).astype(pixels.dtype)
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


def convert_samples(samples: Array, dtype: npt.DTypeLike) -> Array:
    """Samples of any of the four wire types as unsigned integers; full scale stays full scale, 0 stays 0."""
    target = np.dtype(dtype)
    if samples.dtype == target:
        return samples
    top = np.iinfo(target).max
    source_top = np.iinfo(samples.dtype).max if samples.dtype.kind == "u" else 1
    scaled: Array = np.rint(np.clip(samples.astype(np.float64) / source_top, 0, 1) * top)
    return scaled.astype(target)


def straight_alpha(premultiplied: Array) -> Array:
    """RGBA of shape (height, width, 4) divided by its alpha; colour is 0 where alpha is."""
    full = np.iinfo(premultiplied.dtype).max
    alpha = premultiplied[..., 3:].astype(np.float64)
    color = np.divide(
        premultiplied[..., :3] * float(full),
        alpha,
        out=np.zeros((*alpha.shape[:2], 3)),
        where=alpha > 0,
    )
    straight = np.dstack([np.minimum(np.rint(color), full), premultiplied[..., 3]])
    result: Array = straight.astype(premultiplied.dtype)
    return result


def full_selection(samples: Array) -> Array:
    """Full scale everywhere: (height, width) as large as `samples`, in their type."""
    return np.full(samples.shape[:2], np.iinfo(samples.dtype).max, samples.dtype)


def _is_srgb(profile: str) -> bool:
    """Adobe's own name for the sRGB space, as every Photoshop installs it."""
    return profile == "sRGB IEC61966-2.1"
