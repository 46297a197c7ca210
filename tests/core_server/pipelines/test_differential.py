"""A soft mask is a strength for each latent."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core_server.pipelines.differential import StepMasks, is_hard
from core_server.pipelines.strength import steps_run


def free_steps(value: float, steps: int) -> list[bool]:
    """In which of the steps a latent of that mask value is denoised; the first one starts from noise everywhere."""
    masks = StepMasks(np.full((8, 8), value, np.float32), (1, 1))
    kept = [bool(masks.after(index, steps)[0, 0, 0, 0]) for index in range(steps)]
    return [value >= 1, *kept[: steps - 1]]


@given(
    st.integers(1, 60),
    st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
)
def test_a_latent_is_denoised_as_often_as_its_value_as_strength_says(steps, fraction):
    value = fraction[0] / fraction[1]
    free = free_steps(value, steps)
    assert sum(free) == steps_run(steps, float(np.float32(value)) + 1e-7)
    assert free == sorted(free), "once free, it stays free"


@pytest.mark.parametrize("steps", [1, 2, 7, 30])
def test_a_hard_mask_is_the_same_in_all_steps(steps):
    mask = np.zeros((64, 48), np.float32)
    mask[16:40, 8:33] = 1
    masks = StepMasks(mask, (8, 6))
    stock = torch.nn.functional.interpolate(torch.from_numpy(mask)[None, None], size=(8, 6))
    assert masks.hard
    for index in range(steps):
        assert (masks.after(index, steps) == stock).all()


def test_what_never_was_free_is_the_original_in_the_end():
    mask = np.tile(np.linspace(0, 1, 80, dtype=np.float32), (8, 1))
    masks = StepMasks(mask, (1, 10))
    last = masks.after(4, 5)[0, 0, 0]
    share = mask[0].reshape(10, 8).mean(axis=1)
    assert (last.numpy() == (share >= 0.2 - 1e-4)).all()
    assert not masks.hard


@pytest.mark.parametrize(
    ("values", "hard"), [([0, 1], True), ([0, 0.5, 1], False), ([1], True), ([0.999], False)]
)
def test_is_hard(values, hard):
    assert is_hard(np.array([values], np.float32)) is hard
