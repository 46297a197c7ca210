"""Bad situations end with one sentence, and the document is as it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

import photoshop_plugin.host
from photoshop_plugin.document import (
    ON_TOP,
    Arrangement,
    Capture,
    Document,
    LayerPatch,
    PlacedLayer,
    Sides,
    Source,
)
from photoshop_plugin.errors import DocumentRefused, PhotoshopError
from photoshop_plugin.flow import generate
from photoshop_plugin.host.photoshop import ComPhotoshop
from photoshop_plugin.host.tiff import read_capture
from photoshop_plugin.settings import Settings
from photoshop_plugin.task import Task
from scumble.client import Bounds, ColorSpace, Extent, Pixels, ServerInfo
from tests.fakes.photoshop import Application
from tests.photoshop_plugin.scene import (
    CHANGED,
    CONTEXT,
    SIZE,
    TITLE,
    Seen,
    open_document,
    patch_for,
)
from tests.photoshop_plugin.scripted_server import ScriptedServer

PROMPTS = {
    "quotes": """He said "moss", 'stone' and `brick` \\""",
    "line breaks": "moss\r\nand\u2028stone\u2029",
    "emoji": "moss \N{CAT FACE}\N{ZERO WIDTH JOINER}\N{HERB}",
    "end of a literal": '"}; app.activeDocument.close(SaveOptions.DONOTSAVECHANGES); //',
    "a program": "');while(app.documents.length){app.documents[0].close()};('",
    "a template": "${app.beep()} </script> #include evil.jsx",
    "percent signs": "100% moss %20 %0A",
}


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS.keys())
def test_prompts_are_words_and_never_run(
    photoshop: Application, host: ComPhotoshop, prompt: str
) -> None:
    document = open_document(photoshop)
    before, server = Seen(document), ScriptedServer()
    placed = generate(host, server, Settings(prompt=prompt, seed=7, count=2))
    assert server.requests[0].prompt == prompt
    group = document.stack[0]
    words = " ".join(prompt.split())
    shown = words if len(words) <= 60 else words[:59] + "…"
    assert group.name == f"Scumble: {shown}"
    assert [layer.name for layer in group.stack] == [it.name for it in placed]
    assert before.differences(Seen(document), but=CHANGED) == []


def full_disk(host: ComPhotoshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our next file lies on a disk without room, which /dev/full is."""
    (Path(host._folder.name) / "full.tif").symlink_to("/dev/full")
    monkeypatch.setattr("photoshop_plugin.host.photoshop.secrets.token_hex", lambda _: "full")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_when_the_result_is_written(
    photoshop: Application, host: ComPhotoshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = open_document(photoshop)
    before, described = Seen(document), host.describe()
    full_disk(host, monkeypatch)
    with pytest.raises(DocumentRefused, match=r"cannot be written: No space left on device\. Make"):
        host.apply(described, [patch_for(document)], TITLE)
    assert before.differences(Seen(document)) == []
    full_disk(host, monkeypatch)
    with pytest.raises(DocumentRefused, match="No space left on device"):
        host.open_picture(patch_for(document).pixels, "x2", 72, b"")


def test_a_full_disk_when_photoshop_writes(photoshop: Application, host: ComPhotoshop) -> None:
    document = open_document(photoshop)
    before, described = Seen(document), host.describe()
    photoshop.disk_is_full = True
    with pytest.raises(PhotoshopError, match="the disk is full"):
        host.capture(described, CONTEXT)
    assert before.differences(Seen(document)) == []
    assert list(Path(host._folder.name).iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"II*\0", b"II*\0\x08\0\0\0\x01\0"])
