"""Single-file checkpoints of Stable Diffusion 1, loaded offline with the configuration that is shipped here."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from transformers import CLIPTokenizer

from core_server.errors import ModelLoadFailed

CONFIGS = Path(__file__).parent / "single_file_configs"

_UNET_IN = "model.diffusion_model.input_blocks.0.0.weight"
_TEXT_WIDTH = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
_TEXT_ENCODER = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
_VAE = "first_stage_model.decoder.conv_in.weight"
_MERGES = 49152 - 256 - 2


def read_single_file(
    path: Path,
    header: Mapping[str, Any],
    dtype: torch.dtype,
    config: Path = CONFIGS / "stable_diffusion_1",
) -> StableDiffusionPipeline:
    """header: of the .safetensors file. config: a diffusers folder without weights.

    Errors: ModelLoadFailed for another layout than Stable Diffusion 1's.
    """
    missing = [key for key in (_UNET_IN, _TEXT_WIDTH, _TEXT_ENCODER, _VAE) if key not in header]
    if missing:
        raise ModelLoadFailed(
            f"{path.name} is not a whole Stable Diffusion 1 checkpoint ({missing[0]} is missing); this version loads "
            "other models from a diffusers folder."
        )
    channels = header[_UNET_IN]["shape"][1]
    if channels != 4:
        raise ModelLoadFailed(
            f"{path.name} takes {channels} latent channels; this version loads such models from a diffusers folder."
        )
    # An absolute path and no download: the configuration and the tokenizer are all that diffusers would fetch.
    return StableDiffusionPipeline.from_single_file(
        str(path.resolve()),
        config=str(config),
        tokenizer=clip_tokenizer(),
        safety_checker=None,
        feature_extractor=None,
        local_files_only=True,
        dtype=dtype,
    )


def clip_tokenizer() -> CLIPTokenizer:
    """The tokenizer of OpenAI's CLIP, made from its published merges."""
    with gzip.open(CONFIGS / "clip_merges.txt.gz", "rt", encoding="utf-8") as stream:
        lines = stream.read().split("\n")
    merges = [tuple(line.split()) for line in lines[1 : _MERGES + 1]]
    letters = _byte_letters()
    words = [*letters, *(letter + "</w>" for letter in letters), *map("".join, merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)


def _byte_letters() -> list[str]:
    """A printable letter for each byte, in CLIP's order: the printable bytes stand for themselves and come first."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(byte) for byte in printable] + [chr(256 + n) for n in range(256 - len(printable))]
