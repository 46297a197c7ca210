"""Which layers are exactly the stock ones, so that something else may compute in their place."""

from __future__ import annotations

from typing import Any

from diffusers.models.downsampling import Downsample2D
from diffusers.models.unets.unet_2d_blocks import CrossAttnUpBlock2D, UpBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import nn


def is_free(module: nn.Module) -> bool:
    """Whether nobody else has a hand in how the module is called."""
    return not (
        module._forward_hooks
        or module._forward_pre_hooks
        or hasattr(module, "_hf_hook")
        or hasattr(module, "_diffusers_hook")
    )


def is_plain_block(block: Any) -> bool:
    """Whether a ResNet block of diffusers is the one of Stable Diffusion: no scale by the timestep, no own sampling."""
    # Blocks of an autoencoder's decoder name a norm that they would use for a timestep, and have none.
    timeless = block.time_emb_proj is None and block.time_embedding_norm == "group"
    return (
        (block.time_embedding_norm == "default" or timeless)
        and block.upsample is None
        and block.downsample is None
        and isinstance(block.nonlinearity, nn.SiLU)
        and type(block.norm1) is nn.GroupNorm
        and type(block.norm2) is nn.GroupNorm
        and float(block.output_scale_factor) == 1.0
        and not block.training
    )


def is_plain(layer: Any, kind: type[nn.Module]) -> bool:
    """Whether the layer is exactly of that kind, and called by nobody's other way."""
    return type(layer) is kind and is_free(layer) and "forward" not in vars(layer)


def is_pointwise(conv: Any) -> bool:
    """Whether a layer is a convolution of single pixels."""
    return (
        is_plain(conv, nn.Conv2d)
        and conv.kernel_size == conv.stride == (1, 1)
        and conv.padding in ((0, 0), "valid")
        and conv.groups == 1
    )


def is_plain_downsample(module: Any) -> bool:
    """Whether a downsampler of diffusers is a convolution, and does nothing else but pad."""
    return (
        type(module) is Downsample2D
        and module.norm is None
        and module.use_conv
        and is_plain(module.conv, nn.Conv2d)
    )


def is_plain_upsample(module: Any) -> bool:
    """Whether an upsampler of diffusers doubles both sides and convolves, and does nothing else."""
    return (
        type(module) is Upsample2D
        and module.norm is None
        and module.interpolate
        and not module.use_conv_transpose
        and module.use_conv
        and module.name == "conv"
        and is_plain(module.conv, nn.Conv2d)
    )


def is_plain_up_block(module: Any) -> bool:
    """Whether a block of a UNet joins its picture with those of the way down, and does no more than call its layers."""
    if type(module) is CrossAttnUpBlock2D:
        return len(module.attentions) == len(module.resnets)
    return type(module) is UpBlock2D
