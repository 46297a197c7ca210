"""What the plugin needs from Photoshop, whatever the transport: COM today, UXP behind the same calls later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from photoshop_plugin.document import (
    ON_TOP,
    Arrangement,
    Capture,
    Document,
    LayerPatch,
    PlacedLayer,
    Source,
)
from scumble.client import Bounds, Pixels


class PhotoshopHost(Protocol):
    """All calls raise the tree of `photoshop_plugin.errors` and leave nothing half done."""

    def describe(self) -> Document:
        """The document in front. Changes nothing."""
        ...

    def documents(self) -> list[Document]:
        """All open documents, the one in front first. Each comes to the front for a moment."""
        ...

    def unmasked(self, document: Document) -> Document:
        """The document with what its quick mask selects as its selection. Leaves no trace, Quick Mask mode included."""
        ...

    def capture(
        self, document: Document, bounds: Bounds, source: Source = Source.MERGED
    ) -> Capture:
        """Reads a rectangle (document px), and the selection or the quick mask; full scale where nothing is selected.
        Leaves no trace in the document.
        """
        ...

    def look(self, document: Document) -> str | None:
        """A mark of what the document shows: another one means that it changed. None while it is not in front or
        in Quick Mask mode.

        Raises DocumentRefused once it was closed.
        """
        ...

    def apply(
        self,
        document: Document,
        patches: Sequence[LayerPatch],
        title: str,
        arrangement: Arrangement = ON_TOP,
    ) -> list[PlacedLayer]:
        """Adds one masked layer per patch, in one history step called `title`; only the first one is shown.

        All patches share their bounds; several come in a group. Selection or quick mask, and active layer, stay the
        artist's. On an error nothing is left.
        """
        ...

    def open_picture(
        self, pixels: Pixels, name: str, resolution: float, icc_profile: bytes
    ) -> None:
        """Shows pixels as a new, unsaved document in front. icc_profile: theirs; b"" for sRGB."""
        ...

    def define_pattern(self, pixels: Pixels, name: str) -> None:
        """Adds an sRGB picture to Photoshop's patterns. No document is touched."""
        ...
