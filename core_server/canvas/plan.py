"""The canvas plan: where a selection's context, mask and patch lie, and how the model paints them."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from core_server.canvas.geometry import Bounds, Extent


class CanvasIntent(StrEnum):
    """What the artist wants inside the selection; `scumble.v1.CanvasIntent` in lower case."""

    AUTO = "auto"
    FILL = "fill"
    ADD_OBJECT = "add_object"
    REMOVE_OBJECT = "remove_object"
    EXPAND = "expand"
    REFINE = "refine"


class FillMode(StrEnum):
    """What lies under the mask before denoising; `scumble.v1.FillMode` in lower case."""

    AUTO = "auto"
    BLUR = "blur"
    NEUTRAL = "neutral"
    BORDER = "border"
    STRUCTURE = "structure"
    NONE = "none"


class SeamlessAxes(StrEnum):
    """Axes along which an image tiles."""

    NONE = "none"
    X = "x"
    Y = "y"
    XY = "xy"

    @staticmethod
    def of(x: bool, y: bool) -> SeamlessAxes:
        """The axes that are true."""
        return (SeamlessAxes.NONE, SeamlessAxes.X, SeamlessAxes.Y, SeamlessAxes.XY)[x + 2 * y]

    def covered(self, part: Extent, whole: Extent) -> SeamlessAxes:
        """Those of the axes along which `part` is as long as `whole`: along these it is a tile itself."""
        return SeamlessAxes.of(
            wraps(self, 1) and part.width == whole.width,
            wraps(self, 0) and part.height == whole.height,
        )


def wraps(seamless: SeamlessAxes, axis: int) -> bool:
    """Whether an array axis (0: rows, 1: columns) wraps."""
    return seamless in (SeamlessAxes.XY, SeamlessAxes.Y if axis == 0 else SeamlessAxes.X)


class ModelSizing(StrEnum):
    """Why the model works at the size it does; `scumble.v1.ModelSizing` in lower case."""

    AS_IS = "as_is"
    ENLARGED = "enlarged"
    REDUCED = "reduced"
    CAPPED = "capped"


class CanvasOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the artist overrides; None is chosen by the planner. Unit: document px; color_match 0..1.

    passes: 1 paints once, however large; 2 always refines the mask at full resolution afterwards.
    """

    intent: CanvasIntent = CanvasIntent.AUTO
    fill: FillMode = FillMode.AUTO
    exact_selection: bool = False
    grow: int | None = None
    feather: int | None = None
    padding: int | None = None
    seamless: SeamlessAxes = SeamlessAxes.NONE
    color_match: float | None = None
    passes: int | None = None


class CanvasPlan(msgspec.Struct, frozen=True, kw_only=True):
    """`scumble.v1.CanvasPlan`: selection within mask within context within document, all in document px.

    padding: px of context aimed at around the mask. max_model_pixels: most px of one pass on the device, 0 = no limit.
    With two passes `refine` is the rectangle painted again, at `refine_model` px with `refine_strength`.
    color_match: share of the correction that brings the patch's colours to its surroundings', 0..1.
    """

    document: Extent
    selection: Bounds
    mask: Bounds
    context: Bounds
    model: Extent
    grow: int
    feather: int
    blend: int
    exact_selection: bool
    fill: FillMode
    intent: CanvasIntent
    passes: int
    seamless: SeamlessAxes
    padding: int = 0
    sizing: ModelSizing = ModelSizing.AS_IS
    max_model_pixels: int = 0
    refine: Bounds | None = None
    refine_model: Extent | None = None
    refine_strength: float = 0.0
    color_match: float = 1.0

    def wrapped_axes(self, bounds: Bounds) -> SeamlessAxes:
        """The seamless axes that `bounds`, document px, covers wholly."""
        return self.seamless.covered(bounds.extent, self.document)
