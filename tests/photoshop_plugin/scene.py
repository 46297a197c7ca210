"""A document as artists have them, what can be seen of it, and what an exact result looks like."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from photoshop_plugin.document import LayerPatch
from scumble.client import Bounds, ColorSpace, Pixels
from tests.fakes.photoshop import Application, Document
from tests.fakes.photoshop.channel import ChannelState
from tests.fakes.photoshop.layer import ArtLayer, LayerState
from tests.fakes.photoshop.samples import COMPONENTS, full_scale, on_canvas, over, quantise

SIZE = (233, 167)
SELECTED = (150, 21, 47, 58)
CONTEXT = Bounds(131, 5, 90, 96)
"""Off-centre and of odd sizes, so that centring and rounding show."""
LATER = (3, 100, 60, 30)
ICC = b"an ICC profile, which nobody here looks into" * 9
NAME = 'Scumble: "a red barn" \\ O\'Hara\n{"x": 1} \u2028 \N{CAT FACE} (7)'
TITLE = "Scumble Inpaint"
CHANGED = ("layers", "places", "history state", "saved")
"""What a new layer changes about a document."""
FILL_TITLE = "Scumble: Generative fill"


def texture(
    width: int, height: int, dtype: Any = "uint8", channels: int = 3, seed: int = 7
) -> np.ndarray:
    """Noise: no two pixels are interchangeable, so a shift by one shows."""
    shape, random = (height, width, channels), np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return random.random(shape, dtype)
    return random.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def soft_selection(
    size: tuple[int, int], box: tuple[int, int, int, int], dtype: Any = "uint8", soft: float = 6.0
) -> np.ndarray:
    """Coverage (height, width) that falls off inside box = (x, y, width, height) and is 0 outside."""
    x, y, wide, high = box
    columns = np.minimum(np.arange(size[0]) - x + 1, x + wide - np.arange(size[0]))
    rows = np.minimum(np.arange(size[1]) - y + 1, y + high - np.arange(size[1]))
    depth = np.clip(np.minimum(columns[None, :], rows[:, None]) / soft, 0, 1)
    return quantise(depth * full_scale(np.empty(0, dtype)), dtype)


def open_document(
    application: Application,
    *,
    size: tuple[int, int] = SIZE,
    selected: tuple[int, int, int, int] = SELECTED,
    dtype: str = "uint8",
    resolution: float = 300.0,
    channels: int = 3,
    icc: bytes = ICC,
    profile: str = "Adobe RGB (1998)",
    mode: str = "RGB",
) -> Document:
    """A saved photo with a hidden layer, which is active, an alpha channel, and a soft selection off its centre."""
    document = Document(
        application,
        texture(*size, dtype, channels),
        resolution=resolution,
        icc_profile=icc,
        profile_name=profile,
        alphas=(("Artist's mask", texture(*size, dtype, 1, seed=5)[..., 0]),),
        mode=mode,
    )
    components = COMPONENTS[mode]
    hidden = LayerState(
        "Sketch", texture(40, 30, dtype, components + 1, seed=8), x=60, y=20, visible=False
    )
    document.stack.insert(0, ArtLayer(document, hidden))
    document.active = document.stack[0]
    document.select(soft_selection(size, selected, dtype))
    document.saved_state = document.history[-1]
    return document


def patch_for(
    document: Document, name: str = NAME, channels: int = 3, seed: int = 11
) -> LayerPatch:
    """A textured result for CONTEXT, with a soft mask."""
    dtype = document.dtype.name
    color_space = ColorSpace.ICC if document.icc_profile else ColorSpace.SRGB
    pixels = texture(CONTEXT.width, CONTEXT.height, dtype, channels, seed)
    mask = soft_selection(SIZE, SELECTED, dtype)[
        CONTEXT.y : CONTEXT.bottom, CONTEXT.x : CONTEXT.right
    ]
    return LayerPatch(
        name,
        Pixels.from_numpy(pixels, color_space, document.icc_profile),
        Pixels.from_numpy(np.ascontiguousarray(mask), ColorSpace.NON_COLOR),
        CONTEXT,
        document.icc_profile,
    )


@dataclass
class Seen:
    """Everything an artist could notice about a document and the application around it."""

    document: Document
    picture: np.ndarray = field(init=False)
    facts: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        document, application = self.document, self.document.application
        self.picture = document.flatten()
        self.facts = {
            "layers": [(layer, _content(layer._state)) for layer in document.every_layer()],
            "places": [(layer, layer.parent) for layer in document.every_layer()],
            "active": document.active,
            "selection": document.selected,
            "quick mask": document.quick_mask,
            "channels": [(channel, _content(channel._state)) for channel in document.alphas],
            "extent": document.extent,
            "history state": document.history[document.position],
            "saved": document.saved,
            "front": application.front,
            "documents": list(application.open_documents),
            "units": application.preferences.rulerUnits,
            "dialogs": application.displayDialogs,
        }

    def differences(self, other: Seen, but: tuple[str, ...] = ()) -> list[str]:
        """Names of the facts that differ."""
        names = [name for name in self.facts if name not in but]
        return [name for name in names if not _same(self.facts[name], other.facts[name])]


def _content(state: LayerState | ChannelState) -> tuple[Any, ...]:
    values = vars(state).values()
    return tuple(value.tobytes() if isinstance(value, np.ndarray) else value for value in values)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return one is not None and other is not None and np.array_equal(one, other)
    if isinstance(one, list):
        return len(one) == len(other) and all(a == b for a, b in zip(one, other, strict=True))
    return bool(one == other)


def assert_applied(before: Seen, patches: list[LayerPatch]) -> None:
    """One history step put the patches on top as masked layers at their exact place; nothing else changed."""
    document = before.document
    after = Seen(document)
    changed = before.differences(after, but=CHANGED)
    assert changed == []
    stack = document.stack[0].stack if len(patches) > 1 else document.stack
    added = len(patches) + (len(patches) > 1)
    assert after.facts["layers"][added:] == before.facts["layers"]
    assert [state.name for state in document.history[-2:]] == [
        before.facts["history state"].name,
        TITLE,
    ]
    assert not document.saved
    width, height = document.extent
    expected = before.picture
    for index, patch in enumerate(patches):
        state = stack[index]._state
        box, shown = patch.bounds, patch.pixels.numpy()
        assert (state.x, state.y) == (box.x, box.y)
        assert state.pixels.shape[:2] == (box.height, box.width)
        assert np.array_equal(state.pixels[..., :3], shown[..., :3])
        assert (state.pixels[..., 3] == full_scale(shown)).all()
        assert (state.name, state.visible, state.background) == (patch.name, index == 0, False)
        if index == 0:
            mask = on_canvas(state.mask, state.mask_x, state.mask_y, height, width)
            wanted = on_canvas(patch.mask.numpy()[..., 0], box.x, box.y, height, width)
            assert np.array_equal(mask, wanted)
            expected = over(expected, on_canvas(state.pixels, box.x, box.y, height, width), wanted)
            assert np.array_equal(after.picture[wanted == 0], before.picture[wanted == 0])
    assert np.array_equal(after.picture, expected)
    assert document.application.conversions == []
    document.activeHistoryState = document.history[-2]
    assert before.differences(Seen(document)) == []
    document.activeHistoryState = document.history[-1]
