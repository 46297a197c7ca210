"""Checkpoints in their original layouts, at their architectures with fewer channels, read back tensor for tensor."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import transformers
from safetensors.torch import save_file

from core_server.errors import ModelLoadFailed
from core_server.pipelines.single_file import clip_tokenizer, read_single_file
from core_server.pipelines.sources.recognise import FileKind, recognise
from core_server.pipelines.sources.shipped import CONFIGS, SHIPPED, configs_of
from core_server.pipelines.sources.weights import read_header
from tests.core_server.pipelines.ldm_layout import checkpoint
from tests.core_server.pipelines.sdxl_layout import open_clip, sdxl_checkpoint

_SMALL_VAE = {"block_out_channels": [32, 32, 32, 32], "layers_per_block": 2}
_SMALL: dict[str, dict[str, dict[str, Any]]] = {
    "stable_diffusion": {
        "unet": {"block_out_channels": [32, 32, 64, 64], "attention_head_dim": 4},
        "vae": _SMALL_VAE,
        "text_encoder": {"num_hidden_layers": 1, "intermediate_size": 64},
    },
    "stable_diffusion_2": {
        "unet": {"block_out_channels": [32, 32, 64, 64], "attention_head_dim": [2, 2, 4, 4]},
        "vae": _SMALL_VAE,
        "text_encoder": {"num_hidden_layers": 1, "intermediate_size": 64, "vocab_size": 600},
    },
    "stable_diffusion_xl": {
        "unet": {
            "block_out_channels": [32, 64, 64],
            "attention_head_dim": [2, 4, 4],
            "cross_attention_dim": 96,
            "transformer_layers_per_block": [1, 1, 2],
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 112,
        },
        "vae": _SMALL_VAE,
        "text_encoder": {"num_hidden_layers": 1, "intermediate_size": 64, "hidden_size": 32,
                         "num_attention_heads": 4, "vocab_size": 600},
        "text_encoder_2": {"num_hidden_layers": 2, "intermediate_size": 64, "hidden_size": 64,
                           "num_attention_heads": 4, "projection_dim": 64, "vocab_size": 600},
    },
}  # fmt: skip


@pytest.fixture(scope="module", params=_SMALL)
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(architecture, whole pipeline, checkpoint, configuration folder)."""
    architecture = request.param
    folder, class_name = SHIPPED[architecture]
    config = tmp_path_factory.mktemp("config") / folder
    shutil.copytree(CONFIGS / folder, config)
    for part, changes in _SMALL[architecture].items():
        file = config / part / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    whole = small_pipeline(config, class_name)
    tensors = sdxl_checkpoint(whole) if architecture == "stable_diffusion_xl" else checkpoint(whole)
    if architecture == "stable_diffusion_2":
        tensors = {k: v for k, v in tensors.items() if not k.startswith("cond_stage_model.")}
        tensors |= {
            f"cond_stage_model.model.{key}": value.contiguous()
            for key, value in open_clip(whole.text_encoder).items()
        }
    return architecture, whole, tensors, config


def small_pipeline(config: Path, class_name: str) -> Any:
    """An untrained pipeline of a configuration folder."""
    index = json.loads((config / "model_index.json").read_text())
    parts: dict[str, Any] = {"safety_checker": None, "feature_extractor": None}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for name, (library, kind) in ((k, v) for k, v in index.items() if isinstance(v, list)):
            if library is None:
                continue
            if "tokenizer" in name:
                parts[name] = clip_tokenizer()
            elif library == "transformers":
                settings = transformers.CLIPTextConfig.from_pretrained(config, subfolder=name)
                parts[name] = getattr(transformers, kind)(settings)
            else:
                cls = getattr(diffusers, kind)
                parts[name] = cls.from_config(cls.load_config(config / name))
    if "XL" in class_name:
        parts = {k: v for k, v in parts.items() if k not in ("safety_checker", "feature_extractor")}
    return getattr(diffusers, class_name)(**parts)


