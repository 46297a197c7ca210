"""What the processor suite compares is one and the same picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core_server.benchmarks.processor_side import served, stock

SIDE = 128


@pytest.mark.parametrize("start", ["noise", "picture"])
@pytest.mark.parametrize("model", ["tiny", "default"])
def test_both_sides_paint_the_same_picture(tmp_path: Path, model: str, start: str) -> None:
    random = np.random.default_rng(1)
    given = random.integers(0, 256, (SIDE, SIDE, 3), np.uint8) if start == "picture" else None
    ours, theirs = (make(model, SIDE, tmp_path)(given) for make in (served, stock))
    difference = np.abs(ours.astype(int) - theirs)
    assert ours.shape == theirs.shape == (SIDE, SIDE, 3)
    # Half precision in the embedded model's autoencoder, where the processor has it.
    assert difference.max() <= (8 if model == "default" else 0)
    assert difference.mean() < 1
