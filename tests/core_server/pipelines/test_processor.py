"""Half precision on a processor: only where the profile allows it, float32 at both ends, once."""

from __future__ import annotations

import msgspec
import pytest
import torch
from diffusers import AutoencoderTiny

from core_server.pipelines.catalogue import TINY, ModelFiles
from core_server.pipelines.loader import load_model
from core_server.pipelines.model import LoadedModel
from core_server.pipelines.processor import suit_processor
from core_server.pipelines.tiers.workshop import Workshop


@pytest.fixture
def model() -> LoadedModel:
    loaded = load_model(ModelFiles(TINY, None), torch.device("cpu"))
    torch.manual_seed(0)
    sizes = {"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8)}
    blocks = {"num_encoder_blocks": (1, 1), "num_decoder_blocks": (1, 1)}
    loaded.components["vae"] = AutoencoderTiny(latent_channels=4, **sizes, **blocks).eval()
    loaded.profile = msgspec.structs.replace(loaded.profile, bfloat16_autoencoder=True)
    loaded.workshop = Workshop(processor=torch.bfloat16)
    return loaded


@torch.no_grad()
def both_ways(vae: AutoencoderTiny) -> list[torch.Tensor]:
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    latents = vae.encode(image).latents
    named, plain = vae.decode(latents).sample, vae.decode(latents, return_dict=False)[0]
    return [latents, named, plain]


def test_both_ends_stay_in_single_precision(model: LoadedModel) -> None:
    before = both_ways(model.vae)
    for _ in range(2):
        suit_processor(model)
    after = both_ways(model.vae)
    assert model.autoencoder_dtype is torch.bfloat16
    for exact, rough in zip(before, after, strict=True):
        assert rough.dtype is torch.float32
        assert (rough != exact).any()
        assert torch.allclose(rough, exact, atol=0.05)


@pytest.mark.parametrize("reason", ["profile", "processor"])
def test_nothing_changes_without_leave(model: LoadedModel, reason: str) -> None:
    if reason == "profile":
        model.profile = msgspec.structs.replace(model.profile, bfloat16_autoencoder=False)
    else:
        model.workshop = Workshop()
    before = both_ways(model.vae)
    suit_processor(model)
    assert model.autoencoder_dtype is None
    assert all((one == two).all() for one, two in zip(before, both_ways(model.vae), strict=True))
