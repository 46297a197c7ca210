"""Pixel layers with a layer mask."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tests.fakes.photoshop.objects import Enum, Fault, Thing, Unit, method
from tests.fakes.photoshop.samples import Array, bounding_box, convert_depth, on_canvas

if TYPE_CHECKING:
    from tests.fakes.photoshop.document import Document


@dataclass(frozen=True, eq=False)
class LayerState:
    """What a history state keeps of a layer. pixels: (height, width, 4) at (x, y); mask: (height, width) at its own
    place, 0 outside; arrays are replaced, never changed."""

    name: str
    pixels: Array
    x: int = 0
    y: int = 0
    mask: Array | None = None
    mask_x: int = 0
    mask_y: int = 0
    visible: bool = True
    background: bool = False


class ArtLayer(Thing):
    """JS: ArtLayer."""

    typename = "ArtLayer"
    anywhere = frozenset({"id", "name", "typename"})

    def __init__(self, document: Document, state: LayerState) -> None:
        self.application = document.application
        self.document = document
        self._state = state
        self.id = document.application.next_id()

    @property
    def name(self) -> str:
        return self._state.name

    @name.setter
    def name(self, value: str) -> None:
        self._change("Layer Properties", name=str(value))

    @property
    def visible(self) -> bool:
        return self._state.visible

    @visible.setter
    def visible(self, value: bool) -> None:
        self._change("Layer Visibility", visible=bool(value))

    @property
    def isBackgroundLayer(self) -> bool:  # noqa: N802
        return self._state.background

    @isBackgroundLayer.setter
    def isBackgroundLayer(self, value: bool) -> None:  # noqa: N802
        self._change("Layer From Background", background=bool(value))

    @property
    def bounds(self) -> tuple[Unit, ...]:
        """Of what is not transparent. A layer mask cuts it (reported for real Photoshop, which has boundsNoMask beside
        it for that reason); a switch turns that off."""
        assert self.document is not None
        coverage = self._state.pixels[..., 3]
        x, y = self._state.x, self._state.y
        if self._state.mask is not None and self.application.bounds_are_cut_by_mask:
            state = self._state
            mask = on_canvas(state.mask, state.mask_x - x, state.mask_y - y, *coverage.shape)
            coverage = coverage * (mask > 0)
        left, top, right, bottom = bounding_box(coverage) or (-x, -y, -x, -y)
        return self.document.units(left + x, top + y, right + x, bottom + y)

    @method
    def translate(self, dx: Unit, dy: Unit) -> None:
        """Moves the layer and its linked mask; with a selection only the selected pixels (our reading)."""
        document, state = self.document, self._state
        assert document is not None
        if state.background:
            raise Fault('The command "Move" is not available: the layer is locked.')
        if document.selected is None:
            self._change(
                "Move",
                x=state.x + dx.px,
                y=state.y + dy.px,
                mask_x=state.mask_x + dx.px,
                mask_y=state.mask_y + dy.px,
            )
            return
        width, height = document.extent
        plane = on_canvas(state.pixels, state.x, state.y, height, width)
        chosen = (document.selected > 0)[..., None]
        moved = on_canvas(plane * chosen, dx.px, dy.px, height, width)
        rest = plane * ~chosen
        pixels = rest * (moved[..., 3:] == 0) + moved
        self._change("Move", pixels=pixels.astype(plane.dtype), x=0, y=0)

    @method
    def duplicate(self, target: Document, placement: Enum) -> ArtLayer:
        """Into another document, on top, with its mask (JS). It lands on the same coordinates, or centred: reports
        differ, so there is a switch. Another depth is converted; another profile too, which is noted."""
        if placement != Enum("ElementPlacement.PLACEATBEGINNING"):
            raise Fault("this model only places at the beginning")
        document, state = self.document, self._state
        assert document is not None
        if target.icc_profile != document.icc_profile:
            self.application.conversions.append((document.name, target.name))
        dx, dy = 0, 0
        if self.application.duplicates_land == "centre":
            dx = (target.extent[0] - document.extent[0]) // 2
            dy = (target.extent[1] - document.extent[1]) // 2
        copy = ArtLayer(
            target,
            replace(
                state,
                pixels=convert_depth(state.pixels, target.dtype),
                mask=None if state.mask is None else convert_depth(state.mask, target.dtype),
                x=state.x + dx,
                y=state.y + dy,
                mask_x=state.mask_x + dx,
                mask_y=state.mask_y + dy,
                background=False,
            ),
        )
        target.stack.insert(0, copy)
        target.active = copy
        target.step("Duplicate Layer")
        return copy

    def _change(self, step: str, **changes: object) -> None:
        self._state = replace(self._state, **changes)  # type: ignore[arg-type]
        assert self.document is not None
        self.document.step(step)
