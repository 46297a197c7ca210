"""The UNet's transformer blocks by our sums, and the prompt's keys and values worked out once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from peft import LoraConfig

from core_server.pipelines.tiers.graphs import WARM_CALLS, GraphedNetwork
from core_server.pipelines.tiers.kernels import Kernels, channels_last
from core_server.pipelines.tiers.operations import TorchOperations
from core_server.pipelines.tiers.prompt_features import MOST_SHAPES, PromptFeatures
from core_server.pipelines.tiers.transformer_blocks import is_plain_transformer
from tests.core_server.pipelines.tiers.recorder import Recorder

TOKENS, WIDTH = 7, 24


def unet(*, linear: bool = True) -> Any:
    torch.manual_seed(0)
    made = UNet2DConditionModel(
        sample_size=8, block_out_channels=(32, 64), layers_per_block=1, norm_num_groups=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=WIDTH, attention_head_dim=2, use_linear_projection=linear,
        transformer_layers_per_block=2,
    )  # fmt: skip
    return made.eval().requires_grad_(False).double()


def words(seed: int, batch: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, TOKENS, WIDTH, generator=generator).double()


def called(network: Any, prompt: torch.Tensor) -> torch.Tensor:
    x = torch.randn(len(prompt), 4, 8, 8, generator=torch.Generator().manual_seed(9)).double()
    found: torch.Tensor = network(
        x, torch.tensor(500), encoder_hidden_states=prompt, return_dict=False
    )[0]
    return found


@pytest.mark.parametrize("linear", [True, False], ids=["SDXL, 2.1", "1.5"])
def test_a_unet_gives_what_it_gave(linear: bool) -> None:
    network, prompt = unet(linear=linear), words(1)
    expected = called(network, prompt)
    channels_last(network)
    kernels = Kernels(TorchOperations(), network)
    kernels.put_on()
    replaced = [it for it in network.modules() if isinstance(it, BasicTransformerBlock)]
    assert len(replaced) == 8
    assert all("forward" in vars(it) for it in replaced)
    assert (called(network, prompt) - expected).abs().max() < 1e-12 * expected.abs().max()
    kernels.take_off()
    assert not any("forward" in vars(it) for it in network.modules())


def test_an_autoencoder_gives_what_it_gave() -> None:
    torch.manual_seed(0)
    network: Any = AutoencoderKL(
        block_out_channels=(32, 64), norm_num_groups=8, sample_size=16,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip
    network.eval().requires_grad_(False).double()
    channels_last(network)
    picture = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(9)).double()
    latents = network.encode(picture).latent_dist.mean
    expected = network.decode(latents).sample
    kernels = Kernels(TorchOperations(), network)
    kernels.put_on()
    parts = (ResnetBlock2D, Upsample2D, torch.nn.GroupNorm)
    assert all("forward" in vars(it) for it in network.modules() if isinstance(it, parts))
    assert (network.encode(picture).latent_dist.mean - latents).abs().max() < 1e-12
    assert (network.decode(latents).sample - expected).abs().max() < 1e-12 * expected.abs().max()


@pytest.mark.parametrize("layers", [["to_q", "to_k", "to_out.0"], ["to_v", "proj", "net.2"]])
def test_loras_act_as_they_do_without(layers: list[str]) -> None:
    network, prompt = unet(), words(1)
    without = called(network, prompt)
    network.add_adapter(LoraConfig(r=2, target_modules=layers, init_lora_weights=False))
    network.double()
    expected = called(network, prompt)
    assert (expected - without).abs().max() > 1e-3 * without.abs().max()
    prompts = PromptFeatures()
    kernels = Kernels(TorchOperations(), network, prompts=prompts)
    kernels.put_on()
    assert not prompts.layers
    assert sum("forward" in vars(it) for it in network.modules() if hasattr(it, "attn2")) == 8
    assert (called(network, prompt) - expected).abs().max() < 1e-12 * expected.abs().max()
    network.disable_adapters()
    assert (called(network, prompt) - without).abs().max() < 1e-12 * without.abs().max()


def test_what_is_not_exactly_stock_is_left_alone() -> None:
    network = unet()
    blocks = [it for it in network.modules() if isinstance(it, BasicTransformerBlock)]
    assert all(is_plain_transformer(it) for it in blocks)
    blocks[0].attn2.set_processor(AttnProcessor())
    blocks[1].attn1.rescale_output_factor = 2.0
    blocks[2].set_chunk_feed_forward(1)
    blocks[3].attn2.to_k = torch.nn.Sequential(blocks[3].attn2.to_k)
    blocks[4].train()
    blocks[5].ff.register_forward_hook(lambda *_: None)
    expected = called(network, words(1))
    prompts = PromptFeatures()
    kernels = Kernels(TorchOperations(), network, prompts=prompts)
    kernels.put_on()
    assert ["forward" in vars(it) for it in blocks] == [False] * 6 + [True] * 2
    assert prompts.layers == (blocks[6].attn2, blocks[7].attn2)
    assert (called(network, words(1)) - expected).abs().max() < 1e-12 * expected.abs().max()


def test_no_prompt_is_ever_stale() -> None:
    """Each call by a graph that was recorded with another prompt, bit for bit as without."""
    network, prompts, recorder = unet(), PromptFeatures(), Recorder()
    kernels = Kernels(TorchOperations(), network, prompts=prompts)
    kernels.put_on()
    forward, graphs = network.forward, GraphedNetwork(recorder)

    def call(*args: Any, **kwargs: Any) -> Any:
        memory = prompts.prepare(args, kwargs, "")
        assert memory is not None
        return graphs.call(prompts.served(forward), memory, args, kwargs)

    written = words(3)
    given = [words(1), words(2), words(1, batch=1), written, words(2)]
    for prompt in given * 2:
        expected = called(network, prompt)
        object.__setattr__(network, "forward", call)
        for _ in range(WARM_CALLS + 2):
            assert (called(network, prompt) == expected).all()
        object.__setattr__(network, "forward", forward)
        written += 1  # the same tensor with other numbers
    assert recorder.recorded == 2, "one for each shape"


def test_a_prompt_is_worked_out_once_and_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    network, prompts = unet(), PromptFeatures()
    Kernels(TorchOperations(), network, prompts=prompts)
    filled: list[torch.Tensor] = []
    stock = PromptFeatures._fill
    monkeypatch.setattr(
        PromptFeatures, "_fill",
        lambda self, features, prompt: (filled.append(prompt), stock(self, features, prompt)),
    )  # fmt: skip
    prompt = words(1)

    def prepared(prompt: torch.Tensor, state: str = "") -> Any:
        return prompts.prepare((), {"encoder_hidden_states": prompt}, state)

    first = prepared(prompt)
    assert prepared(prompt) == prepared(prompt) == first
    assert len(filled) == 1
    assert prepared(words(2)) == first, "the same memory"
    assert prepared(prompt, "other weights") == first
    assert len(filled) == 3
    prompts.forget()
    prepared(prompt, "other weights")
    assert len(filled) == 4
    size = prompts.size
    for batch in range(1, MOST_SHAPES + 3):
        prepared(words(1, batch))
    assert prompts.size <= MOST_SHAPES * (MOST_SHAPES + 2) / 2 * size
    assert prepared(prompt) != first, "memory that was given up never stands for other memory"
    prompts.clear()
    assert prompts.size == 0
    assert prepared(prompt.float()) is None
    assert prompts.prepare((), {"encoder_hidden_states": (prompt,)}, "") is None
