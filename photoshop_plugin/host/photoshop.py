"""`PhotoshopHost` over COM: ExtendScript programs and TIFF files in a folder of the session's own."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from photoshop_plugin.document import (
    ON_TOP,
    Arrangement,
    Capture,
    Document,
    LayerPatch,
    PlacedLayer,
    Source,
)
from photoshop_plugin.host import com, script
from photoshop_plugin.host.application import Application
from photoshop_plugin.host.com_thread import ComThread
from photoshop_plugin.host.tiff import read_capture, write_patch
from photoshop_plugin.transparency import bounding_box
from scumble.client import Bounds, ColorSpace, Extent, Pixels, SampleType

_BITS = {"ONE": 1, "EIGHT": 8, "SIXTEEN": 16, "THIRTYTWO": 32}


class ComPhotoshop:
    """The Photoshop that is open on this computer. Implements `PhotoshopHost`; a context manager.

    Raises NotWindows or NotInstalled at once, everything else when it is called.
    """

    def __init__(
        self,
        *,
        is_running: Callable[[], bool] = com.is_running,
        patience_seconds: float = 60.0,
        on_busy: Callable[[], None] = lambda: None,
    ) -> None:
        com.require_com()
        self._folder = tempfile.TemporaryDirectory(prefix="scumble-", ignore_cleanup_errors=True)
        self._application = Application(
            com.connect, is_running, patience_seconds=patience_seconds, on_busy=on_busy
        )
        self._thread = ComThread(com.apartment)

    def describe(self) -> Document:
        """See PhotoshopHost."""
        return _document(self._run("describe", {"all": False})[0])

    def documents(self) -> list[Document]:
        """See PhotoshopHost."""
        return [_document(facts) for facts in self._run("describe", {"all": True})]

    def unmasked(self, document: Document) -> Document:
        """See PhotoshopHost."""
        box = self._run("quickmask", _identity(document))["selection"]
        selection = _on_canvas(_bounds(box), document.extent) if box else None
        return replace(document, quick_mask=False, selection=selection)

    def capture(
        self, document: Document, bounds: Bounds, source: Source = Source.MERGED
    ) -> Capture:
        """See PhotoshopHost."""
        path = self._new_file()
        try:
            answer = self._run(
                "capture",
                {
                    **_identity(document),
                    "selected": document.selection is not None,
                    "source": source.value,
                    "layer": document.layer,
                    "bounds": [bounds.x, bounds.y, bounds.right, bounds.bottom],
                    "srgb": document.is_converted,
                    "channel": _channel_name(),
                    "file": path.as_posix(),
                },
            )
            return read_capture(
                path,
                document.profile,
                selected=bool(answer["selected"]),
                converted=document.is_converted,
            )
        finally:
            path.unlink(missing_ok=True)

    def look(self, document: Document) -> str | None:
        """See PhotoshopHost."""
        mark = self._run("look", {"document": document.id})["mark"]
        return None if mark is None else str(mark)

    def apply(
        self,
        document: Document,
        patches: Sequence[LayerPatch],
        title: str,
        arrangement: Arrangement = ON_TOP,
    ) -> list[PlacedLayer]:
        """See PhotoshopHost."""
        bounds = patches[0].bounds
        paths = [self._new_file() for _ in patches]
        try:
            for path, patch in zip(paths, patches, strict=True):
                write_patch(path, patch, document.resolution, document.bits)
            placed = self._run(
                "apply",
                {
                    **_identity(document),
                    "x": bounds.x,
                    "y": bounds.y,
                    "title": title,
                    "channel": _channel_name(),
                    "above": arrangement.above,
                    "shown": _shown(patches),
                    "group": arrangement.group if len(patches) > 1 else "",
                    "grow": list(arrangement.grow) if any(arrangement.grow) else None,
                    "patches": [
                        {
                            "file": path.as_posix(),
                            "name": patch.name,
                            "width": patch.bounds.width,
                            "height": patch.bounds.height,
                            "masked": patch.mask is not None,
                            "srgb": _is_plain_srgb(patch.pixels, patch.icc_profile),
                        }
                        for path, patch in zip(paths, patches, strict=True)
                    ],
                },
                finish=True,
            )
        finally:
            for path in paths:
                path.unlink(missing_ok=True)
        return [
            PlacedLayer(int(layer["id"]), patch.name, patch.bounds)
            for layer, patch in zip(placed, patches, strict=True)
        ]

    def open_picture(
        self, pixels: Pixels, name: str, resolution: float, icc_profile: bytes
    ) -> None:
        """See PhotoshopHost."""
        self._open(pixels, name, resolution, icc_profile, pattern=False)

    def define_pattern(self, pixels: Pixels, name: str) -> None:
        """See PhotoshopHost."""
        self._open(pixels, name, 72.0, b"", pattern=True)

    def _open(
        self, pixels: Pixels, name: str, resolution: float, icc_profile: bytes, *, pattern: bool
    ) -> None:
        path, bounds = self._new_file(), Bounds(0, 0, *pixels.extent)
        bits = {SampleType.U8: 8, SampleType.U16: 16}.get(pixels.sample_type, 32)
        try:
            write_patch(path, LayerPatch(name, pixels, None, bounds, icc_profile), resolution, bits)
            self._run(
                "open",
                {
                    "file": path.as_posix(),
                    "name": name,
                    "width": bounds.width,
                    "height": bounds.height,
                    "alpha": pixels.channels == 4 and not pattern,
                    "srgb": _is_plain_srgb(pixels, icc_profile),
                    "pattern": pattern,
                },
                finish=True,
            )
        finally:
            path.unlink(missing_ok=True)

    def run(self, program: str, request: dict[str, Any]) -> Any:
        """One of our programs by name; for the acceptance script, which has its own."""
        return self._run(program, request, finish=True)

    def close(self) -> None:
        """Lets go of Photoshop and deletes the session's files."""
        self._thread.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, program: str, request: dict[str, Any], *, finish: bool = False) -> Any:
        text = script.build(program, request)
        answer = self._thread.call(lambda: self._application.run(program, text), finish=finish)
        return script.parse(program, answer)

    def _new_file(self) -> Path:
        return Path(self._folder.name) / f"{secrets.token_hex(8)}.tif"


