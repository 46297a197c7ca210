"""LoRAs of every family in diffusers' layout and the training scripts': they load, act alike, and are told apart."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from core_server.canvas.geometry import Extent
from core_server.errors import InvalidRequest
from core_server.pipelines.adapter_files import AdapterShelf
from core_server.pipelines.families.registry import FAMILIES
from core_server.pipelines.request import Adapter, AdapterKind, Parameters, TextToImage
from core_server.pipelines.sources.recognise import lora_architecture
from core_server.pipelines.sources.weights import TensorInfo, WeightsHeader
from tests.core_server.pipelines.conftest import quiet
from tests.core_server.pipelines.test_families import Zoo

RANK = 2
BLOCK, SINGLE = "transformer_blocks.0", "single_transformer_blocks.0"
DOUBLE = "lora_unet_double_blocks_0"
QKV = ("to_q", "to_k", "to_v")
LAYERS: dict[str, dict[str, tuple[str, ...]]] = {
    "flux": {
        f"{DOUBLE}_img_attn_qkv": tuple(f"{BLOCK}.attn.{it}" for it in QKV),
        f"{DOUBLE}_img_attn_proj": (f"{BLOCK}.attn.to_out.0",),
        f"{DOUBLE}_img_mlp_0": (f"{BLOCK}.ff.net.0.proj",),
    },
    "flux_2_klein": {
        f"{DOUBLE}_img_attn_qkv": tuple(f"{BLOCK}.attn.{it}" for it in QKV),
        f"{DOUBLE}_img_mlp_0": (f"{BLOCK}.ff.linear_in",),
        "lora_unet_single_blocks_0_linear1": (f"{SINGLE}.attn.to_qkv_mlp_proj",),
    },
    "stable_diffusion_3": {
        "lora_unet_joint_blocks_0_x_block_attn_qkv": tuple(f"{BLOCK}.attn.{it}" for it in QKV),
        "lora_unet_joint_blocks_0_context_block_attn_qkv": tuple(
            f"{BLOCK}.attn.add_{it[-1]}_proj" for it in QKV
        ),
        "lora_unet_joint_blocks_0_x_block_mlp_fc1": (f"{BLOCK}.ff.net.0.proj",),
    },
    "qwen_image": {
        **{f"lora_unet_transformer_blocks_0_attn_{it}": (f"{BLOCK}.attn.{it}",) for it in QKV},
        "lora_unet_transformer_blocks_0_img_mlp_net_0_proj": (f"{BLOCK}.img_mlp.net.0.proj",),
    },
    "z_image": {
        "lora_unet_layers_0_attention_qkv": tuple(f"layers.0.attention.{it}" for it in QKV),
        "lora_unet_layers_0_feed_forward_w1": ("layers.0.feed_forward.w1",),
    },
}  # fmt: skip
"""What each layer of the training scripts is in diffusers; fused layers are several there."""


def loras(family: str, transformer: Any) -> dict[str, dict[str, torch.Tensor]]:
    """The same LoRA in both layouts."""
    rng = torch.Generator().manual_seed(3)
    kohya, plain = {}, {}
    for name, parts in LAYERS[family].items():
        modules = [transformer.get_submodule(it) for it in parts]
        down = torch.randn(RANK, modules[0].in_features, generator=rng)
        ups = [torch.randn(it.out_features, RANK, generator=rng) for it in modules]
        kohya[f"{name}.lora_down.weight"] = down
        kohya[f"{name}.lora_up.weight"] = torch.cat(ups)
        kohya[f"{name}.alpha"] = torch.tensor(float(RANK))
        for part, up in zip(parts, ups, strict=True):
            plain[f"transformer.{part}.lora_A.weight"] = down.clone()
            plain[f"transformer.{part}.lora_B.weight"] = up.clone()
    return {"kohya": kohya, "plain": plain}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch.set_num_threads(1)
    return Zoo(tmp_path_factory.mktemp("layouts"))


def install(zoo: Any, family: str) -> None:
    folder = zoo.root / "adapters"
    folder.mkdir(exist_ok=True)
    for layout, tensors in loras(family, zoo(family)[1].transformer).items():
        save_file(tensors, folder / f"{family}-{layout}.safetensors")


def paint(zoo: Any, family: str, *wanted: tuple[str, float]) -> Any:
    runtime, _ = zoo(family)
    adapters = tuple(Adapter(kind=AdapterKind.LORA, name=n, weight=w) for n, w in wanted)
    parameters = Parameters(
        prompt="red bricks", num_inference_steps=2, guidance_scale=3.0, seed=7, adapters=adapters
    )
    [output] = runtime.run(TextToImage(parameters=parameters, extent=Extent(64, 64)), {}, quiet)
    return output.pixels.array


@pytest.mark.parametrize("family", LAYERS)
def test_both_layouts_load_and_act_alike(zoo: Any, family: str) -> None:
    """A weight counts; the next job has nothing of them."""
    install(zoo, family)
    before = paint(zoo, family)
    plain = paint(zoo, family, (f"{family}-plain", 0.8))
    assert (plain != before).any()
    assert (paint(zoo, family, (f"{family}-kohya", 0.8)) == plain).all()
    assert (paint(zoo, family, (f"{family}-kohya", -0.8)) != plain).any()
    assert (paint(zoo, family) == before).all()


@pytest.mark.parametrize("family", LAYERS)
def test_a_lora_of_another_family_is_refused_naming_both(zoo: Any, family: str) -> None:
    install(zoo, family)
    other = "z_image" if family != "z_image" else "flux"
    title = FAMILIES[other].title
    with pytest.raises(InvalidRequest, match=rf"was made for .* and does not fit {title}; choose"):
        paint(zoo, other, (f"{family}-kohya", 1.0))
    found = {it.name: it.family for it in AdapterShelf(zoo.root).all()}
    assert found[f"{family}-kohya"] == family


SHAPES: list[tuple[str, dict[str, tuple[int, int]]]] = [
    ("flux", {"lora_unet_double_blocks_0_img_mlp_0": (3072, 12288)}),
    ("flux_2_klein", {"lora_unet_double_blocks_0_img_mlp_0": (3072, 18432)}),
    ("flux", {"diffusion_model.single_blocks.7.linear1": (3072, 21504)}),
    ("flux_2_klein", {"diffusion_model.single_blocks.7.linear1": (3072, 27648)}),
    ("flux_2_klein", {"transformer.single_transformer_blocks.0.attn.to_qkv_mlp_proj": (3072, 27648)}),
    ("flux", {"transformer.single_transformer_blocks.0.attn.to_q": (3072, 3072)}),
    ("", {"transformer.transformer_blocks.0.attn.add_q_proj": (3072, 3072)}),
    ("stable_diffusion_3", {"transformer.transformer_blocks.3.attn.to_q": (1536, 1536)}),
    ("stable_diffusion_3", {"lora_unet_joint_blocks_0_x_block_attn_qkv": (2432, 7296)}),
    ("qwen_image", {"transformer_blocks.0.img_mlp.net.2": (12288, 3072)}),
    ("qwen_image", {f"transformer_blocks.{k}.attn.to_q": (3072, 3072) for k in range(60)}),
    ("z_image", {"diffusion_model.layers.0.attention.to_q": (3840, 3840)}),
    ("z_image", {"lora_unet_layers_0_attention_qkv": (3840, 11520)}),
    ("stable_diffusion_xl", {"lora_te2_text_model_encoder_layers_0_mlp_fc1": (1280, 5120)}),
    ("stable_diffusion", {
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k": (768, 320)}),
]  # fmt: skip


@pytest.mark.parametrize(("family", "layers"), SHAPES)
def test_full_size_loras_are_told_apart(family: str, layers: dict[str, tuple[int, int]]) -> None:
    """By names and shapes alone; "" where several families have such a layer."""
    tensors = {}
    for name, (inputs, outputs) in layers.items():
        flat = name.startswith("lora_")
        down, up = ("lora_down", "lora_up") if flat else ("lora_A", "lora_B")
        tensors[f"{name}.{down}.weight"] = TensorInfo("F16", (16, inputs))
        tensors[f"{name}.{up}.weight"] = TensorInfo("F16", (outputs, 16))
    assert lora_architecture(WeightsHeader("safetensors", tensors, {})) == family
