"""Our EXR files, read by another library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import OpenImageIO
import pytest

from blender_addon.bridge.exr import encode_exr


@pytest.mark.parametrize(
    "flat", [pytest.param(False, id="noise"), pytest.param(True, id="compresses")]
)
def test_exr_is_lossless_for_another_reader(tmp_path: Path, flat: bool) -> None:
    pixels = np.random.default_rng(1).random((13, 7, 4)).astype(np.float32) * 9 - 1
    if flat:
        pixels[:] = 0.25
    (tmp_path / "a.exr").write_bytes(encode_exr(pixels))
    file = OpenImageIO.ImageInput.open(str(tmp_path / "a.exr"))
    assert file.spec().channelnames == ("R", "G", "B", "A")
    assert np.array_equal(file.read_image("float"), pixels)


def test_exr_wants_four_channels() -> None:
    with pytest.raises(ValueError, match="4 channels"):
        encode_exr(np.zeros((2, 2, 3), np.float32))
