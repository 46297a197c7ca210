"""Autoencoders, a UNet and schedulers that several tiny families share."""

from __future__ import annotations

from typing import Any

import diffusers

from tests.core_server.pipelines.tiny_encoders import WIDTH


def kl_autoencoder(**changes: Any) -> Any:
    return diffusers.AutoencoderKL(
        **{
            "latent_channels": 4,
            "block_out_channels": (8, 16, 16, 32),
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4,
            "layers_per_block": 1,
            "norm_num_groups": 8,
            "sample_size": 64,
            **changes,
        }
    )


def shifted_autoencoder(latent_channels: int = 4) -> Any:
    return kl_autoencoder(
        latent_channels=latent_channels,
        scaling_factor=1.5,
        shift_factor=0.06,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def unet(**changes: Any) -> Any:
    return diffusers.UNet2DConditionModel(
        **{
            "sample_size": 8,
            "in_channels": 4,
            "out_channels": 4,
            "block_out_channels": (32, 64),
            "layers_per_block": 1,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            "cross_attention_dim": WIDTH,
            "attention_head_dim": 8,
            "norm_num_groups": 8,
            **changes,
        }
    )


def diffusion_scheduler(**changes: Any) -> Any:
    return diffusers.EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, **changes
    )


def flow_scheduler(**changes: Any) -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler(**changes)
