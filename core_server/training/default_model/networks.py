"""The three networks of the default model, their noise schedule and circular convolution."""

from __future__ import annotations

import math

import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from torch import nn
from torch.nn import functional as F  # noqa: N812  the name everyone knows
from transformers import CLIPTextConfig, CLIPTextModel

LATENT_CHANNELS = 8
LATENT_SCALE = 8  # image pixels per latent pixel
TEXT_WIDTH = 256
TOKENS = 32
TRAIN_TIMESTEPS = 1000
TERMINAL_ALPHA_BAR = 6.1e-5


class Padding:
    """How the 3x3 convolutions that share this object pad: zeros, wrapped, or a mask per sample."""

    def __init__(self, mode: str = "zeros") -> None:
        self.mode = mode
        self.mask: torch.Tensor | None = None  # (B, 1, 1, 1): 1 wraps, 0 pads with zeros


class WrapConv2d(nn.Conv2d):
    """A 3x3 convolution that pads as its `Padding` says; state dict as `nn.Conv2d`."""

    wrap: Padding

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  torch names it so
        """Convolve (B, C, H, W)."""
        x = input
        if self.wrap.mode == "zeros":
            return F.conv2d(x, self.weight, self.bias, self.stride, self.padding)
        mask = self.wrap.mask if self.wrap.mode == "masked" else None
        top, bottom = x[:, :, -1:], x[:, :, :1]
        if mask is not None:
            mask = mask.to(x.dtype)
            top, bottom = top * mask, bottom * mask
        x = torch.cat([top, x, bottom], 2)
        left, right = x[..., -1:], x[..., :1]
        if mask is not None:
            left, right = left * mask, right * mask
        return F.conv2d(torch.cat([left, x, right], 3), self.weight, self.bias, self.stride, 0)


def use_padding(network: nn.Module, padding: Padding) -> Padding:
    """Let every 3x3 convolution of `network` pad as `padding` says, now and when it changes."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.padding == (1, 1):
            module.__class__ = WrapConv2d
            module.wrap = padding  # type: ignore[assignment]
    return padding


def make_autoencoder() -> AutoencoderTiny:
    """About 3.0 M parameters, f8, 8 channels; most blocks where pixels are few."""
    return AutoencoderTiny(
        latent_channels=LATENT_CHANNELS,
        num_encoder_blocks=(1, 3, 4, 4),
        num_decoder_blocks=(5, 4, 3, 1),
        scaling_factor=1.0,
    )


def make_unet() -> UNet2DConditionModel:
    """17.7 M parameters, attention at 1/16 and 1/32 of the picture."""
    return UNet2DConditionModel(
        sample_size=256 // LATENT_SCALE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(96, 128, 192),
        layers_per_block=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=8,
    )


def make_text_encoder(vocab_size: int, bos: int, eos: int) -> CLIPTextModel:
    """A CLIP text tower of three layers, trained together with the UNet."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocab_size,
            hidden_size=TEXT_WIDTH,
            intermediate_size=1024,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=TOKENS,
            projection_dim=TEXT_WIDTH,
            bos_token_id=bos,
            eos_token_id=eos,
            pad_token_id=eos,
        )
    )


def alpha_bars() -> torch.Tensor:
    """Cumulative signal power of the scaled-linear schedule, brought to a near-zero end.

    Lin et al. (2024), "Common Diffusion Noise Schedules and Sample Steps Are Flawed", algorithm 1,
    stopped just short of zero so that every scheduler of diffusers can divide by it. (1000,) f64.
    """
    betas = torch.linspace(math.sqrt(0.00085), math.sqrt(0.012), TRAIN_TIMESTEPS).double() ** 2
    root = torch.cumprod(1 - betas, 0).sqrt()
    end = math.sqrt(TERMINAL_ALPHA_BAR)
    root = (root - root[-1]) * (root[0] - end) / (root[0] - root[-1]) + end
    return root**2


def scheduler_config() -> dict[str, object]:
    """The same schedule as `trained_betas`, for any scheduler of diffusers."""
    bars = alpha_bars()
    betas = 1 - torch.cat([bars[:1], bars[1:] / bars[:-1]])
    return {
        "num_train_timesteps": TRAIN_TIMESTEPS,
        "trained_betas": [round(float(b), 8) for b in betas],
        "prediction_type": "v_prediction",
        "timestep_spacing": "trailing",
        "steps_offset": 1,
    }
