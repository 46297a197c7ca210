"""The few-step adapter: its arithmetic, and that stock pipelines load what training saved."""

from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline

from core_server.training import train_default_model
from core_server.training.default_model.diffusion import Diffusion, DiffusionSettings
from core_server.training.default_model.few_step import (
    deterministic_step,
    guided_target,
    landing_v,
    save_adapter,
    train_few_step,
)
from core_server.training.default_model.networks import LATENT_CHANNELS
from core_server.training.default_model.pool import Latents
from core_server.training.default_model.vocabulary import FastTokenizer

FOLDER = Path(train_default_model.__file__).parents[1] / "models" / "default_model"


def test_guided_target_is_linear_in_the_scale() -> None:
    class Teacher(torch.nn.Module):
        def forward(self, x, t, words, return_dict):  # type: ignore[no-untyped-def]
            return (words.mean((1, 2)).view(-1, 1, 1, 1).expand_as(x),)

    x, t = torch.zeros(2, 1, 2, 2), torch.zeros(2, dtype=torch.long)
    words, empty = torch.full((2, 3, 4), 2.0), torch.full((2, 3, 4), 0.5)
    assert torch.allclose(guided_target(Teacher(), x, t, words, empty, 1.0), torch.tensor(2.0))
    assert torch.allclose(guided_target(Teacher(), x, t, words, empty, 3.0), torch.tensor(5.0))


@pytest.mark.parametrize(("now", "then"), [(0.01, 0.3), (0.4, 0.8), (0.7, 1.0)])
def test_landing_v_is_the_inverse_of_a_step(now: float, then: float) -> None:
    def level(signal: float) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.tensor(signal), torch.tensor((1 - signal**2) ** 0.5)

    x, v = torch.randn(3, 4), torch.randn(3, 4)
    landed = deterministic_step(x, v, level(now), level(then))
    assert torch.allclose(landing_v(x, landed, level(now), level(then)), v, atol=1e-4)


def test_a_true_v_leads_to_the_clean_picture() -> None:
    clean, noise = torch.randn(2, 3), torch.randn(2, 3)
    signal, level = torch.tensor(0.6), torch.tensor(0.8)
    x, v = signal * clean + level * noise, signal * noise - level * clean
    one, zero = torch.tensor(1.0), torch.tensor(0.0)
    assert torch.allclose(deterministic_step(x, v, (signal, level), (one, zero)), clean, atol=1e-5)


def test_stock_pipeline_loads_and_fuses_the_trained_adapter(tmp_path: Path) -> None:
    torch.manual_seed(0)
    diffusion = Diffusion(FastTokenizer(FOLDER / "tokenizer"), "cpu")
    diffusion.load(FOLDER)
    ids = torch.from_numpy(diffusion.tokenizer(["red bricks"])).long()
    latents = Latents(torch.randn(1, LATENT_CHANNELS, 8, 8).half(), ids[:, None], 0)
    settings = DiffusionSettings(seconds=60, batch=1, warmup_steps=1, peak_lr=0.05)
    student = train_few_step(
        diffusion, latents, settings, guidance_scale=2.0, log=lambda event, **values: None,
        max_steps=2,
    )  # fmt: skip
    save_adapter(student, tmp_path)
    assert (tmp_path / "pytorch_lora_weights.safetensors").stat().st_size < 2e6

    pipeline = StableDiffusionPipeline.from_pretrained(FOLDER)
    x, t = torch.randn(1, LATENT_CHANNELS, 8, 8), torch.tensor([700])
    words = diffusion.text_ema(ids).last_hidden_state
    with torch.no_grad():
        plain = pipeline.unet(x, t, words).sample
        pipeline.load_lora_weights(tmp_path)
        pipeline.fuse_lora()
        pipeline.unload_lora_weights()
        fused = pipeline.unet(x, t, words).sample
        for module in student.modules():
            if hasattr(module, "wrap"):
                module.wrap.mode = "zeros"
        mine = student(x, t, words).sample
    assert not torch.allclose(fused, plain, atol=1e-2)
    assert torch.allclose(fused, mine, atol=2e-2, rtol=1e-2)
