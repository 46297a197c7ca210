"""What the autoencoder drops of a drawing is put back, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from core_server.canvas.geometry import Extent
from core_server.canvas.plan import SeamlessAxes
from core_server.pipelines.denoise import as_tensor
from core_server.pipelines.layout_detail import with_detail
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.model import FloatArray
from core_server.pipelines.request import Parameters, TextToImage
from core_server.pipelines.settings import settle

EXTENT = Extent(64, 48)


def drawing(low: float = 0.3, high: float = 0.7) -> FloatArray:
    noise = np.random.default_rng(4).random((EXTENT.height, EXTENT.width, 3), np.float32)
    return np.float32(low) + noise * np.float32(high - low)


@pytest.mark.parametrize("axes", [SeamlessAxes.NONE, SeamlessAxes.XY], ids=str)
def test_what_the_autoencoder_makes_of_the_drawing_becomes_the_drawing(
    runtime: LocalRuntime, axes: SeamlessAxes
) -> None:
    model = runtime._model("tiny")
    request = TextToImage(parameters=Parameters(prompt="x"), extent=EXTENT)
    settings = settle(request, model.profile)
    drawn = drawing()

    def detailed(picture: FloatArray, share: float) -> FloatArray:
        return with_detail(picture, as_tensor(drawn), share, model, settings, axes)

    grey = np.full_like(drawn, 0.5)
    assert np.array_equal(detailed(grey, 0.0), grey)
    dropped = (detailed(grey, 0.1) - grey) / np.float32(0.1)
    kept = drawn - dropped
    assert np.abs(dropped).max() > 0.05, "random weights keep little of it"
    inside = (kept >= 0) & (kept <= 1)
    assert inside.mean() > 0.5
    assert np.abs(detailed(kept, 1.0) - drawn)[inside].max() < 1e-5
    assert np.array_equal(detailed(kept, 1.0), detailed(kept, 1.0)), "the same each time"
    strong = detailed(grey, 5.0)
    assert 0 <= strong.min() <= strong.max() <= 1
