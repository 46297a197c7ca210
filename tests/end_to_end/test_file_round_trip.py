"""Files of every kind through `scumble inpaint` and `img2img`, a real server and the tiny model: what comes out has
the size, depth, alpha and profile of what went in, and outside the composite mask the same samples."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from core_server.cli import main
from core_server.commands.files import Picture, read_picture
from tests.core_server.canvas import profiles
from tests.core_server.commands.test_files import store
from tests.real_server import RealServer, running_server

WIDTH, HEIGHT = 72, 56
CASES = {
    "png 8": (".png", "uint8", 3, b""),
    "png 8 alpha p3": (".png", "uint8", 4, profiles.p3()),
    "png 8 grey": (".png", "uint8", 1, profiles.grey()),
    "png 16 adobe": (".png", "uint16", 3, profiles.matrix()),
    "png 16 alpha": (".png", "uint16", 4, b""),
    "tiff 8 table": (".tif", "uint8", 3, profiles.table(9)),
    "tiff 16 alpha p3": (".tif", "uint16", 4, profiles.p3()),
    "tiff float": (".tif", "float32", 3, b""),
    "webp": (".webp", "uint8", 3, profiles.srgb()),
    "webp alpha": (".webp", "uint8", 4, b""),
    "jpeg adobe": (".jpg", "uint8", 3, profiles.matrix()),
    "exr half": (".exr", "float16", 3, b""),
    "exr half alpha": (".exr", "float16", 4, b""),
    "exr float": (".exr", "float32", 3, b""),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    with running_server(tmp_path_factory.mktemp("data")) as running:
        yield running


@pytest.fixture(params=CASES)
def picture(request: pytest.FixtureRequest, tmp_path: Path) -> Picture:
    """in.*: smooth colours, uneven alpha, and in float files a lamp of 40; mask.png: an ellipse."""
    ending, dtype, channels, profile = CASES[request.param]
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    planes = [0.5 + 0.4 * np.sin(columns / 9 + k) * np.cos(rows / 7) for k in range(channels)]
    values = np.stack(planes, axis=-1)
    if np.dtype(dtype).kind == "u":
        values = (values * np.iinfo(dtype).max).round()
    else:
        values[4:8, 60:64, : min(channels, 3)] = 40.0
    array = values.astype(dtype)
    name = tmp_path / f"in{ending}"
    store(name, array, straight=ending != ".exr", profile=profile)
    mask = ((np.hypot(columns - 36, (rows - 28) * 1.3) < 13) * 255).astype(np.uint8)
    store(tmp_path / "mask.png", mask[..., None])
    return read_picture(name)


def run(server: RealServer, *arguments: str) -> None:
    settings = ("--num-inference-steps", "2", "--seed", "3", "--data-dir", str(server.data_dir))
    assert main([*arguments, *settings]) == 0


def check_kind(result: Picture, source: Picture) -> None:
    """Size, depth, channels, alpha's kind, colour space and profile are the source's."""
    assert result.stored.shape == source.stored.shape
    assert result.stored.dtype == source.stored.dtype
    assert result.associated == source.associated
    assert result.pixels.color_space == source.pixels.color_space
    assert result.pixels.icc_profile == source.pixels.icc_profile


def test_inpaint(server: RealServer, picture: Picture, tmp_path: Path) -> None:
    source, out = picture.path, tmp_path / f"out{picture.path.suffix}"
    mask = str(tmp_path / "mask.png")
    run(server, "inpaint", str(source), mask, "moss", "-o", str(out), "--exact-selection")
    result = read_picture(out)
    check_kind(result, picture)
    selected = read_picture(tmp_path / "mask.png").stored[..., 0] > 0
    inside = (result.stored != picture.stored).any(axis=2)[selected]
    assert inside.mean() > 0.8, "it was repainted"
    if source.suffix == ".jpg":  # compressed anew; what the codec is given is unchanged
        difference = np.abs(result.stored.astype(int) - picture.stored)[~selected]
        assert difference.mean() < 2
    else:
        assert result.stored[~selected].tobytes() == picture.stored[~selected].tobytes()
    if picture.stored.shape[2] == 4:
        assert result.stored[..., 3].tobytes() == picture.stored[..., 3].tobytes()


def test_img2img(server: RealServer, picture: Picture, tmp_path: Path) -> None:
    out = tmp_path / f"out{picture.path.suffix}"
    run(server, "img2img", str(picture.path), "moss", "-o", str(out), "--strength", "0.5")
    result = read_picture(out)
    check_kind(result, picture)
    assert (result.stored != picture.stored).any()
    if picture.stored.shape[2] == 4:
        assert result.stored[..., 3].tobytes() == picture.stored[..., 3].tobytes()
    if picture.stored.dtype.kind == "f":
        assert np.isfinite(result.stored).all()
