"""Models of full size with random weights, made on the device: speed and memory depend on shapes, not on values.

    python -m core_server.benchmarks.random_models CASE FOLDER DEVICE [--small]

A process of its own, because the command is to stay free of torch. Architectures are those of the published models'
configuration files; FLUX.2-klein-4B's and Z-Image-Turbo's are written down here.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from core_server.benchmarks.image_cases import CASES
from core_server.pipelines.single_file import clip_tokenizer
from core_server.pipelines.sources.shipped import CONFIGS

_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
_QWEN_3_4B = {
    "vocab_size": 151936, "hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36,
    "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
}  # fmt: skip
_SMALL_QWEN = {
    "vocab_size": 300, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 28,
    "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8,
}  # fmt: skip
_SMALL_UNET = {"block_out_channels": [32, 64, 64, 64], "layers_per_block": 1}
_SMALL_VAE = {"block_out_channels": [32, 32, 32, 32], "layers_per_block": 1}


def main(argv: list[str] | None = None) -> None:
    """Writes the model as a diffusers folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=tuple(CASES))
    parser.add_argument("folder", type=Path)
    parser.add_argument("device")
    parser.add_argument("--small", action="store_true", help="a few channels, to see that it works")
    options = parser.parse_args(argv)
    write(options.case, options.folder, options.device, small=options.small)


@torch.no_grad()
def write(case: str, folder: Path, device: str, *, small: bool = False) -> None:
    """case: a name of `image_cases.CASES`; the same weights each time on the same device."""
    diffusers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    torch.set_default_dtype(getattr(torch, CASES[case].half) if device != "cpu" else torch.float32)
    try:
        with torch.device(device):
            pipeline = _BUILDERS[case](small)
    finally:
        torch.set_default_dtype(torch.float32)
    pipeline.save_pretrained(folder, max_shard_size="20GB")
    if case == "sd-turbo":
        with torch.device(device):
            tiny = diffusers.AutoencoderTiny()
        tiny.to(torch.float32 if device == "cpu" else torch.float16).save_pretrained(
            folder / "tiny_vae"
        )
    own: dict[str, Any] = {"title": f"{CASES[case].title}, random weights", "trained": False}
    if case == "sd-turbo":  # what it was distilled for; the other cases are asked for theirs
        own |= {"num_inference_steps": CASES[case].steps}
        own |= {"guidance_scale": CASES[case].guidance_scale}
    if small:
        own |= {"min_extent": [16, 16], "max_extent": [1024, 1024]}
    (folder / "profile.json").write_text(json.dumps(own), encoding="utf-8")


def _config(folder: str, part: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    file = CONFIGS / folder / part / "config.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found | dict(changes)


def _stable_diffusion(folder: str, cls: Any, small: bool, **more: Any) -> Any:
    text = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "projection_dim": 64,
            "num_attention_heads": 2} if small else {}  # fmt: skip
    width = 64 if small else None
    unet = dict(_SMALL_UNET) if small else {}
    if width is not None:
        unet |= {"cross_attention_dim": 128 if "xl" in folder else width}
        unet |= {"attention_head_dim": 8, "transformer_layers_per_block": 1}
        if "xl" in folder:
            unet |= {"block_out_channels": [32, 64, 64]}
            unet |= {"projection_class_embeddings_input_dim": 6 * 256 + 64}
    parts: dict[str, Any] = {
        "unet": diffusers.UNet2DConditionModel.from_config(_config(folder, "unet", unet)),
        "vae": diffusers.AutoencoderKL.from_config(_config(folder, "vae", _SMALL_VAE if small else {})),
        "text_encoder": transformers.CLIPTextModel(
            transformers.CLIPTextConfig(**_config(folder, "text_encoder", text))
        ),
        "tokenizer": clip_tokenizer(pad="!" if folder.endswith("2") else ""),
        "scheduler": diffusers.EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
        ),
    }  # fmt: skip
    return cls(**parts, **more)


def _xl(small: bool) -> Any:
    text = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "projection_dim": 64,
            "num_attention_heads": 2} if small else {}  # fmt: skip
    second = transformers.CLIPTextModelWithProjection(
        transformers.CLIPTextConfig(**_config("stable_diffusion_xl", "text_encoder_2", text))
    )
    return _stable_diffusion(
        "stable_diffusion_xl", diffusers.StableDiffusionXLPipeline, small,
        text_encoder_2=second, tokenizer_2=clip_tokenizer(pad="!"), add_watermarker=False,
    )  # fmt: skip


def _plain(folder: str) -> Callable[[bool], Any]:
    options = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    kind = diffusers.StableDiffusionPipeline
    return lambda small: _stable_diffusion(folder, kind, small, **options)


def _qwen_tokenizer() -> Any:
    letters = [chr(n) for n in (*range(33, 127), *range(161, 173), *range(174, 256))]
    letters += [chr(256 + n) for n in range(256 - len(letters))]
    words = [*letters, *_SPECIAL]
    return transformers.Qwen2Tokenizer(
        vocab={word: number for number, word in enumerate(words)}, merges=[],
        extra_special_tokens=_SPECIAL[1:], chat_template=_CHAT, model_max_length=4096,
    )  # fmt: skip


def _flow(**changes: Any) -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler(**changes)


def _klein(small: bool) -> Any:
    text = transformers.Qwen3Config(**(_SMALL_QWEN if small else _QWEN_3_4B))
    heads, layers, singles = (2, 1, 1) if small else (24, 5, 20)
    transformer = diffusers.Flux2Transformer2DModel(
        in_channels=128, num_layers=layers, num_single_layers=singles, num_attention_heads=heads,
        attention_head_dim=128, joint_attention_dim=3 * text.hidden_size, guidance_embeds=False,
    )  # fmt: skip
    return diffusers.Flux2KleinPipeline(
        scheduler=_flow(use_dynamic_shifting=True, shift=3.0),
        vae=diffusers.AutoencoderKLFlux2(**(_SMALL_VAE if small else {})),
        text_encoder=transformers.Qwen3ForCausalLM(text),
        tokenizer=_qwen_tokenizer(),
        transformer=transformer,
        is_distilled=True,
    )


def _z_image(small: bool) -> Any:
    text = transformers.Qwen3Config(**(_SMALL_QWEN if small else _QWEN_3_4B))
    size: dict[str, Any] = {"cap_feat_dim": text.hidden_size}
    if small:
        size |= {"dim": 256, "n_layers": 2, "n_refiner_layers": 1, "n_heads": 2, "n_kv_heads": 2}
    transformer = diffusers.ZImageTransformer2DModel(**size)
    transformer.x_pad_token.normal_()  # the class leaves its padding tokens without values
    transformer.cap_pad_token.normal_()
    vae = {
        "latent_channels": 16, "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2,
        "scaling_factor": 0.3611, "shift_factor": 0.1159, "use_quant_conv": False,
        "use_post_quant_conv": False, "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
    } | (_SMALL_VAE if small else {})  # fmt: skip
    return diffusers.ZImagePipeline(
        scheduler=_flow(shift=3.0),
        vae=diffusers.AutoencoderKL(**vae),
        text_encoder=transformers.Qwen3Model(text),
        tokenizer=_qwen_tokenizer(),
        transformer=transformer,
    )


_BUILDERS: Mapping[str, Callable[[bool], Any]] = {
    "sd15": _plain("stable_diffusion_1"),
    "sdxl": _xl,
    "klein": _klein,
    "z-image": _z_image,
    "sd-turbo": _plain("stable_diffusion_2"),
}

if __name__ == "__main__":
    main()
