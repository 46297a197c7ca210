"""What crosses the line between the host and the rest: plain values, no Photoshop in them."""

from __future__ import annotations

from dataclasses import dataclass

from photoshop_plugin.errors import DocumentRefused
from scumble.client import Bounds, Extent, Pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document as it was when it was described.

    mode: Photoshop's name, such as "RGB" or "CMYK". bits: per channel, 1, 8, 16 or 32. resolution: pixels per inch.
    profile: name of the colour profile, "" if untagged. selection: its bounding box in px, None if nothing is selected.
    """

    id: int
    name: str
    extent: Extent
    resolution: float
    mode: str
    bits: int
    profile: str
    quick_mask: bool
    selection: Bounds | None

    @property
    def bounds(self) -> Bounds:
        """All of it."""
        return Bounds(0, 0, *self.extent)

    def require_paintable(self) -> None:
        """Raises DocumentRefused if the document is nothing this version can paint on."""
        if self.quick_mask:
            raise DocumentRefused("quick_mask")
        if self.mode != "RGB":
            raise DocumentRefused(
                "mode",
                f"{self.name!r} is a {self.mode} document; Scumble paints on RGB documents for now. "
                "Choose Image > Mode > RGB Color, on a copy if the original matters.",
            )
        if self.bits not in (8, 16):
            raise DocumentRefused(
                "bits",
                f"{self.name!r} has {self.bits} bits per channel; Scumble paints on 8 or 16. "
                "Choose Image > Mode > 16 Bits/Channel, on a copy if the original matters.",
            )


@dataclass(frozen=True, slots=True)
class Capture:
    """A rectangle of what is visible, and how much of it is selected.

    image: RGB or RGBA (straight alpha), U8 or U16 as the document. selection: one channel, same size and type, full
    scale = selected; full scale everywhere where nothing is selected. icc_profile: the document's profile, b"" if
    untagged; also set where image is plain sRGB.
    """

    image: Pixels
    selection: Pixels
    icc_profile: bytes = b""


@dataclass(frozen=True, slots=True)
class LayerPatch:
    """A layer to be: pixels as large as bounds, and the mask that lets them show (one channel, same size).

    mask: None for a layer without one. icc_profile: of the pixels; where there is none and the pixels are sRGB,
    Photoshop converts them into the document's profile.
    """

    name: str
    pixels: Pixels
    mask: Pixels | None
    bounds: Bounds
    icc_profile: bytes = b""


@dataclass(frozen=True, slots=True)
class PlacedLayer:
    """A layer that now is in the document. id: Photoshop's layer id."""

    id: int
    name: str
    bounds: Bounds
