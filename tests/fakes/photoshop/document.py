"""Documents and their history."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.fakes.photoshop import canvas, files
from tests.fakes.photoshop.channel import COMPONENT, Channel, ChannelState, Selection
from tests.fakes.photoshop.composite import histogram, painted
from tests.fakes.photoshop.history import (
    HistoryState,
    copied_layers,
    restore_layers,
    saved_layers,
)
from tests.fakes.photoshop.layer import ArtLayer, Layer, LayerSets, LayerState, walk
from tests.fakes.photoshop.objects import (
    NO_SUCH_PROPERTY,
    Collection,
    Enum,
    Fault,
    Thing,
    Unit,
    method,
)
from tests.fakes.photoshop.samples import (
    COMPONENTS,
    Array,
    convert_mode,
    full_scale,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.photoshop.application import Application

BITS = {
    "uint8": Enum("BitsPerChannelType.EIGHT"),
    "uint16": Enum("BitsPerChannelType.SIXTEEN"),
    "float32": Enum("BitsPerChannelType.THIRTYTWO"),
}


class Document(Thing):
    """JS: Document. Attributes in lower_case are for tests; programs see the members with Photoshop's spelling.

    background: (height, width, components) for a flat picture with a Background, one channel more for a transparent
    layer. mode: its name, such as "CMYK".
    """

    typename = "Document"
    anywhere = frozenset({"id", "name", "width", "height", "close", "typename"})
    _own = Thing._own | frozenset(
        [
            "extent",
            "dtype",
            "stack",
            "alphas",
            "selected",
            "outline",
            "quick_mask",
            "active",
            "icc_profile",
            "profile_name",
            "saved_state",
            "history",
            "position",
            "suspended",
            "step",
            "units",
            "flatten",
            "select",
            "snapshot",
            "restore",
            "every_layer",
            "require_no_quick_mask",
        ]
    )

    def __init__(
        self,
        application: Application,
        background: Array,
        *,
        name: str = "photo.psd",
        resolution: float = 72.0,
        icc_profile: bytes = b"",
        profile_name: str = "",
        alphas: tuple[tuple[str, Array], ...] = (),
        mode: str = "RGB",
    ) -> None:
        self.application = application
        self.document = self
        self.id = application.next_id()
        self.name = name
        self.resolution = resolution
        self.mode = Enum(f"DocumentMode.{mode}")
        self.dtype = background.dtype
        self.bitsPerChannel = BITS[background.dtype.name]
        self.icc_profile = icc_profile
        self.profile_name = profile_name
        # In Quick Mask mode: the mask, as coverage; nothing is selected then.
        self.quick_mask: Array | None = None
        # (left, top, right, bottom) of a selection that was moved beyond the canvas; samples are only on it.
        self.outline: tuple[int, int, int, int] | None = None
        self.extent = (background.shape[1], background.shape[0])
        flat = background.shape[2] == COMPONENTS[mode]
        if flat:
            opaque = np.full(background.shape[:2], full_scale(background), background.dtype)
            background = np.dstack([background, opaque])
        layer = LayerState("Background" if flat else "Layer 1", background, background=flat)
        self.stack: list[Any] = [ArtLayer(self, layer)]
        self.active: Any = self.stack[0]
        self.alphas = [Channel(self, ChannelState(*alpha)) for alpha in alphas]
        self.selected: Array | None = None
        self.selection = Selection(self)
        empty = np.zeros(background.shape[:2], background.dtype)
        components = [
            Channel(self, ChannelState(f"Component {k}", empty), COMPONENT) for k in range(4)
        ]
        self.artLayers = Collection(
            self, lambda: [it for it in self.stack if isinstance(it, ArtLayer)]
        )
        self.layers = Collection(self, lambda: self.stack)
        self.layerSets = LayerSets(self)
        self.historyStates = Collection(self, lambda: self.history)
        self.channels = Collection(
            self,
            lambda: (
                components[: COMPONENTS[self.mode.name.removeprefix("DocumentMode.")]] + self.alphas
            ),
        )
        self.suspended = False
        self.history = [HistoryState(self, "Open", self.snapshot())]
        self.position = 0
        self.saved_state = self.history[0]
        application.open_documents.append(self)
        application.front = self

    @property
    def width(self) -> Unit:
        return self.units(self.extent[0])[0]

    @property
    def height(self) -> Unit:
        return self.units(self.extent[1])[0]

    @property
    def colorProfileName(self) -> str:  # noqa: N802
        """An error without a profile (JS: only valid with one)."""
        if not self.icc_profile:
            raise Fault("The requested property does not exist.", NO_SUCH_PROPERTY)
        return self.profile_name

    @colorProfileName.setter
    def colorProfileName(self, name: str) -> None:  # noqa: N802
        """Edit > Assign Profile: the numbers stay."""
        self.profile_name = name
        self.icc_profile = self.icc_profile or name.encode()
        self.step("Assign Profile")

    @property
    def saved(self) -> bool:
        """True again when history is back at the state that was saved (our reading); cannot be set (JS)."""
        return self.history[self.position] is self.saved_state

    @property
    def activeLayer(self) -> Layer:  # noqa: N802
        return self.active

    @activeLayer.setter
    def activeLayer(self, layer: Layer) -> None:  # noqa: N802
        """Making a hidden layer active shows it (reported by script writers)."""
        self.active = layer
        if not layer.visible:
            layer.visible = True
        self.step("Select Layer")

    @property
    def quickMaskMode(self) -> bool:  # noqa: N802
        """Left, the mask becomes the selection, grey as partly selected (user guide); a mask of nothing, and one that
        was never painted on, as no selection (our reading). Whether history has a step for it is not documented: there
        is a switch."""
        return self.quick_mask is not None

    @quickMaskMode.setter
    def quickMaskMode(self, value: bool) -> None:  # noqa: N802
        if value == self.quickMaskMode:
            return
        if value:
            white = np.full(self.extent[::-1], full_scale(np.empty(0, self.dtype)), self.dtype)
            self.quick_mask = white if self.selected is None else self.selected
            self.selected = None
        else:
            mask, self.quick_mask = self.quick_mask, None
            assert mask is not None
            plain = (mask == mask.flat[0]).all() and mask.flat[0] in (0, full_scale(mask))
            self.selected = None if plain else mask
        if self.application.quick_mask_is_a_step:
            self.step("Enter Quick Mask" if value else "Exit Quick Mask")

    @property
    def activeHistoryState(self) -> HistoryState:  # noqa: N802
        return self.history[self.position]

    @activeHistoryState.setter
    def activeHistoryState(self, state: HistoryState) -> None:  # noqa: N802
        """Going back leaves the states after it to be redone until the next change."""
        self.position = self.history.index(state)
        self.restore(state._snapshot)

    @property
    def histogram(self) -> list[int]:
        """JS: valid in RGB, CMYK and indexed colour. Of the selected px where some are (our reading)."""
        return histogram(self.flatten(), self.selected, self.mode.name)

    @method
    def duplicate(self, name: str, merge_layers: bool) -> Document:
        """A copy in front, the alpha channels kept; what is visible in one layer, or all layers (JS). Whether the
        selection comes along is not documented: there is a switch; so for the size of a merged copy with artboards."""
        self.require_no_quick_mask()
        flat = self.stack[-1].get("typename") == "ArtLayer" and self.stack[-1].isBackgroundLayer
        flat = flat and self.stack[-1].visible
        merged = self.flatten()
        left, top, right, bottom = self.application.merged_copies_grow if merge_layers else (0,) * 4
        sides = ((top, bottom), (left, right))
        merged = np.pad(merged, (*sides, (0, 0)))
        copy = Document(
            self.application,
            merged[..., :-1] if flat else merged,
            name=name,
            resolution=self.resolution,
            icc_profile=self.icc_profile,
            profile_name=self.profile_name,
            alphas=tuple(
                (alpha.name, np.pad(alpha._state.samples, sides))
                for alpha in self.alphas
                if not any((left, top, right, bottom))
                or self.application.grown_copies_keep_channels
            ),
            mode=self.mode.name.removeprefix("DocumentMode."),
        )
        if not merge_layers:
            copy.stack = copied_layers(self.stack, copy)
            copy.active = copy.stack[0]
        if self.application.duplicates_keep_selection:
            copy.selected = None if self.selected is None else np.pad(self.selected, sides)
        return copy

    @method
    def convertProfile(self, profile: str, intent: Enum, compensate: bool, dither: bool) -> None:  # noqa: N802
        """Edit > Convert to Profile. The model notes it, and converts numbers where it changes the mode."""
        if (intent.name, compensate, dither) != ("Intent.RELATIVECOLORIMETRIC", True, False):
            raise Fault("not as the artist's own conversion would be")
        self.application.conversions.append((self.profile_name, profile))
        known = [it for it in self.application.open_documents if it.profile_name == profile]
        mode, icc = "RGB", profile.encode()
        if known:
            mode, icc = known[0].mode.name.removeprefix("DocumentMode."), known[0].icc_profile
        elif profile != "sRGB IEC61966-2.1":
            raise Fault(f"There is no profile {profile!r}.")
        self.profile_name, self.icc_profile = profile, icc
        self._convert(mode)
        self.step("Convert to Profile")

    @method
    def changeMode(self, mode: Enum) -> None:  # noqa: N802
        """Image > Mode. From and to the working space; noted."""
        name = mode.name.removeprefix("ChangeMode.")
        self.application.conversions.append((self.profile_name, name))
        self._convert(name)
        self.step("Change Mode")

    def _convert(self, mode: str) -> None:
        old = self.mode.name.removeprefix("DocumentMode.")
        if any(it.typename == "LayerSet" for it in self.stack):
            raise Fault("this model converts no groups")
        for layer in self.stack:
            layer._state = replace(
                layer._state, pixels=convert_mode(layer._state.pixels, old, mode)
            )
        self.mode = Enum(f"DocumentMode.{mode}")

    @method
    def crop(self, bounds: list[Unit]) -> None:
        canvas.crop(self, *(edge.px for edge in bounds))
        self.step("Crop")

    @method
    def resizeCanvas(self, width: Unit, height: Unit, anchor: Enum) -> None:  # noqa: N802
        canvas.resize(self, width.px, height.px, anchor.name.removeprefix("AnchorPosition."))
        self.step("Canvas Size")

    @method
    def saveAs(self, path: str, options: dict[str, Any], as_copy: bool, extension: Enum) -> None:  # noqa: N802
        if not as_copy:
            raise Fault("this model only saves copies: saving the document itself would rename it")
        files.save_tiff(self, path, options)

    @method
    def suspendHistory(self, title: str, script: str) -> None:  # noqa: N802
        """Runs a script as one history step (JS). An error in it arrives as a general one (our reading)."""
        self.suspended = True
        try:
            self.application.javascript.evaluate(script)
        except Exception as error:
            raise Fault("General Photoshop error occurred.") from error
        finally:
            self.suspended = False
            self.step(title)

    @method
    def close(self, saving: Enum) -> None:
        if saving != Enum("SaveOptions.DONOTSAVECHANGES"):
            raise Fault("a dialog asks whether to save: the program would hang here")
        self.application.open_documents.remove(self)
        if self.application.front is self:
            remaining = self.application.open_documents
            self.application.front = remaining[-1] if remaining else None

    def units(self, *pixels: float) -> tuple[Unit, ...]:
        """Pixels in the units of the rulers (JS: bounds come in preferences.rulerUnits)."""
        unit, per_inch = {
            "Units.PIXELS": ("px", self.resolution),
            "Units.CM": ("cm", 2.54),
            "Units.INCHES": ("in", 1.0),
        }[self.application.preferences.rulerUnits.name]
        return tuple(Unit(value * per_inch / self.resolution, unit) for value in pixels)

    def flatten(self) -> Array:
        """What is visible: (height, width, components + alpha)."""
        width, height = self.extent
        components = COMPONENTS[self.mode.name.removeprefix("DocumentMode.")]
        result = np.zeros((height, width, components + 1), self.dtype)
        return painted(result, self.stack)

    def every_layer(self) -> Iterator[Layer]:
        """Layers and groups, from the top."""
        return walk(self.stack)

    def select(self, coverage: Array | None) -> None:
        """The artist selects: (height, width) in the document's depth."""
        self.selected = coverage
        self.step("Lasso")

    def require_no_quick_mask(self) -> None:
        """Commands work on the mask in that mode, or not at all; the model has none of that."""
        if self.quick_mask is not None:
            raise Fault("this model does that outside Quick Mask mode only")

    def step(self, name: str) -> None:
        """Every change is one history state; states that could have been redone are gone."""
        if self.suspended or not hasattr(self, "history"):
            return
        self.history[self.position + 1 :] = [HistoryState(self, name, self.snapshot())]
        self.position = len(self.history) - 1

    def snapshot(self) -> dict[str, Any]:
        """All that history brings back."""
        return {
            "extent": self.extent,
            "active": self.active,
            "selected": self.selected,
            "quick_mask": self.quick_mask,
            "stack": saved_layers(self.stack),
            "alphas": [(channel, channel._state) for channel in self.alphas],
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Back to a snapshot."""
        for name in ("extent", "active", "selected", "quick_mask"):
            setattr(self, name, snapshot[name])
        restore_layers(self.stack, snapshot["stack"])
        self.alphas[:] = [channel for channel, _ in snapshot["alphas"]]
        for channel, state in snapshot["alphas"]:
            channel._state = state
