"""Picture files of every kind: what goes in comes out, and what cannot is refused in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio  # noqa: N813
import pytest
from PIL import Image, ImageCms

from core_server.commands.errors import CommandError
from core_server.commands.files import read_mask, read_picture
from core_server.commands.output_files import check_output, write_picture
from core_server.commands.png import texts
from scumble.client import ColorSpace, Pixels

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
NAMES = {"uint8": "uint8", "uint16": "uint16", "float16": "half", "float32": "float"}


def samples(dtype: str, channels: int) -> np.ndarray:
    rng = np.random.default_rng(channels)
    if dtype.startswith("u"):
        return rng.integers(0, np.iinfo(dtype).max + 1, (11, 13, channels)).astype(dtype)
    return rng.random((11, 13, channels)).astype(dtype)


def store(path: Path, array: np.ndarray, *, straight: bool = True, **attributes: Any) -> Path:
    """Writes with OpenImageIO alone, as another program would."""
    height, width, channels = array.shape
    spec = oiio.ImageSpec(width, height, channels, NAMES[array.dtype.name])
    if channels in (2, 4):
        spec.alpha_channel = channels - 1
        spec.channelnames = ("Y", "A") if channels == 2 else ("R", "G", "B", "A")
    if straight:
        spec.attribute("oiio:UnassociatedAlpha", 1)
    profile = attributes.pop("profile", b"")
    if profile:
        kind = oiio.TypeDesc(f"uint8[{len(profile)}]")
        spec.attribute("ICCProfile", kind, np.frombuffer(profile, np.uint8))
    for name, value in attributes.items():
        spec.attribute(name, value)
    output = oiio.ImageOutput.create(str(path))
    assert output.open(str(path), spec), output.geterror()
    assert output.write_image(array)
    assert output.close()
    return path


@pytest.mark.parametrize(
    ("ending", "dtype", "channels", "profile"),
    [
        (".png", "uint8", 1, False),
        (".png", "uint8", 2, False),
        (".png", "uint8", 3, True),
        (".png", "uint8", 4, True),
        (".png", "uint16", 1, False),
        (".png", "uint16", 2, False),
        (".png", "uint16", 3, True),
        (".png", "uint16", 4, True),
        (".tif", "uint8", 3, True),
        (".tif", "uint16", 4, True),
        (".tif", "uint16", 1, False),
        (".tif", "float32", 3, True),
        (".tif", "float32", 4, False),
        (".webp", "uint8", 3, True),
        (".webp", "uint8", 4, True),
        (".exr", "float16", 3, False),
        (".exr", "float16", 4, False),
        (".exr", "float32", 1, False),
        (".exr", "float32", 4, False),
    ],
)
def test_what_nobody_painted_on_is_written_as_it_was(
    tmp_path: Path, ending: str, dtype: str, channels: int, profile: bool
) -> None:
    array = samples(dtype, channels)
    source = store(
        tmp_path / f"in{ending}",
        array,
        straight=ending != ".exr",
        profile=PROFILE if profile else b"",
        XResolution=300.0,
        YResolution=300.0,
        ResolutionUnit="in",
    )
    if ending == ".webp":
        array = read_picture(source).stored
    picture = read_picture(source)
    assert np.array_equal(picture.stored, array)
    assert picture.pixels.icc_profile == (PROFILE if profile else b"")
    assert picture.pixels.channels == (4 if channels == 2 else channels)
    edited = picture.pixels.numpy().copy()
    edited[2:4, 3:5] = edited[2:4, 3:5][::-1, ::-1]
    changed = Pixels.from_numpy(edited, picture.pixels.color_space, picture.pixels.icc_profile)
    write_picture(tmp_path / f"out{ending}", changed, picture)
    again = read_picture(tmp_path / f"out{ending}")
    untouched = (edited == picture.pixels.numpy()).all(axis=2)
    assert untouched.sum() >= 11 * 13 - 4
    assert again.stored.dtype == array.dtype
    assert np.array_equal(again.stored[untouched], array[untouched])
    assert again.pixels.icc_profile == picture.pixels.icc_profile
    assert again.associated == picture.associated
    if ending in (".png", ".tif"):
        assert again.spec.getattribute("XResolution") == 300.0
    if not picture.associated:
        assert np.array_equal(again.pixels.numpy(), edited)


def test_associated_tiff_keeps_its_samples(tmp_path: Path) -> None:
    array = samples("uint16", 4)
    array[..., :3] = array[..., :3] * (array[..., 3:] / 65535)
    source = store(tmp_path / "in.tif", array, straight=False)
    picture = read_picture(source)
    assert picture.associated
    write_picture(tmp_path / "out.tif", picture.pixels, picture)
    again = read_picture(tmp_path / "out.tif")
    assert again.associated
    assert np.array_equal(again.stored, array)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_upright(tmp_path: Path, orientation: int) -> None:
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :8] = 255
    turns = {2: [0], 3: [3], 4: [1], 5: [5], 6: [2], 7: [6], 8: [4]}
    stored = Image.fromarray(upright)
    for turn in turns.get(orientation, []):
        stored = stored.transpose(Image.Transpose(turn))
    tags = Image.Exif()
    tags[0x0112] = orientation
    stored.save(tmp_path / "in.jpg", exif=tags, quality=95)
    picture = read_picture(tmp_path / "in.jpg")
    assert picture.pixels.extent == (32, 16)
    assert np.abs(picture.pixels.numpy().astype(int) - upright).max() < 40
    write_picture(tmp_path / "out.png", picture.pixels, picture)
    assert read_picture(tmp_path / "out.png").pixels.extent == (32, 16)
    assert np.array_equal(read_picture(tmp_path / "out.png").stored, picture.pixels.numpy())


def test_linear_light_is_known_by_its_type(tmp_path: Path) -> None:
    exr = store(tmp_path / "in.exr", samples("float16", 3), straight=False)
    assert read_picture(exr).pixels.color_space is ColorSpace.LINEAR_REC709
    png = store(tmp_path / "in.png", samples("uint8", 3))
    assert read_picture(png).pixels.color_space is ColorSpace.SRGB


def cmyk(path: Path) -> Path:
    Image.new("CMYK", (8, 8)).save(path)
    return path


def broken_profile(path: Path) -> Path:
    Image.new("RGB", (8, 8)).save(path, icc_profile=b"no profile" * 40)
    return path


def cut_off(path: Path) -> Path:
    whole = store(path, samples("uint8", 3)).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return path


def altered(path: Path) -> Path:
    data = bytearray(store(path, samples("uint8", 3)).read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return path


def text(path: Path) -> Path:
    path.write_text("not a picture")
    return path


@pytest.mark.parametrize(
    ("make", "name", "says"),
    [
        (lambda path: path, "none.png", "There is no file"),
        (cut_off, "half.png", "is damaged: it is cut off after"),
        (altered, "altered.png", "is damaged: its .* chunk is damaged"),
        (cut_off, "half.tif", "is damaged"),
        *(
            (broken_profile, f"profile.{kind}", "ICC profile in .* is damaged. Assign the right")
            for kind in ("png", "jpg", "tif")
        ),
        (cut_off, "half.jpg", "is damaged|cannot be read"),
        (cmyk, "ink.jpg", "is CMYK. Convert it to RGB"),
        (cmyk, "ink.tif", "is CMYK. Convert it to RGB"),
        (text, "text.png", "cannot be read as a picture"),
        (
            lambda path: store(path, samples("uint8", 1), profile=PROFILE),
            "grey.tif",
            "grey pixels and an ICC profile for RGB",
        ),
    ],
)
def test_what_cannot_be_read_is_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], make: Any, name: str, says: str
) -> None:
    with pytest.raises(CommandError, match=says) as caught:
        read_picture(make(tmp_path / name))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == "", "no library speaks over us"


@pytest.mark.parametrize(
    ("name", "dtype", "channels", "says"),
    [
        ("out.gif", "uint8", 3, "no known ending"),
        ("out", "uint8", 3, "no known ending"),
        ("nowhere/out.png", "uint8", 3, "folder must exist"),
        (
            "out.jpg",
            "uint16",
            3,
            r"cannot hold this picture \(RGB, u16\). Choose .png, .tif or .tiff.",
        ),
        ("out.jpg", "uint8", 4, r"RGBA.* Choose .png, .tif, .tiff or .webp"),
        ("out.png", "float32", 3, "f32"),
        ("out.exr", "uint8", 3, "u8"),
        ("out.webp", "uint8", 1, "grey"),
    ],
)
def test_what_cannot_be_written_is_refused_before_painting(
    tmp_path: Path, name: str, dtype: str, channels: int, says: str
) -> None:
    like = Pixels.from_numpy(samples(dtype, channels))
    with pytest.raises(CommandError, match=says):
        check_output(tmp_path / name, like)


def test_a_png_carries_texts_and_forgets_older_ones(tmp_path: Path) -> None:
    pixels = Pixels.from_numpy(samples("uint8", 3))
    write_picture(tmp_path / "a.png", pixels, None, {"scumble": "Ä 漢字", "parameters": "old"})
    picture = read_picture(tmp_path / "a.png")
    write_picture(tmp_path / "b.png", pixels, picture, {"scumble": "new"})
    assert texts((tmp_path / "a.png").read_bytes())["scumble"] == "Ä 漢字"
    found = texts((tmp_path / "b.png").read_bytes())
    assert (found["scumble"], "parameters" in found) == ("new", False)
    with Image.open(tmp_path / "a.png") as other_program:
        assert other_program.info["scumble"] == "Ä 漢字"


def test_masks_are_grey_or_alpha(tmp_path: Path) -> None:
    grey = np.zeros((11, 13, 1), np.uint8)
    grey[3, 4] = 200
    colour = np.repeat(grey, 3, axis=2)
    alpha = np.concatenate([np.full_like(colour, 255), grey], axis=2)
    opaque = np.concatenate([colour, np.full_like(grey, 255)], axis=2)
    for name, array in {"grey": grey, "colour": colour, "alpha": alpha, "opaque": opaque}.items():
        mask = read_mask(store(tmp_path / f"{name}.png", array), 13, 11)
        assert np.array_equal(mask, grey[..., 0]), name


def test_masks_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    mask = store(tmp_path / "mask.png", np.zeros((11, 13, 1), np.uint8))
    with pytest.raises(CommandError, match="13 x 11 px and the picture 14 x 11 px"):
        read_mask(mask, 14, 11)
    with pytest.raises(CommandError, match="selects nothing"):
        read_mask(mask, 13, 11)
