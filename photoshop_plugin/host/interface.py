"""What the plugin needs from Photoshop, whatever the transport: COM today, UXP behind the same three calls later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from photoshop_plugin.document import Capture, Document, LayerPatch, PlacedLayer
from scumble.client import Bounds


class PhotoshopHost(Protocol):
    """All calls raise the tree of `photoshop_plugin.errors` and leave nothing half done."""

    def describe(self) -> Document:
        """The document in front. Changes nothing."""
        ...

    def capture(self, document: Document, bounds: Bounds) -> Capture:
        """Reads a rectangle (document px) of what is visible, and the selection; full scale where nothing is selected.
        Leaves no trace in the document.
        """
        ...

    def apply(
        self, document: Document, patches: Sequence[LayerPatch], title: str
    ) -> list[PlacedLayer]:
        """Adds one masked layer per patch on top, in one history step called `title`; only the first one is shown.

        All patches share their bounds. Selection and active layer stay the artist's. On an error nothing is left.
        """
        ...
