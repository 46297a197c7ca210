"""Pixel layers with a layer mask, and groups of layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tests.fakes.photoshop.objects import Collection, Enum, Fault, Thing, Unit, method
from tests.fakes.photoshop.samples import Array, bounding_box, convert_depth, on_canvas

if TYPE_CHECKING:
    from tests.fakes.photoshop.document import Document


@dataclass(frozen=True, eq=False)
class LayerState:
    """What a history state keeps of a layer. pixels: (height, width, components + alpha) at (x, y); mask: (height,
    width) at its own place, 0 outside; arrays are replaced, never changed. clipped: shows only where the layer below
    it does."""

    name: str
    pixels: Array
    x: int = 0
    y: int = 0
    mask: Array | None = None
    mask_x: int = 0
    mask_y: int = 0
    visible: bool = True
    background: bool = False
    clipped: bool = False


@dataclass(frozen=True)
class GroupState:
    """What a history state keeps of a group, its layers apart. artboard: (left, top, right, bottom) of one, which is a
    group that shows nothing outside."""

    name: str
    visible: bool = True
    artboard: tuple[int, int, int, int] | None = None


class Layer(Thing):
    """JS: Layer."""

    anywhere = frozenset({"id", "name", "typename"})
    _own = Thing._own | frozenset({"container"})

    def __init__(self, document: Document, state: Any) -> None:
        self.application = document.application
        self.document = document
        self._state = state
        self.id = document.application.next_id()

    @property
    def container(self) -> list[Layer]:
        """The list that the layer stands in, top layer first."""
        assert self.document is not None
        for owner in (self.document, *self.document.every_layer()):
            stack: list[Layer] = getattr(owner, "stack", [])
            if self in stack:
                return stack
        raise Fault("The object is no longer there.")

    @property
    def parent(self) -> Thing:
        """The group or the document that it stands in."""
        assert self.document is not None
        stack = self.container
        return next(
            it
            for it in (self.document, *self.document.every_layer())
            if getattr(it, "stack", None) is stack
        )

    @property
    def name(self) -> str:
        return str(self._state.name)

    @name.setter
    def name(self, value: str) -> None:
        self._change("Layer Properties", name=str(value))

    @property
    def visible(self) -> bool:
        return bool(self._state.visible)

    @visible.setter
    def visible(self, value: bool) -> None:
        self._change("Layer Visibility", visible=bool(value))

    @method
    def move(self, relative: Layer, placement: Enum) -> Layer:
        """Above another layer, or into a group (JS)."""
        assert self.document is not None
        if relative.document is not self.document:
            raise Fault("this model moves within one document")
        if getattr(self._state, "background", False):
            raise Fault('The command "Move" is not available: the layer is locked.')
        if placement == Enum("ElementPlacement.INSIDE"):
            if not isinstance(relative, LayerSet):
                raise Fault("Illegal argument - argument 1")
            self.container.remove(self)
            relative.stack.append(self)
        elif placement == Enum("ElementPlacement.PLACEBEFORE"):
            self.container.remove(self)
            stack = relative.container
            stack.insert(stack.index(relative), self)
        else:
            raise Fault("this model only moves before a layer or into a group")
        self.document.step("Layer Order")
        return self

    def _change(self, step: str, **changes: object) -> None:
        self._state = replace(self._state, **changes)
        assert self.document is not None
        self.document.step(step)


class LayerSet(Layer):
    """JS: LayerSet."""

    typename = "LayerSet"
    _own = Layer._own | frozenset({"stack"})

    def __init__(self, document: Document, state: GroupState) -> None:
        super().__init__(document, state)
        self.stack: list[Layer] = []
        self.layers = Collection(document, lambda: self.stack)


class LayerSets(Collection):
    """JS: LayerSets."""

    def __init__(self, document: Document) -> None:
        super().__init__(
            document, lambda: [it for it in document.stack if isinstance(it, LayerSet)]
        )

    @method
    def add(self) -> LayerSet:
        """An empty group on top, active (our reading: Photoshop may put it above the active layer instead)."""
        document = self.document
        assert document is not None
        group = LayerSet(document, GroupState("Group 1"))
        stack: list[Layer] = document.stack
        if document.application.groups_land == "active":
            stack = document.active.container
            stack.insert(stack.index(document.active), group)
        else:
            stack.insert(0, group)
        document.active = group
        document.step("New Group")
        return group


class ArtLayer(Layer):
    """JS: ArtLayer."""

    typename = "ArtLayer"

    def __init__(self, document: Document, state: LayerState) -> None:
        super().__init__(document, state)

    @property
    def grouped(self) -> bool:
        """Clipped to the layer below."""
        return bool(self._state.clipped)

    @grouped.setter
    def grouped(self, value: bool) -> None:
        self._change("Release Clipping Mask", clipped=bool(value))

    @property
    def isBackgroundLayer(self) -> bool:  # noqa: N802
        return bool(self._state.background)

    @isBackgroundLayer.setter
    def isBackgroundLayer(self, value: bool) -> None:  # noqa: N802
        self._change("Layer From Background", background=bool(value))

    @property
    def bounds(self) -> tuple[Unit, ...]:
        """Of what is not transparent. A layer mask cuts it (reported for real Photoshop, which has boundsNoMask beside
        it for that reason); a switch turns that off. Four zeros for an empty layer (reported by script writers)."""
        assert self.document is not None
        coverage = self._state.pixels[..., -1]
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
        document.require_no_quick_mask()
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
        pixels = rest * (moved[..., -1:] == 0) + moved
        self._change("Move", pixels=pixels.astype(plane.dtype), x=0, y=0)

    @method
    def duplicate(self, target: Document, placement: Enum) -> ArtLayer:
        """Into another document, on top, with its mask (JS). It lands on the same coordinates, or centred: reports
        differ, so there is a switch. Another depth is converted; another profile too, which is noted; another mode is
        nothing to rely on."""
        if placement != Enum("ElementPlacement.PLACEATBEGINNING"):
            raise Fault("this model only places at the beginning")
        document, state = self.document, self._state
        assert document is not None
        target.require_no_quick_mask()
        if target.mode != document.mode:
            raise Fault(f"this model converts no {document.mode.name} layer by duplicating it")
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


def walk(stack: list[Layer]) -> Iterator[Layer]:
    """Every layer and group, from the top, a group before its layers."""
    for layer in stack:
        yield layer
        if isinstance(layer, LayerSet):
            yield from walk(layer.stack)
