"""A soft mask is a strength for each latent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from hypothesis import given, settings
from hypothesis import strategies as st

from core_server.canvas.plan import SeamlessAxes
from core_server.pipelines.differential import StepMasks, is_hard
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.masked_denoising import inpaint_at_model_size
from core_server.pipelines.model import LoadedModel
from core_server.pipelines.progress import Part, StepReporter
from core_server.pipelines.request import Inpaint, Parameters
from core_server.pipelines.settings import settle
from core_server.pipelines.strength import steps_run
from core_server.pipelines.tiny import make_tiny_pipeline
from tests.core_server.pipelines.conftest import picture


def free_steps(value: float, steps: int) -> list[bool]:
    """In which of the steps a latent of that mask value is denoised; the first one starts from noise everywhere."""
    masks = StepMasks(np.full((8, 8), value, np.float32), (1, 1))
    kept = [bool(masks.after(index, steps)[0, 0, 0, 0]) for index in range(steps)]
    return [value >= 1, *kept[: steps - 1]]


@settings(deadline=None)
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


def model_of(tmp_path: Path, kind: str) -> LoadedModel:
    """The tiny model with 4 or 8 latent channels, or one whose denoiser is shown the mask (9 channels)."""
    pipeline = make_tiny_pipeline(seed=5, latent_channels=8 if kind == "eight" else 4)
    if kind == "nine":
        config = dict(pipeline.unet.config) | {"in_channels": 9}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            pipeline.unet = UNet2DConditionModel.from_config(config)
    pipeline.save_pretrained(tmp_path / "models" / kind)
    return LocalRuntime(kind, "cpu", tmp_path)._model(kind)


def painted(model: LoadedModel, mask: np.ndarray) -> np.ndarray:
    """One picture repainted in 4 steps."""
    parameters = Parameters(prompt="x", num_inference_steps=4, seed=3)
    settled = settle(Inpaint(parameters=parameters, image="a", selection="m"), model.profile)
    return inpaint_at_model_size(
        model,
        settled,
        3,
        image=picture(128, 64).array.astype(np.float32) / 255,
        mask=mask,
        strength=1.0,
        axes=SeamlessAxes.NONE,
        reporter=StepReporter(model, lambda _: None, [Part("Painting", 4)], 1),
    )


@pytest.mark.parametrize("kind", ["four", "eight"])
def test_the_change_grows_with_the_mask(tmp_path, monkeypatch, kind):
    model, decoded = model_of(tmp_path, kind), []
    whole = LoadedModel.decode

    def decode(self: LoadedModel, latents: torch.Tensor, *more: Any) -> np.ndarray:
        decoded.append(latents.clone())
        return whole(self, latents, *more)

    # The decoder's normalisation spreads every change over the whole picture; latents tell where it was.
    monkeypatch.setattr(LoadedModel, "decode", decode)
    gradient = np.tile(np.linspace(0, 1, 128, dtype=np.float32), (64, 1))
    painted(model, np.full((64, 128), 1e-3, np.float32))
    painted(model, gradient)
    nothing, soft = decoded
    change = (soft - nothing).abs().mean(dim=(0, 1, 2))
    quarters = [float(change[4 * k : 4 * k + 4].mean()) for k in range(4)]
    assert quarters[0] == 0, "less than a quarter of 4 steps is none"
    assert 0 < quarters[1] < quarters[2] < quarters[3]


def test_denoisers_that_are_shown_the_mask_get_a_hard_one(tmp_path):
    model = model_of(tmp_path, "nine")
    gradient = np.tile(np.linspace(0, 1, 128, dtype=np.float32), (64, 1))
    hard = (gradient >= 0.5).astype(np.float32)
    assert (painted(model, gradient) == painted(model, hard)).all()
