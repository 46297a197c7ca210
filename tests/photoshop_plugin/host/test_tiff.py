"""TIFF files: number types, alpha, and what a program that is not ours reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from photoshop_plugin.document import LayerPatch
from photoshop_plugin.errors import ScriptFailed
from photoshop_plugin.host.tiff import convert_samples, read_capture, straight_alpha, write_patch
from scumble.client import Bounds, ColorSpace, Pixels
from tests.photoshop_plugin.scene import ICC, texture


@pytest.mark.parametrize("resolution", [72.0, 300.0, 240.5])
def test_another_reader_sees_profile_resolution_and_pixels(
    tmp_path: Path, resolution: float
) -> None:
    pixels, mask = texture(31, 17), texture(31, 17, channels=1)
    patch = LayerPatch(
        "n", Pixels.from_numpy(pixels), Pixels.from_numpy(mask), Bounds(0, 0, 31, 17), ICC
    )
    write_patch(tmp_path / "p.tif", patch, resolution, 16)
    with Image.open(tmp_path / "p.tif") as image:
        assert image.info["icc_profile"] == ICC
        assert image.info["dpi"] == pytest.approx((resolution, resolution))
        assert np.array_equal(np.asarray(image)[..., :3], pixels)


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        (np.array([0, 1, 128, 255], "uint8"), "uint16", [0, 257, 32896, 65535]),
        (np.array([0, 128, 257, 65535], "uint16"), "uint8", [0, 0, 1, 255]),
        (np.array([-0.5, 0, 0.5, 1, 7], "float32"), "uint8", [0, 0, 128, 255, 255]),
        (np.array([0, 1], "float16"), "uint16", [0, 65535]),
    ],
    ids=["8-to-16", "16-to-8", "float-to-8", "half-to-16"],
)
def test_full_scale_stays_full_scale(source: np.ndarray, target: str, expected: list[int]) -> None:
    converted = convert_samples(source, target)
    assert (converted.tolist(), converted.dtype.name) == (expected, target)


def test_premultiplied_colour_is_divided_and_nothing_divides_by_zero() -> None:
    premultiplied = np.array(
        [[[10, 20, 30, 255], [64, 0, 128, 128], [0, 0, 0, 0], [9, 9, 9, 3]]], "uint8"
    )
    straight = straight_alpha(premultiplied)
    assert straight.tolist() == [
        [[10, 20, 30, 255], [128, 0, 255, 128], [0, 0, 0, 0], [255, 255, 255, 3]]
    ]


@pytest.mark.parametrize(("channels", "selected"), [(1, False), (3, True)])
def test_a_file_that_is_no_rgb_with_selection_is_refused(
    tmp_path: Path, channels: int, *, selected: bool
) -> None:
    Image.fromarray(texture(5, 4, channels=channels).squeeze()).save(tmp_path / "p.tif")
    with pytest.raises(ScriptFailed, match="instead of RGB"):
        read_capture(tmp_path / "p.tif", "", selected=selected)


def test_a_linear_float_result_is_written_in_16_bit(tmp_path: Path) -> None:
    pixels = Pixels.from_numpy(
        np.linspace(0, 1, 60, dtype="float32").reshape(4, 5, 3), ColorSpace.SRGB
    )
    mask = Pixels.from_numpy(np.ones((4, 5), "float32"), ColorSpace.NON_COLOR)
    write_patch(tmp_path / "p.tif", LayerPatch("n", pixels, mask, Bounds(0, 0, 5, 4)), 72, 16)
    read = read_capture(tmp_path / "p.tif", "", selected=True)
    assert read.image.sample_type == "u16"
    assert np.allclose(read.image.numpy() / 65535, pixels.numpy(), atol=1e-5)
    assert (read.selection.numpy() == 65535).all()
