"""Channels and the selection: planes of coverage."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tests.fakes.photoshop.objects import NO_SUCH_PROPERTY, Enum, Fault, Thing, Unit, method
from tests.fakes.photoshop.samples import Array, bounding_box, full_scale, quantise

if TYPE_CHECKING:
    from tests.fakes.photoshop.document import Document

COMPONENT, MASKED_AREA = Enum("ChannelType.COMPONENT"), Enum("ChannelType.MASKEDAREA")


@dataclass(frozen=True, eq=False)
class ChannelState:
    """What a history state keeps of an alpha channel. samples: (height, width)."""

    name: str
    samples: Array


class Channel(Thing):
    """JS: Channel. The three component channels only have a name and a kind here."""

    typename = "Channel"

    def __init__(self, document: Document, state: ChannelState, kind: Enum = MASKED_AREA) -> None:
        self.application = document.application
        self.document = document
        self._state = state
        self.kind = kind

    @property
    def name(self) -> str:
        return self._state.name

    @method
    def remove(self) -> None:
        assert self.document is not None
        if self.kind == COMPONENT:
            raise Fault("this model keeps component channels")
        self.document.alphas.remove(self)
        self.document.step("Delete Channel")


class Selection(Thing):
    """JS: Selection."""

    typename = "Selection"

    def __init__(self, document: Document) -> None:
        self.document = document

    @property
    def bounds(self) -> tuple[Unit, ...]:
        """Of all that is selected at all (our reading: not of what is at least half selected); an error without a
        selection (photoshop-python-api's issues)."""
        assert self.document is not None
        self.document.require_no_quick_mask()  # none there (our reading); what else it could be, no program asks
        if self.document.selected is None:
            raise Fault("The requested property does not exist.", NO_SUCH_PROPERTY)
        box = bounding_box(self.document.selected)
        assert box is not None
        return self.document.units(*(self.document.outline or box))

    @method
    def selectAll(self) -> None:  # noqa: N802
        assert self.document is not None
        self.document.require_no_quick_mask()
        width, height = self.document.extent
        dtype = self.document.dtype
        full = np.iinfo(dtype).max if dtype.kind == "u" else 1
        self.document.selected = np.full((height, width), full, dtype)
        self.document.step("Select All")

    @method
    def deselect(self) -> None:
        assert self.document is not None
        self.document.require_no_quick_mask()
        self.document.selected = None
        self.document.step("Deselect")

    @method
    def clear(self) -> None:
        """Edit > Clear: takes the selected share of the active layer's alpha away."""
        document = self.document
        assert document is not None
        layer, chosen = document.active, document.selected
        if chosen is None or layer.isBackgroundLayer:
            raise Fault('The command "Clear" is not currently available.')
        state, full = layer._state, full_scale(chosen)
        assert (state.x, state.y) == (0, 0)
        alpha = state.pixels[..., -1:].astype(np.float64) * (1 - chosen[..., None] / full)
        pixels = np.dstack([state.pixels[..., :-1], quantise(alpha, state.pixels.dtype)])
        layer._state = replace(state, pixels=pixels)
        document.step("Clear")

    @method
    def load(self, channel: Channel, combination: Enum, invert: bool) -> None:
        """From a channel of the same document; across documents is not modelled, so not allowed."""
        assert self.document is not None
        self.document.require_no_quick_mask()
        if channel.document is not self.document or combination != Enum("SelectionType.REPLACE"):
            raise Fault("this model only replaces the selection by a channel of its own document")
        if channel.kind != MASKED_AREA:
            raise Fault("this model only loads alpha channels")
        samples = channel._state.samples
        if invert:
            samples = full_scale(samples) - samples
        self.document.selected = samples if samples.any() else None
        self.document.step("Load Selection")