def test_a_file_that_breaks_off(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "half.tif"
    path.write_bytes(content)
    with pytest.raises(DocumentRefused, match="is that disk full"):
        read_capture(path, "", selected=False)


@pytest.mark.parametrize(
    ("outline", "selection"),
    [((-20, -9, 47, 58), (0, 0, 47, 58)), ((200, 100, 300, 400), (200, 100, 33, 67))],
    ids=["left and top", "right and bottom"],
)
def test_a_selection_that_reaches_beyond_the_canvas_is_cut(
    photoshop: Application, host: ComPhotoshop, outline: tuple, selection: tuple
) -> None:
    document = open_document(photoshop, selected=selection)
    document.outline = outline
    server = ScriptedServer()
    [layer] = generate(host, server, Settings(prompt="moss"))
    assert server.asked[0][1] == selection
    assert layer.bounds.x >= 0 and layer.bounds.right <= SIZE[0]


@pytest.mark.parametrize("outline", [(-50, 3, 0, 9), (3, 167, 9, 200)], ids=["left", "below"])
def test_a_selection_off_the_canvas(
    photoshop: Application, host: ComPhotoshop, outline: tuple
) -> None:
    document = open_document(photoshop)
    document.outline = outline
    before, server = Seen(document), ScriptedServer()
    with pytest.raises(DocumentRefused, match="wholly outside the canvas"):
        generate(host, server, Settings(prompt="moss"))
    assert (server.asked, server.requests) == ([], [])
    assert before.differences(Seen(document)) == []


HUGE = Extent(20_000, 15_000)
"""300 megapixels."""


@dataclass
class HugeDocument:
    """A host whose document is too large for anything that touches all of it."""

    selection: Bounds | None
    read: list[Bounds] = field(default_factory=list)
    laid: list[LayerPatch] = field(default_factory=list)

    def describe(self) -> Document:
        return Document(id=1, name="wall.psb", extent=HUGE, resolution=300.0, mode="RGB", bits=16,
                        profile="", quick_mask=False, selection=self.selection)  # fmt: skip

    def capture(
        self, document: Document, bounds: Bounds, source: Source = Source.MERGED
    ) -> Capture:
        self.read.append(bounds)
        assert bounds.width * bounds.height < 10**6
        image = np.zeros((bounds.height, bounds.width, 3), np.uint16)
        full = np.full((bounds.height, bounds.width), 65535, np.uint16)
        return Capture(Pixels.from_numpy(image), Pixels.from_numpy(full, ColorSpace.NON_COLOR))

    def apply(
        self,
        document: Document,
        patches: Sequence[LayerPatch],
        title: str,
        arrangement: Arrangement = ON_TOP,
    ) -> list[PlacedLayer]:
        self.laid += patches
        return [PlacedLayer(1, patch.name, patch.bounds) for patch in patches]


class LimitedServer(ScriptedServer):
    """Takes 16 megapixels, as ours does by itself."""

    def server_info(self) -> ServerInfo:
        info = super().server_info()
        return replace(info, limits=replace(info.limits, max_pixels=4096 * 4096))


def test_of_a_huge_canvas_only_the_context_is_read() -> None:
    host = HugeDocument(Bounds(19_000, 14_000, 500, 400))
    [layer] = generate(host, LimitedServer(), Settings(prompt="moss"))  # type: ignore[arg-type]
    assert host.read == [Bounds(18_991, 13_991, 518, 418)] == [layer.bounds]
    assert host.laid[0].pixels.extent == (518, 418)


@pytest.mark.parametrize(
    "settings",
    [
        Settings(prompt="moss", strength=0.5),
        Settings(prompt="moss", task=Task.LAYER),
        Settings(prompt="moss", task=Task.EXTEND),
        Settings(prompt="moss", task=Task.EXTEND, sides=Sides(left=9)),
        Settings(prompt="", task=Task.UPSCALE),
    ],
    ids=["restyle", "layer", "fill transparent", "grow", "upscale"],
)
def test_all_of_a_huge_canvas_is_refused_before_it_is_read(settings: Settings) -> None:
    host = HugeDocument(None)
    with pytest.raises(DocumentRefused, match=r"20000 x 15000 px .* \(16777216 px\)\. Select"):
        generate(host, LimitedServer(), settings)  # type: ignore[arg-type]
    assert host.read == []


def test_no_program_asks_where_a_document_lies() -> None:
    """Cloud documents have no file: `fullName` and `path` throw there, and Save would go to the cloud."""
    folder = Path(photoshop_plugin.host.__file__).parent / "jsx"
    for program in folder.glob("*.jsx"):
        text = program.read_text("utf-8")
        for member in (".fullName", ".path", ".save(", ".saved ="):
            assert member not in text, program.name
