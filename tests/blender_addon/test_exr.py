"""Our EXR files, read by another library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import OpenImageIO
import pytest

from blender_addon.bridge.exr import encode_exr


@pytest.mark.parametrize("case", ["noise", "compresses", "opaque", "halves", "no alpha"])
def test_exr_is_lossless_for_another_reader(tmp_path: Path, case: str) -> None:
    pixels = np.random.default_rng(1).random((13, 7, 4)).astype(np.float32) * 9 - 1
    if case == "compresses":
        pixels[:] = 0.3
    if case == "halves":
        pixels = pixels.astype(np.float16).astype(np.float32)
    if case in ("opaque", "no alpha"):
        pixels[..., 3] = 1
    (tmp_path / "a.exr").write_bytes(encode_exr(pixels, alpha=case != "no alpha"))
    file = OpenImageIO.ImageInput.open(str(tmp_path / "a.exr"))
    names = ("R", "G", "B") if case == "no alpha" else ("R", "G", "B", "A")
    assert file.spec().channelnames == names
    assert str(file.spec().format) == ("half" if case == "halves" else "float")
    assert np.array_equal(file.read_image("float"), pixels[..., : len(names)])


def test_exr_wants_four_channels() -> None:
    with pytest.raises(ValueError, match="4 channels"):
        encode_exr(np.zeros((2, 2, 3), np.float32))