def _modules(pipeline: Any) -> dict[str, torch.nn.Module]:
    return {k: v for k, v in pipeline.components.items() if isinstance(v, torch.nn.Module)}


def test_every_tensor_arrives(original: Any, tmp_path: Path) -> None:
    architecture, whole, tensors, config = original
    path = tmp_path / "model.safetensors"
    save_file(tensors, path)
    header = read_header(path)
    assert recognise(header).kind is FileKind.CHECKPOINT
    assert recognise(header).architecture == architecture
    read = read_single_file(path, header, torch.float32, config)
    assert _modules(read).keys() == _modules(whole).keys()
    for name, module in _modules(whole).items():
        expected, found = module.state_dict(), getattr(read, name).state_dict()
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[key], found[key]) for key in expected)
    ids = read.tokenizer("a photo of a cat").input_ids
    assert ids == [49406, 320, 1125, 539, 320, 2368, 49407]


@pytest.mark.parametrize(
    "dropped",
    [
        "model.diffusion_model.middle_block.0.in_layers.0.weight",
        "first_stage_model.decoder.norm_out.bias",
    ],
    ids=["unet", "vae"],
)
def test_missing_tensors_are_one_sentence(original: Any, tmp_path: Path, dropped: str) -> None:
    _, _, tensors, config = original
    path = tmp_path / "model.safetensors"
    save_file({key: value for key, value in tensors.items() if key != dropped}, path)
    with pytest.raises(ModelLoadFailed, match="not a whole model"):
        read_single_file(path, read_header(path), torch.float32, config)


def test_other_shapes_are_one_sentence(original: Any, tmp_path: Path) -> None:
    words = r"other shapes .*expected shape|holds no text encoder"
    path = tmp_path / "model.safetensors"
    save_file(original[2], path)
    with pytest.raises(ModelLoadFailed, match=words) as caught:
        read_single_file(path, read_header(path), torch.float32)
    assert "\n" not in caught.value.message


def test_inpainting_and_velocity_are_read_from_the_file(original: Any, tmp_path: Path) -> None:
    architecture, whole, tensors, config = original
    path = tmp_path / "model.safetensors"
    first = "model.diffusion_model.input_blocks.0.0.weight"
    nine = torch.cat([tensors[first], tensors[first], tensors[first][:, :1]], dim=1)
    save_file(tensors | {first: nine, "v_pred": torch.zeros(0)}, path)
    read = read_single_file(path, read_header(path), torch.float32, config)
    assert read.unet.config.in_channels == 9
    assert torch.equal(read.unet.conv_in.weight, nine)
    assert read.scheduler.config.prediction_type == "v_prediction"
    index, denoiser, _, _ = configs_of(path)
    assert (index["_class_name"], denoiser["in_channels"]) == (SHIPPED[architecture][1], 9)
    assert whole.unet.config.in_channels == 4, "the shipped configuration is not touched"


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"lora_unet_mid.lora_down.weight": (4, 8)}, "it is a LoRA; put it into"),
        ({"emb_params": (2, 768)}, "a textual inversion for Stable Diffusion 1.x"),
        ({"controlnet_cond_embedding.conv_in.weight": (8, 3)}, "a ControlNet"),
        ({"double_blocks.0.img_attn.norm.key_norm.scale": (4,)}, "a denoiser alone for FLUX.1"),
        ({"anything": (1,)}, "of no kind that this version knows"),
    ],
    ids=["lora", "textual inversion", "controlnet", "flux", "unknown"],
)
def test_other_files_say_what_they_are(
    tmp_path: Path, tensors: dict[str, tuple[int, ...]], words: str
) -> None:
    path = tmp_path / "file.safetensors"
    save_file({key: torch.zeros(shape) for key, shape in tensors.items()}, path)
    with pytest.raises(ModelLoadFailed, match=words) as caught:
        read_single_file(path, read_header(path), torch.float32)
    assert "\n" not in caught.value.message
