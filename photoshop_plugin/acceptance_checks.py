"""What `acceptance` checks on a real Photoshop: one function a behaviour, each on a document of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from photoshop_plugin.acceptance_bench import (
    CONTEXT,
    RESOLUTION,
    SELECTED,
    SIZE,
    TITLE,
    Bench,
    difference,
    need,
    part,
    patch_of,
    picture_of,
)
from photoshop_plugin.document import Arrangement, Document, LayerPatch, Sides, Source
from scumble.client import Bounds, ColorSpace, Pixels

_LOSSY = 0.06
"""Mean difference, share of full scale, that a way through another mode may make of noise within its gamut."""


def _extra_channel(bench: Bench) -> str:
    with bench.document() as (document, picture, selected):
        found = bench.host.capture(document, CONTEXT)
        need(
            np.array_equal(found.selection.numpy()[..., 0], part(selected)),
            "the selection that was loaded from a TIFF's last channel is another one",
        )
        need(np.array_equal(found.image.numpy()[..., :3], part(picture)), "the picture is another")
    return "loaded and read back, sample by sample"


def _copy_selection(bench: Bench) -> str:
    with bench.document() as (document, _, _):
        answer = bench.host.run("acceptance", {"action": "copy", "document": document.id})
    return "kept" if answer["kept"] else "not kept"


def _selection_bounds(bench: Bench) -> str:
    with bench.document() as (document, _, _):
        half = Bounds(SELECTED.x + 2, SELECTED.y + 2, SELECTED.width - 4, SELECTED.height - 4)
        known = {SELECTED: "of everything selected", half: "of what is at least half selected"}
        need(document.selection in known, f"bounds are {document.selection}")
        assert document.selection is not None
        return known[document.selection]


def _no_trace(bench: Bench) -> str:
    with bench.document() as (document, _, _):
        before = bench.facts(document)
        for source in Source:
            bench.host.capture(document, CONTEXT, source)
        after = bench.facts(document)
    names = ("saved", "state", "layers", "active", "channels", "selection", "history")
    changed = [name for name in names if before[name] != after[name]]
    if changed == ["history"]:
        return "nothing but states to be redone"
    need(not changed, f"reading changed {', '.join(changed)}")
    return "nothing changed"


def _exact_layer(bench: Bench) -> str:
    with bench.document() as (document, picture, selected):
        before = bench.facts(document)
        [placed] = bench.host.apply(document, [patch_of(picture, selected)], TITLE)
        after = bench.facts(document)
        shown = bench.host.capture(document, document.bounds).image.numpy()[..., :3]
        outside, inside = selected == 0, selected == 255
        need(np.array_equal(shown[outside], picture[outside]), "px outside the mask changed")
        need(np.array_equal(shown[inside], (255 - picture)[inside]), "px inside are not those sent")
        need(after["selection"] == before["selection"], "the selection changed")
        need(after["active"] == before["active"], "the active layer changed")
        need(after["channels"] == before["channels"], "an alpha channel stayed behind")
        need(after["state"] == TITLE, f"the last step is {after['state']!r}")
        back = bench.undo(document)
        need(back["layers"] == before["layers"], "one step back does not take the layer away")
    return f"layer {placed.id} exactly in place, one step"


def _group(bench: Bench) -> str:
    with bench.document() as (document, picture, selected):
        patches = [patch_of(picture, selected, name) for name in ("first", "second", "third")]
        bench.host.apply(document, patches, TITLE, Arrangement(group="Scumble group"))
        layers = bench.facts(document)["layers"]
        seen = [(it["name"], it["visible"]) for it in layers[:4]]
        wanted = [("Scumble group", True), ("first", True), ("second", False), ("third", False)]
        need(seen == wanted, f"layers are {seen}")
        need(all(it["group"] == "Scumble group" for it in layers[1:4]), "they are not in the group")
    return "in order, the first one shown"


def _above(bench: Bench) -> str:
    with bench.document() as (document, picture, selected):
        [low] = bench.host.apply(document, [patch_of(picture, selected, "low")], TITLE)
        bench.host.apply(document, [patch_of(picture, selected, "top")], TITLE)
        place = Arrangement(above=low.id)
        bench.host.apply(document, [patch_of(picture, selected, "between")], TITLE, place)
        names = [it["name"] for it in bench.facts(document)["layers"][:3]]
        need(names == ["top", "between", "low"], f"the order is {names}")
    return "above the layer it belongs to"


def _transparency(bench: Bench) -> str:
    with bench.document() as (document, picture, selected):
        [layer] = bench.host.apply(document, [patch_of(picture, selected)], TITLE)
        alone = Document(**{**_fields(document), "layer": layer.id})
        image = bench.host.capture(alone, CONTEXT, Source.LAYER).image
        need(image.channels == 4, "a layer alone came without transparency")
        samples, mask = image.numpy(), part(selected)
        need(np.array_equal(samples[..., 3], mask), "its transparency is not its mask")
        solid = mask == 255
        need(
            np.array_equal(samples[solid][:, :3], (255 - part(picture))[solid]),
            "its colours are others",
        )
    return "straight colour and the mask as alpha"


def _canvas(bench: Bench) -> str:
    sides = Sides(3, 5, 7, 9)
    with bench.document() as (document, picture, _):
        before = bench.facts(document)
        size = (SIZE[0] + 10, SIZE[1] + 14)
        is_new = np.full((size[1], size[0]), 255, np.uint8)
        is_new[5 : 5 + SIZE[1], 3 : 3 + SIZE[0]] = 0
        white = np.full((size[1], size[0], 3), 255, np.uint8)
        patch = LayerPatch(
            "wider",
            Pixels.from_numpy(white),
            Pixels.from_numpy(is_new, ColorSpace.NON_COLOR),
            Bounds(0, 0, *size),
        )
        bench.host.apply(document, [patch], TITLE, Arrangement(grow=sides))
        after, now = bench.facts(document), bench.host.describe()
        need((after["width"], after["height"]) == size, "the canvas has another size")
        left, top, right, bottom = before["selection"]
        moved = [left + 3, top + 5, right + 3, bottom + 5]
        need(after["selection"] == moved, f"the selection is at {after['selection']}")
        shown = bench.host.capture(now, now.bounds).image.numpy()[..., :3]
        old = shown[5 : 5 + SIZE[1], 3 : 3 + SIZE[0]]
        need(np.array_equal(old, picture), "the old px changed")
        need((shown[is_new == 255] == 255).all(), "the new px are not those sent")
        back = bench.undo(document)
        need((back["width"], back["height"]) == SIZE, "one step back does not undo the growth")
    return "grown and painted in one step, the selection moved along"


def _through(mode: str, dtype: str = "uint8") -> Callable[[Bench], str]:
    def check(bench: Bench) -> str:
        with bench.document(dtype, mode) as (document, picture, selected):
            need(document.mode == mode, f"the document is {document.mode}")
            document.require_paintable()
            image = bench.host.capture(document, CONTEXT).image.numpy()[..., :3]
            expected = part(picture)
            if mode == "GRAYSCALE":
                expected, image = expected.mean(axis=2), image.mean(axis=2)
                expected = expected.astype(picture.dtype)
                image = image.astype(picture.dtype)
            lost = difference(image, expected)
            need(lost <= _LOSSY, f"the picture read differs by {lost:.3f} on average")
            before = bench.host.capture(document, document.bounds).image.numpy()
            bench.host.apply(document, [patch_of(picture, selected)], TITLE)
            after = bench.host.capture(document, document.bounds).image.numpy()
            need(bench.facts(document)["mode"].endswith(mode), "the document's mode changed")
            outside = selected == 0
            need(np.array_equal(after[outside], before[outside]), "px outside the mask changed")
            full = selected == selected.max()
            negative = (1 if dtype == "float32" else 255) - picture
            shown, sent = after[full][:, :3], negative[full]
            if mode == "GRAYSCALE":
                shown, sent = shown.mean(axis=1), sent.mean(axis=1)
            gap = difference(shown.astype(picture.dtype), sent.astype(picture.dtype))
            need(gap <= _LOSSY, f"the layer differs by {gap:.3f} on average")
        return f"read within {lost:.3f}, laid back within {gap:.3f} of full scale"

    return check


def _new_document(bench: Bench) -> str:
    picture = picture_of("uint16")
    bench.host.open_picture(Pixels.from_numpy(picture), "Scumble x2", RESOLUTION, b"")
    made = bench.host.describe()
    try:
        need(made.name.startswith("Scumble x2"), f"it is called {made.name!r}")
        need(made.extent == SIZE and made.bits == 16, f"it is {made.extent}, {made.bits} bits")
        image = bench.host.capture(made, made.bounds).image.numpy()[..., :3]
        need(np.abs(image.astype(int) - picture).max() <= 2, "its px are others")
    finally:
        bench.host.run("acceptance", {"action": "close", "document": made.id})
    return "in front, unsaved, sample by sample"


def _pattern(bench: Bench) -> str:
    picture = np.ascontiguousarray(picture_of("uint8")[:64, :64])
    bench.host.define_pattern(Pixels.from_numpy(picture), "Scumble acceptance (may be deleted)")
    return "defined; look under Window > Patterns"


def _recent(bench: Bench) -> str:
    with bench.document() as (document, _, _):
        bench.host.capture(document, CONTEXT)
        recent = bench.facts(document)["recent"]
    if recent is None:
        return "not told"
    return "shown" if any("scumble-" in name for name in recent) else "not shown"


def _look(bench: Bench) -> str:
    with bench.document() as (document, picture, selected):
        mark = bench.host.look(document)
        need(mark, "no mark was given")
        need(bench.host.look(document) == mark, "it changes by itself")
        bench.host.apply(document, [patch_of(picture, selected)], TITLE)
        need(bench.host.look(document) not in (mark, ""), "a new layer does not show in it")
        bench.undo(document)
        before = bench.facts(document)
        bench.host.look(document)
        need(bench.facts(document) == before, "looking changes the document")
    return "told, and nothing changed by looking"


def _quick_mask(bench: Bench) -> str:
    with bench.document() as (document, picture, selected):
        plain = bench.facts(document)
        bench.mask(document, on=True)
        before, masked = bench.facts(document), bench.host.describe()
        need(masked.quick_mask, "the mode cannot be set or asked for")
        found = bench.host.unmasked(masked)
        need(found.selection == document.selection, f"the mask selects {found.selection}")
        chosen = bench.host.capture(found, CONTEXT).selection.numpy()[..., 0]
        need(np.array_equal(chosen, part(selected)), "its coverage is not the selection's")
        after = bench.facts(document)
        names = ("saved", "state", "layers", "active", "channels", "quickMask")
        changed = [name for name in names if before[name] != after[name]]
        need(not changed, f"reading changed {', '.join(changed)}")
        bench.host.apply(found, [patch_of(picture, selected)], TITLE)
        after = bench.facts(document)
        need(after["quickMask"], "the mode was left")
        need(after["state"] == TITLE, f"the last step is {after['state']!r}")
        need(after["active"] == before["active"], "the active layer changed")
        need(bench.undo(document)["layers"] == before["layers"], "one step back is not enough")
        bench.mask(document, on=False)
        need(bench.facts(document)["selection"] == plain["selection"], "the mask changed")
    return "read as the selection, and still the mask"


def _artboard(bench: Bench) -> str:
    with bench.document() as (document, picture, selected):
        box = [CONTEXT.x + 10, 0, SIZE[0] + 60, SIZE[1] + 40]
        request = {"action": "artboard", "document": document.id, "box": box}
        before = dict(bench.host.run("acceptance", request))
        now, board = bench.host.describe(), before["layers"][0]["name"]
        seen = bench.host.capture(now, CONTEXT).image.numpy()[..., :3]
        [placed] = bench.host.apply(now, [patch_of(picture, selected)], TITLE)
        shown = bench.host.capture(now, CONTEXT).image.numpy()[..., :3]
        mask, sent = part(selected), 255 - part(picture)
        need(np.array_equal(shown[mask == 0], seen[mask == 0]), "px outside the mask changed")
        need(np.array_equal(shown[mask == 255], sent[mask == 255]), "px inside are not those sent")
        [stands] = [it for it in bench.facts(document)["layers"] if it["id"] == placed.id]
        need(stands["group"] == board, f"the layer stands in {stands['group']!r}")
        need(bench.undo(document)["layers"] == before["layers"], "one step back is not enough")
    return f"in the artboard, exactly; the canvas is {now.extent.width} x {now.extent.height} px"


def _fields(document: Document) -> dict[str, Any]:
    return {name: getattr(document, name) for name in Document.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class Check:
    """One behaviour. needed: False where either answer is fine."""

    name: str
    question: str
    run: Callable[[Bench], str]
    needed: bool = True


CHECKS = (
    Check("extra-channel", "Is an extra TIFF channel opened as the last alpha channel?", _extra_channel),
    Check("copy-selection", "Does a duplicated document keep the selection?", _copy_selection, False),
    Check("selection-bounds", "What do selection.bounds enclose?", _selection_bounds, False),
    Check("no-trace", "Does reading leave history, saved and layers as they were?", _no_trace),
    Check("exact-layer", "Is the layer exactly in place, in one history step?", _exact_layer),
    Check("group", "Are several layers grouped in their order?", _group),
    Check("above", "Does a layer go above another one?", _above),
    Check("transparency", "Is a flat TIFF's transparency read right?", _transparency),
    Check("canvas", "Does the canvas grow in the same step, with the selection?", _canvas),
    Check("cmyk", "Is CMYK read and laid back through copies?", _through("CMYK")),
    Check("lab", "Is Lab?", _through("LAB")),
    Check("grayscale", "Is grayscale?", _through("GRAYSCALE")),
    Check("32-bit", "Are 32 bits linear sRGB on both ways?", _through("RGB", "float32")),
    Check("new-document", "Does a picture open as an unsaved document?", _new_document),
    Check("pattern", "Is a pattern defined?", _pattern),
    Check("look", "Do history and histogram tell that something was painted?", _look),
    Check("quick-mask", "Is a quick mask read as the selection, and left as it is?", _quick_mask),
    Check("artboard", "Does a layer go into the artboard that it shows in?", _artboard),
    Check("recent-files", "Do temporary files show under Open Recent?", _recent, False),
)  # fmt: skip
