"""The Application object, and the switches for what readings of Photoshop differ in."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from tests.fakes.photoshop import files
from tests.fakes.photoshop.document import Document
from tests.fakes.photoshop.javascript import JavaScript
from tests.fakes.photoshop.objects import NO_SUCH_PROPERTY, Collection, Enum, Fault, Thing, method


class Preferences(Thing):
    """JS: Preferences. Centimetres on purpose: programs have to cope, and to put them back."""

    typename = "Preferences"
    rulerUnits = Enum("Units.CM")  # noqa: N815


class Application(Thing):
    """JS: Application."""

    typename = "Application"
    _own = Thing._own | frozenset(
        [
            "front",
            "open_documents",
            "javascript",
            "next_id",
            "conversions",
            "scripts",
            "duplicates_land",
            "duplicates_keep_selection",
            "bounds_are_cut_by_mask",
            "tiff_transparency",
            "groups_land",
            "merged_copies_grow",
            "grown_copies_keep_channels",
            "quick_mask_is_a_step",
            "patterns",
            "drives",
            "disk_is_full",
        ]
    )

    def __init__(
        self,
        *,
        duplicates_land: Literal["same", "centre"] = "same",
        duplicates_keep_selection: bool = False,
        bounds_are_cut_by_mask: bool = True,
        tiff_transparency: Literal["assocalpha", "unassalpha"] = "assocalpha",
        groups_land: Literal["top", "active"] = "top",
        merged_copies_grow: tuple[int, int, int, int] = (0, 0, 0, 0),
        grown_copies_keep_channels: bool = True,
        quick_mask_is_a_step: bool = True,
    ) -> None:
        self.duplicates_land = duplicates_land
        self.duplicates_keep_selection = duplicates_keep_selection
        self.bounds_are_cut_by_mask = bounds_are_cut_by_mask
        self.tiff_transparency = tiff_transparency
        self.groups_land = groups_land
        self.merged_copies_grow = merged_copies_grow
        self.grown_copies_keep_channels = grown_copies_keep_channels
        self.quick_mask_is_a_step = quick_mask_is_a_step
        self.disk_is_full = False
        self.patterns: dict[str, Any] = {}
        self.drives: dict[str, Path] = {}
        self.application = self
        self._ids = 100
        self.version = "27.5.0"
        self.displayDialogs = Enum("DialogModes.ALL")
        self.preferences = Preferences()
        self.open_documents: list[Document] = []
        self.front: Document | None = None
        self.documents = Collection(None, lambda: self.open_documents)
        self.javascript = JavaScript(self)
        self.conversions: list[tuple[str, str]] = []
        self.scripts: list[str] = []

    def next_id(self) -> int:
        """Document and layer ids; never used twice."""
        self._ids += 1
        return self._ids

    @property
    def activeDocument(self) -> Document:  # noqa: N802
        if self.front is None:
            raise Fault("No such element", NO_SUCH_PROPERTY)
        return self.front

    @activeDocument.setter
    def activeDocument(self, document: Document) -> None:  # noqa: N802
        if document not in self.open_documents:
            raise Fault("No such element", NO_SUCH_PROPERTY)
        self.front = document

    @method
    def open(self, path: str, kind: Enum) -> Document:
        if kind != Enum("OpenDocumentType.TIFF"):
            raise Fault("Camera Raw may take it")
        if self.displayDialogs != Enum("DialogModes.NO"):
            raise Fault("a dialog may ask about the colour profile: the program would hang here")
        return files.open_tiff(self, path)

    @method
    def doJavaScript(self, script: str, arguments: Any, mode: int) -> str:  # noqa: N802
        """Answers with the last value as text. Errors that reach it come back as error 8800."""
        if arguments is not None or mode != 1:
            raise Fault("call with three arguments: script, None, 1")
        self.scripts.append(script)
        return self.javascript.run(script)
