"""What crosses the line between the host and the rest: plain values, no Photoshop in them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from photoshop_plugin.errors import DocumentRefused
from scumble.client import Bounds, Extent, Pixels

PAINTABLE_MODES = ("RGB", "CMYK", "LAB", "GRAYSCALE")


class Source(StrEnum):
    """What of a document is read. BELOW: the active layer and those below it, as Photoshop's "Current & Below"."""

    MERGED = "merged"
    LAYER = "layer"
    BELOW = "below"


class Sides(NamedTuple):
    """Document px added on each side, 0 or more."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0


NO_SIDES = Sides()


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document as it was when it was described.

    mode: Photoshop's name, such as "RGB" or "CMYK". bits: per channel, 1, 8, 16 or 32. resolution: pixels per inch.
    profile: name of the colour profile, "" if untagged. selection: its bounding box in px, None if nothing is selected;
    on the canvas, unless none of it is. quick_mask: in Quick Mask mode, where what is selected has to be asked for.
    layer: id of the active layer, 0 if unknown.
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
    layer: int = 0
    layer_name: str = ""

    @property
    def bounds(self) -> Bounds:
        """All of it."""
        return Bounds(0, 0, *self.extent)

    @property
    def is_selected(self) -> bool:
        """Whether something is selected, by a quick mask perhaps."""
        return self.quick_mask or self.selection is not None

    @property
    def is_converted(self) -> bool:
        """Whether it is read and laid back through sRGB: other modes, and 32 bits, which are linear light."""
        return self.mode != "RGB" or self.bits == 32

    def require_paintable(self) -> None:
        """Raises DocumentRefused if the document is nothing this version can paint on."""
        box = self.selection
        if box is not None and (
            box.right <= 0
            or box.bottom <= 0
            or box.x >= self.extent.width
            or box.y >= self.extent.height
        ):
            raise DocumentRefused("selection_outside")
        if self.mode not in PAINTABLE_MODES:
            raise DocumentRefused(
                "mode",
                f"{self.name!r} is a {self.mode} document; Scumble paints on RGB, CMYK, Lab and grayscale. "
                "Choose Image > Mode > RGB Color, on a copy if the original matters.",
            )
        if self.bits not in (8, 16, 32):
            raise DocumentRefused(
                "bits",
                f"{self.name!r} has {self.bits} bits per channel; Scumble paints on 8, 16 or 32. "
                "Choose Image > Mode > 16 Bits/Channel, on a copy if the original matters.",
            )


@dataclass(frozen=True, slots=True)
class Capture:
    """A rectangle of the document, and how much of it is selected.

    image: RGB or RGBA (straight alpha), U8, U16 or F32 as the document; of another mode, or of 32 bits, as sRGB or
    linear sRGB. selection: one channel, same size and type, full scale = selected; full scale everywhere where nothing
    is selected. icc_profile: the document's profile, b"" if untagged or converted; also set where image is plain sRGB.
    """

    image: Pixels
    selection: Pixels
    icc_profile: bytes = b""


@dataclass(frozen=True, slots=True)
class LayerPatch:
    """A layer to be: pixels as large as bounds, and the mask that lets them show (one channel, same size).

    mask: None for a layer without one. icc_profile: of the pixels; where there is none and the pixels are sRGB,
    Photoshop converts them into the document's profile and mode.
    """

    name: str
    pixels: Pixels
    mask: Pixels | None
    bounds: Bounds
    icc_profile: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """Where layers stand. above: id of the layer below them, None for the top; one that is gone means the top too,
    which is that of an artboard where the layers show within one.

    group: the name of the group that several layers come in. grow: added to the canvas first; the layers' bounds count
    in the larger one.
    """

    above: int | None = None
    group: str = "Scumble"
    grow: Sides = NO_SIDES


ON_TOP = Arrangement()


@dataclass(frozen=True, slots=True)
class PlacedLayer:
    """A layer that now is in the document. id: Photoshop's layer id."""

    id: int
    name: str
    bounds: Bounds
