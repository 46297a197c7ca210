"""PSD files without Photoshop: read, painted on, written, watched."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from psd_tools import PSDImage

from photoshop_plugin.cli import main
from photoshop_plugin.document import Sides, Source
from photoshop_plugin.errors import DocumentRefused
from photoshop_plugin.files.folder import Watch, paint
from photoshop_plugin.files.psd import PsdFile
from photoshop_plugin.flow import generate
from photoshop_plugin.settings import Settings
from photoshop_plugin.task import Task
from scumble.client import Bounds, ColorSpace, Extent, Inpaint, Pixels
from tests.photoshop_plugin.profiles import adobe_rgb_like
from tests.photoshop_plugin.psd_files import write_psd
from tests.photoshop_plugin.scene import SELECTED, SIZE, soft_selection, texture
from tests.photoshop_plugin.scripted_server import ScriptedServer


def invert(image: Pixels) -> Pixels:
    array = image.numpy()
    return Pixels.from_numpy(
        np.iinfo(array.dtype).max - array, image.color_space, image.icc_profile
    )


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("icc", [b"", adobe_rgb_like()], ids=["untagged", "adobe-rgb"])
def test_a_saved_selection_is_repainted_as_a_masked_layer(
    tmp_path: Path, dtype: str, icc: bytes
) -> None:
    picture = texture(*SIZE, dtype)
    chosen = soft_selection(SIZE, SELECTED, dtype)
    other = texture(*SIZE, dtype, 1, seed=4)[..., 0]
    path, output = tmp_path / "photo.psd", tmp_path / "out" / "photo.psd"
    write_psd(path, picture, {"Artist's": other, "Barn": chosen}, icc=icc, resolution=240.5)
    original = path.read_bytes()
    host = PsdFile(path, output)
    document = host.describe()
    assert (document.extent, document.mode, document.bits) == (
        Extent(*SIZE),
        "RGB",
        np.dtype(dtype).itemsize * 8,
    )
    assert (document.resolution, document.selection) == (240.5, Bounds(*SELECTED))
    server = ScriptedServer(invert)
    settings = Settings(prompt="moss \N{HERB}", seed=7, count=2)
    placed = generate(host, server, settings)
    [request] = server.requests
    assert isinstance(request, Inpaint)
    assert isinstance(request.image, Pixels) and isinstance(request.selection, Pixels)
    box = request.plan.context
    rows, columns = slice(box.y, box.bottom), slice(box.x, box.right)
    assert np.array_equal(request.image.numpy(), picture[rows, columns])
    assert np.array_equal(request.selection.numpy()[..., 0], chosen[rows, columns])
    assert request.image.color_space is (ColorSpace.ICC if icc else ColorSpace.SRGB)

    assert path.read_bytes() == original
    psd = PSDImage.open(output)
    bottom, group = list(psd)
    assert (bottom.name, group.name) == ("Photo", "Scumble: moss \N{HERB}")
    assert [layer.name for layer in reversed(list(group))] == [it.name for it in placed]
    assert [layer.visible for layer in reversed(list(group))] == [True, False]
    top = list(group)[-1]
    assert top.name == "Scumble: moss \N{HERB} (7)"
    assert top.bbox == (box.x, box.y, box.right, box.bottom)
    full = np.iinfo(dtype).max
    read = np.rint(top.numpy("color") * full).astype(dtype)
    assert np.array_equal(read, full - picture[rows, columns])
    mask = np.rint(np.asarray(top.numpy("mask"))[..., 0] * 255)
    assert np.abs(mask - chosen[rows, columns] / full * 255).max() <= 0.5
    again = PsdFile(output, tmp_path / "third.psd", selection="Barn")
    assert again.describe().selection == Bounds(*SELECTED), "saved selections stay"
    merged = again.capture(again.describe(), again.describe().bounds).image.numpy()
    assert np.array_equal(merged[chosen == 0], picture[chosen == 0])
    assert np.array_equal(merged[chosen == full], (full - picture)[chosen == full])


def test_without_a_selection_the_whole_picture_is_enlarged(tmp_path: Path) -> None:
    picture = texture(31, 17)
    write_psd(tmp_path / "a.psd", picture, resolution=300)
    host = PsdFile(tmp_path / "a.psd", tmp_path / "b.psd")
    generate(host, ScriptedServer(), Settings(prompt="", task=Task.UPSCALE, factor=4))
    larger = PsdFile(tmp_path / "b.psd", tmp_path / "c.psd")
    assert larger.describe().extent == Extent(124, 68)
    assert larger.describe().resolution == 300
    shown = larger.capture(larger.describe(), larger.describe().bounds).image.numpy()
    assert np.array_equal(shown[::4, ::4], picture)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Settings(prompt="x", task=Task.FILL), "Nothing is selected"),
        (Settings(prompt="x", task=Task.PATTERN), "Patterns are Photoshop's own"),
        (Settings(prompt="x", task=Task.EXTEND, sides=Sides(left=4)), "cannot be grown"),
        (Settings(prompt="x", task=Task.RESTYLE, source=Source.LAYER), "no active layer"),
    ],
    ids=["no selection", "pattern", "grow", "layer"],
)
def test_what_files_cannot_do_is_said(tmp_path: Path, settings: Settings, words: str) -> None:
    write_psd(tmp_path / "a.psd", texture(31, 17))
    host = PsdFile(tmp_path / "a.psd", tmp_path / "b.psd")
    with pytest.raises(DocumentRefused, match=words):
        generate(host, ScriptedServer(), settings)
    assert not (tmp_path / "b.psd").exists()


@pytest.mark.parametrize(
    "settings",
    [Settings(prompt="x", strength=0.5), Settings(prompt="x", task=Task.LAYER)],
    ids=["restyle", "layer"],
)
@pytest.mark.parametrize(
    ("mode", "depth", "words"),
    [
        ("CMYK", 8, "is CMYK with 8 bits; files are read in RGB with 8 or 16"),
        ("L", 16, "is GRAYSCALE with 16 bits; files are read in RGB with 8 or 16"),
        ("LAB", 8, "is LAB with 8 bits; files are read in RGB with 8 or 16"),
        ("RGB", 32, "is RGB with 32 bits; files are read in RGB with 8 or 16"),
        ("1", 1, "is a BITMAP document; Scumble paints on RGB"),
        ("MULTICHANNEL", 8, "is a MULTICHANNEL document; Scumble paints on RGB"),
        ("DUOTONE", 8, "is a DUOTONE document; Scumble paints on RGB"),
    ],
)  # fmt: skip
def test_other_modes_are_refused(
    tmp_path: Path, mode: str, depth: int, words: str, settings: Settings
) -> None:
    psd = PSDImage.new(mode, (20, 10), depth=depth)  # type: ignore[arg-type]
    psd.save(tmp_path / "a.psd")
    host, server = PsdFile(tmp_path / "a.psd", tmp_path / "b.psd"), ScriptedServer()
    with pytest.raises(DocumentRefused, match=words):
        generate(host, server, settings)
    assert server.requests == []
    assert not (tmp_path / "b.psd").exists()


def test_a_bad_file_and_a_wrong_channel_hold_up_nobody(tmp_path: Path) -> None:
    chosen = soft_selection(SIZE, SELECTED)
    for name, channel in (("a.psd", "Barn"), ("c.psd", "Sky")):
        write_psd(tmp_path / name, texture(*SIZE), {channel: chosen})
    (tmp_path / "b.psd").write_bytes(b"no picture")
    outcomes = dict(
        paint(
            sorted(tmp_path.glob("*.psd")),
            ScriptedServer(),
            Settings(prompt="moss"),
            lambda path: tmp_path / "out" / path.name,
            selection="Barn",
        )
    )
    said = {path.name: outcome for path, outcome in outcomes.items()}
    assert [layer.name for layer in said["a.psd"]] == ["Scumble: moss (0)"]
    assert "cannot be read as a PSD" in str(said["b.psd"])
    assert "'Sky'" in str(said["c.psd"])
    assert [it.name for it in (tmp_path / "out").iterdir()] == ["a.psd"]


def test_a_folder_is_watched(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    out.mkdir()
    watch = Watch(folder, lambda path: out / path.name)
    (folder / "a.psd").write_bytes(b"half")
    assert watch.look() == []
    (folder / "a.psd").write_bytes(b"the whole file")
    (folder / "notes.txt").write_bytes(b"no")
    assert watch.look() == [], "it is still being written"
    assert watch.look() == [folder / "a.psd"]
    assert watch.look() == [], "once"
    (folder / "a.psd").write_bytes(b"saved again, longer")
    assert watch.look() == []
    assert watch.look() == [folder / "a.psd"]
    (out / "b.PSD").write_bytes(b"done before")
    (folder / "b.PSD").write_bytes(b"x")
    newer = (folder / "b.PSD").stat().st_mtime_ns + 10**9
    os.utime(out / "b.PSD", ns=(newer, newer))
    assert [watch.look(), watch.look()] == [[], []], "its result is newer"


def test_the_command_names_every_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_psd(tmp_path / "a.psd", texture(*SIZE), {"Barn": soft_selection(SIZE, SELECTED)})
    write_psd(tmp_path / "b.psd", texture(*SIZE))
    monkeypatch.setattr(
        "photoshop_plugin.cli.connect", lambda *_, **__: nullcontext(ScriptedServer())
    )
    files = [str(tmp_path / name) for name in ("a.psd", "b.psd")]
    assert main(["batch", *files, "--prompt", "moss", "--task", "fill", "--seed", "3"]) == 1
    said = capsys.readouterr()
    assert f"{tmp_path / 'scumble' / 'a.psd'}: Scumble: moss (3): 65 x 76 px at 141, 12" in said.out
    assert "b.psd has no saved selection" in said.err
    server = ScriptedServer()
    monkeypatch.setattr("photoshop_plugin.cli.connect", lambda *_, **__: nullcontext(server))
    assert main(["batch", files[0], "--prompt", "moss", "--task", "pattern"]) == 1
    assert "a.psd: Patterns are Photoshop's own" in capsys.readouterr().err
    assert main(["batch", files[0], "--prompt", "moss", "--task", "extend", "--left", "9"]) == 1
    assert "a.psd: The canvas of a file cannot be grown" in capsys.readouterr().err
    assert server.requests == [], "nothing is painted for what cannot be laid back"
    assert main(["batch", str(tmp_path / "c.psd"), "--prompt", "x"]) == 1
    assert capsys.readouterr().err == f"There is no file {tmp_path / 'c.psd'}.\n"
    assert main(["watch", str(tmp_path / "none"), "--prompt", "x"]) == 1
    assert "There is no folder" in capsys.readouterr().err