def _identity(document: Document) -> dict[str, int]:
    """What has to be true of the document still."""
    return {
        "document": document.id,
        "width": document.extent.width,
        "height": document.extent.height,
    }


def _document(facts: dict[str, Any]) -> Document:
    box, extent = facts["selection"], Extent(int(facts["width"]), int(facts["height"]))
    return Document(
        id=int(facts["id"]),
        name=str(facts["name"]),
        extent=extent,
        resolution=float(facts["resolution"]),
        mode=str(facts["mode"]).removeprefix("DocumentMode."),
        bits=_BITS.get(str(facts["bits"]).removeprefix("BitsPerChannelType."), 0),
        profile=str(facts["profile"]),
        quick_mask=bool(facts["quickMask"]),
        selection=_on_canvas(_bounds(box), extent) if box else None,
        layer=int(facts["layer"]),
        layer_name=str(facts["layerName"]),
    )


def _shown(patches: Sequence[LayerPatch]) -> list[int]:
    """[left, top, right, bottom] of what the masks let show; of all of it where they let nothing."""
    boxes = []
    for patch in patches:
        x, y = patch.bounds.x, patch.bounds.y
        box = bounding_box(patch.mask.numpy()[..., 0]) if patch.mask is not None else None
        box = box or Bounds(0, 0, *patch.bounds.extent)
        boxes.append((x + box.x, y + box.y, x + box.right, y + box.bottom))
    left, top, right, bottom = zip(*boxes, strict=True)
    return [min(left), min(top), max(right), max(bottom)]


def _is_plain_srgb(pixels: Pixels, icc_profile: bytes) -> bool:
    """Whether Photoshop has to be told that the numbers are sRGB."""
    return not icc_profile and pixels.color_space in (ColorSpace.SRGB, ColorSpace.LINEAR_REC709)


def _channel_name() -> str:
    """A name that no channel of the artist's has."""
    return f"scumble-{secrets.token_hex(8)}"


def _bounds(edges: list[int]) -> Bounds:
    left, top, right, bottom = (int(edge) for edge in edges)
    return Bounds(left, top, right - left, bottom - top)


def _on_canvas(box: Bounds, extent: Extent) -> Bounds:
    """The part of a selection that lies on the canvas; all of it where none does."""
    left, top = max(box.x, 0), max(box.y, 0)
    right, bottom = min(box.right, extent.width), min(box.bottom, extent.height)
    if left >= right or top >= bottom:
        return box
    return Bounds(left, top, right - left, bottom - top)
