"""The layers that our kernels replace compute what they computed before; by PyTorch here, by Triton where it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from core_server.canvas.geometry import Extent
from core_server.canvas.plan import SeamlessAxes
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.memory import Rung
from core_server.pipelines.request import Parameters, TextToImage
from core_server.pipelines.tiers.attention import best_attention
from core_server.pipelines.tiers.graphs import WARM_CALLS
from core_server.pipelines.tiers.kernels import Kernels, channels_last
from core_server.pipelines.tiers.operations import TorchOperations
from core_server.pipelines.tiers.trials import fast_operations, works
from core_server.pipelines.tiers.workshop import Workshop
from tests.core_server.pipelines.conftest import quiet
from tests.core_server.pipelines.tiers.recorder import Recorder
from tests.core_server.pipelines.tiny_families import save_tiny_family


def asked(**changes: Any) -> TextToImage:
    given = {"prompt": "moss", "num_inference_steps": 3, "seed": 3, **changes}
    return TextToImage(parameters=Parameters(**given), extent=Extent(64, 64))


@pytest.mark.parametrize("name", ["stable_diffusion", "stable_diffusion_xl", "flux", "qwen_image"])
def test_replaced_layers_paint_the_same(tmp_path: Path, name: str) -> None:
    save_tiny_family(name, tmp_path / "models" / name)
    stock = LocalRuntime(name, "cpu", tmp_path)
    workshop = Workshop(operations=TorchOperations())
    fast = LocalRuntime(name, "cpu", tmp_path, workshop=workshop)
    for axes in (SeamlessAxes.NONE, SeamlessAxes.XY):
        (expected,) = stock.run(asked(seamless=axes), {}, quiet)
        (found,) = fast.run(asked(seamless=axes), {}, quiet)
        assert (expected.recipe["kernels"], found.recipe["kernels"]) == ("stock", "triton")
        difference = found.pixels.array.astype(int) - expected.pixels.array
        assert np.abs(difference).max() <= 1
    model = fast._model(name)
    changed = [
        it for it in (*model.denoiser.modules(), *model.vae.modules()) if "forward" in vars(it)
    ]
    assert not changed, "nothing is left of it"


def test_an_autoencoder_in_bfloat16_is_a_copy_of_its_own(tmp_path: Path) -> None:
    name = "stable_diffusion_xl"
    save_tiny_family(name, tmp_path / "models" / name)
    workshop = Workshop(operations=TorchOperations())
    model = LocalRuntime(name, "cpu", tmp_path, workshop=workshop)._model(name)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), model.tiers.painting(model, SeamlessAxes.NONE, Extent(64, 64)):
        expected = model.vae.decode(latents).sample
        copied = model.tiers._copied(model.vae).to(torch.bfloat16)
        found = copied.decode(latents.bfloat16()).sample
        assert found.dtype is torch.bfloat16
        assert (found - expected).norm() < 0.05 * expected.norm()
        copied.decoder.conv_out.weight.zero_()
        assert (model.vae.decode(latents).sample == expected).all()


class _Counted(TorchOperations):
    heads = 0

    def single_head(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        self.heads += 1
        return super().single_head(query, key, value)


@torch.no_grad()
def test_an_autoencoders_attention_is_one_wide_head() -> None:
    torch.manual_seed(0)
    vae = diffusers.AutoencoderKL(
        block_out_channels=[32, 64],
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        norm_num_groups=8,
    ).eval()
    latents, picture = torch.randn(2, 4, 8, 6), torch.randn(1, 3, 16, 12)
    stock = vae.decode(latents).sample, vae.encode(picture).latent_dist.mean
    operations = _Counted()
    channels_last(vae)
    kernels = Kernels(operations, vae)
    kernels.put_on()
    found = vae.decode(latents).sample, vae.encode(picture).latent_dist.mean
    assert operations.heads == 3, "one for each picture"
    for one, other in zip(found, stock, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    kernels.take_off()
    vae.decoder.mid_block.attentions[0].register_forward_hook(lambda *_: None)
    Kernels(operations, vae).put_on()
    vae.decode(latents)
    assert operations.heads == 3, "somebody else has a hand in it"


class _Wrong(TorchOperations):
    def geglu(self, x: torch.Tensor) -> torch.Tensor:
        return super().geglu(x) * 2


def test_kernels_that_are_wrong_are_not_used(tmp_path: Path) -> None:
    (expected,) = LocalRuntime("tiny", "cpu", tmp_path).run(asked(), {}, quiet)
    runtime = LocalRuntime("tiny", "cpu", tmp_path, workshop=Workshop(operations=_Wrong()))
    for _ in range(2):
        (found,) = runtime.run(asked(), {}, quiet)
        assert found.recipe["kernels"] == "stock"
        assert np.abs(found.pixels.array.astype(int) - expected.pixels.array).max() <= 1
    assert works(TorchOperations(), torch.device("cpu"))
    assert not works(_Wrong(), torch.device("cpu"))


@pytest.mark.parametrize("rung", [Rung.ENCODERS_OFF, Rung.VAE_TILED])
def test_what_saves_memory_beside_the_denoiser_is_painted_fast(tmp_path: Path, rung: Rung) -> None:
    """What makes the text encoders leave before the denoiser is called is called by graphs and kernels, too."""
    save_tiny_family("stable_diffusion_xl", tmp_path / "models" / "stable_diffusion_xl")
    stock = LocalRuntime("stable_diffusion_xl", "cpu", tmp_path)
    workshop = Workshop(operations=TorchOperations(), backend=Recorder())
    fast = LocalRuntime("stable_diffusion_xl", "cpu", tmp_path, workshop=workshop)
    model = fast._model("stable_diffusion_xl")
    model.rung = rung
    calls: list[int] = []
    model.denoiser.register_forward_pre_hook(lambda *_: calls.append(1))
    steps = WARM_CALLS + 3
    for prompt in ("moss", "rust", "moss"):
        request = asked(prompt=prompt, num_inference_steps=steps)
        (expected,) = stock.run(request, {}, quiet)
        (found,) = fast.run(request, {}, quiet)
        assert found.recipe["kernels"] == "triton"
        assert found.recipe["launched"] == "graph"
        assert np.abs(found.pixels.array.astype(int) - expected.pixels.array).max() <= 1
    assert len(calls) == 3 * steps


def test_a_cpu_has_no_kernels_of_ours() -> None:
    device = torch.device("cpu")
    assert fast_operations(device) is None
    assert best_attention(device, torch.float32) == ""


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_triton_on_a_device(tmp_path: Path) -> None:
    """Our kernels and graphs paint what stock PyTorch paints, the same bits each time, with and without a graph."""
    assert fast_operations(torch.device("cuda:0")) is not None
    name = "stable_diffusion_xl"
    save_tiny_family(name, tmp_path / "models" / name)
    stock = LocalRuntime(name, "cuda", tmp_path, workshop=Workshop())
    fast = LocalRuntime(name, "cuda", tmp_path)
    (expected,) = stock.run(asked(), {}, quiet)
    pictures = [fast.run(asked(), {}, quiet)[0] for _ in range(3)]
    # The first picture's three calls are the comparison with stock PyTorch and the two before a graph is recorded.
    assert [it.recipe["launched"] for it in pictures] == ["eager", "graph", "graph"]
    assert all((it.pixels.array == pictures[0].pixels.array).all() for it in pictures)
    difference = pictures[0].pixels.array.astype(float) - expected.pixels.array
    assert 10 * np.log10(255**2 / max(np.mean(difference**2), 1e-9)) >= 40
