"""`PhotoshopHost` over COM: three ExtendScript programs and TIFF files in a folder of the session's own."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from photoshop_plugin.document import Capture, Document, LayerPatch, PlacedLayer
from photoshop_plugin.host import com, script
from photoshop_plugin.host.application import Application
from photoshop_plugin.host.com_thread import ComThread
from photoshop_plugin.host.tiff import read_capture, write_patch
from scumble.client import Bounds, ColorSpace, Extent

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
        facts = self._run("describe", {})
        box = facts["selection"]
        return Document(
            id=int(facts["id"]),
            name=str(facts["name"]),
            extent=Extent(int(facts["width"]), int(facts["height"])),
            resolution=float(facts["resolution"]),
            mode=str(facts["mode"]).removeprefix("DocumentMode."),
            bits=_BITS.get(str(facts["bits"]).removeprefix("BitsPerChannelType."), 0),
            profile=str(facts["profile"]),
            quick_mask=bool(facts["quickMask"]),
            selection=_bounds(box) if box else None,
        )

    def capture(self, document: Document, bounds: Bounds) -> Capture:
        """See PhotoshopHost."""
        path = self._new_file()
        try:
            answer = self._run(
                "capture",
                {
                    **_identity(document),
                    "selected": document.selection is not None,
                    "bounds": [bounds.x, bounds.y, bounds.right, bounds.bottom],
                    "channel": _channel_name(),
                    "file": path.as_posix(),
                },
            )
            return read_capture(path, document.profile, selected=bool(answer["selected"]))
        finally:
            path.unlink(missing_ok=True)

    def apply(
        self, document: Document, patches: Sequence[LayerPatch], title: str
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
                    "patches": [
                        {
                            "file": path.as_posix(),
                            "name": patch.name,
                            "width": patch.bounds.width,
                            "height": patch.bounds.height,
                            "masked": patch.mask is not None,
                            "srgb": _is_plain_srgb(patch),
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


def _is_plain_srgb(patch: LayerPatch) -> bool:
    """Whether Photoshop has to be told that the numbers are sRGB."""
    return not patch.icc_profile and patch.pixels.color_space == ColorSpace.SRGB


def _channel_name() -> str:
    """A name that no channel of the artist's has."""
    return f"scumble-{secrets.token_hex(8)}"


def _bounds(edges: list[int]) -> Bounds:
    left, top, right, bottom = (int(edge) for edge in edges)
    return Bounds(left, top, right - left, bottom - top)
