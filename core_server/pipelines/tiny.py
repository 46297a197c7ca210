"""The tiny model: a whole Stable Diffusion pipeline with random weights, made in memory without a download.

It exists to exercise every code path in milliseconds. Its pictures are coloured noise: it was never trained.
The tokenizer knows every byte and no merges, so any text is read letter by letter and nothing is unknown to it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

TINY_SEED = 20_220_810
"""Start of the weights' random numbers; changing it changes every picture of the tiny model."""

_TOKENIZER = Path(__file__).parent / "tiny_tokenizer"
_TEXT_WIDTH = 32


def make_tiny_pipeline(seed: int = TINY_SEED, latent_channels: int = 4) -> StableDiffusionPipeline:
    """A pipeline in float32 on the CPU whose weights depend on the arguments alone; the global generator is kept.

    latent_channels: 4 as in Stable Diffusion 1 and 2, or another number to stand for other families.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = CLIPTokenizer(
            vocab=str(_TOKENIZER / "vocab.json"),
            merges=str(_TOKENIZER / "merges.txt"),
            model_max_length=77,
        )
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=_TEXT_WIDTH,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                max_position_embeddings=77,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
        unet = UNet2DConditionModel(
            sample_size=8,
            in_channels=latent_channels,
            out_channels=latent_channels,
            block_out_channels=(32, 64),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=_TEXT_WIDTH,
            attention_head_dim=8,
            norm_num_groups=8,
        )
        vae = AutoencoderKL(
            latent_channels=latent_channels,
            block_out_channels=(8, 16, 16, 32),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=1,
            norm_num_groups=8,
            sample_size=64,
            mid_block_add_attention=False,
        )
        # Random embeddings hardly differ after normalisation; wider ones make every letter of the prompt matter.
        _spread(text_encoder)
    components: dict[str, Any] = {
        "vae": vae.eval(),
        "text_encoder": text_encoder.eval(),
        "tokenizer": tokenizer,
        "unet": unet.eval(),
        "scheduler": EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
        ),
        "safety_checker": None,
        "feature_extractor": None,
    }
    return StableDiffusionPipeline(**components, requires_safety_checker=False)


def _spread(text_encoder: CLIPTextModel) -> None:
    embeddings = text_encoder.get_input_embeddings()
    with torch.no_grad():
        torch.nn.init.normal_(embeddings.weight, std=1.0)
