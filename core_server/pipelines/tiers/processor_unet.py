"""A UNet on a processor: half precision where the processor has it, and few calls of Python, for the time of a picture.

The weights stay as they are; beside them stand copies as the processor computes fastest. Latents, timesteps and text
stay float32 at both ends. Only a UNet that is stock in every layer is called this way: one that adapters wrap, that an
offloading hook watches, or that is built in another way, paints as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models import attention, embeddings, resnet
from diffusers.models.activations import GEGLU
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.models.downsampling import Downsample2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets import unet_2d_blocks
from diffusers.models.upsampling import Upsample2D
from torch import nn

from core_server.pipelines.overrides import Overrides
from core_server.pipelines.tiers.kernels import is_free, is_plain_block
from core_server.pipelines.tiers.packed import PackedConv
from core_server.pipelines.tiers.processor_blocks import residual_block, transformer

if TYPE_CHECKING:
    from core_server.pipelines.model import LoadedModel

_KNOWN = frozenset((
    UNet2DConditionModel,
    unet_2d_blocks.DownBlock2D,
    unet_2d_blocks.CrossAttnDownBlock2D,
    unet_2d_blocks.UNetMidBlock2DCrossAttn,
    unet_2d_blocks.CrossAttnUpBlock2D,
    unet_2d_blocks.UpBlock2D,
    resnet.ResnetBlock2D,
    Transformer2DModel,
    attention.BasicTransformerBlock,
    attention.FeedForward,
    Attention,
    GEGLU,
    Downsample2D,
    Upsample2D,
    embeddings.Timesteps,
    embeddings.TimestepEmbedding,
    nn.ModuleList,
    nn.Conv2d,
    nn.Linear,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.SiLU,
    nn.Dropout,
))  # fmt: skip


def processor_dtype(*, bfloat16: bool, packs: bool) -> torch.dtype | None:
    """What the blocks compute in: bfloat16 where the processor has it, float32 where weights can be kept ready for it
    (`packed.packs_convolutions`), None where stock PyTorch does as well.

    By what the processor has, never by a measurement: the same machine must paint the same picture tomorrow.
    """
    if bfloat16:
        return torch.bfloat16
    return torch.float32 if packs else None


def fits(unet: nn.Module) -> bool:
    """Whether this is a UNet whose every layer computes as its class says and as the blocks here assume."""
    if type(unet) is not UNet2DConditionModel or unet.training:
        return False
    return all(
        type(module) in _KNOWN
        and is_free(module)
        and "forward" not in vars(module)
        and _ASSUMED.get(type(module), lambda _: True)(module)
        for module in unet.modules()
    )


def state_of_weights(unet: nn.Module) -> Hashable:
    """Equal only while the same weights hold the same numbers."""
    return tuple((p.data_ptr(), p._version, p.dtype) for p in unet.parameters())


class ProcessorUNet(Overrides):
    """A UNet that `fits`, computed in `dtype`: built once, put on for each picture."""

    def __init__(self, unet: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        inside: set[nn.Module] = set()
        for module in unet.modules():
            if isinstance(module, resnet.ResnetBlock2D):
                self.add(module, "forward", residual_block(module, dtype))
            elif isinstance(module, Transformer2DModel):
                self.add(module, "forward", transformer(module, dtype))
            else:
                continue
            inside.update(module.modules())
        for name, module in unet.named_modules():
            if isinstance(module, nn.Conv2d) and module not in inside:
                convolution = _convolution(module, dtype, last=name == "conv_out")
                self.add(module, "forward", convolution)


class ProcessorTier:
    """The UNet of one loaded model on a processor, made anew when its weights change. used: what it computed the last
    picture in, None for stock PyTorch."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._unet: ProcessorUNet | None = None
        self._state: Hashable = None
        self.used: torch.dtype | None = None

    @contextmanager
    def painting(self, model: LoadedModel) -> Iterator[bool]:
        """Within the context the model's denoiser computes this way; yields whether it does."""
        ready = self._ready(model)
        self.used = None if ready is None else ready.dtype
        if ready is None:
            yield False
            return
        ready.put_on()
        try:
            yield True
        finally:
            ready.take_off()

    def _ready(self, model: LoadedModel) -> ProcessorUNet | None:
        unet = model.denoiser
        allowed = model.profile.bfloat16_denoiser and model.dtype is torch.float32
        if not allowed or model.device.type != "cpu" or not fits(unet):
            self._unet = None
            return None
        state = state_of_weights(unet)
        if self._unet is None or state != self._state:
            self._unet, self._state = ProcessorUNet(unet, self._dtype), state
        return self._unet


def _convolution(
    conv: nn.Conv2d, dtype: torch.dtype, *, last: bool
) -> Callable[[torch.Tensor], torch.Tensor]:
    packed = PackedConv(conv, dtype)

    def forward(x: torch.Tensor) -> torch.Tensor:
        return packed(x).to(conv.weight.dtype) if last else packed(x)

    return forward


def _is_plain_transformer(module: Any) -> bool:
    return (
        module.is_input_continuous
        and type(module.norm) is nn.GroupNorm
        and type(module.proj_in) is (nn.Linear if module.use_linear_projection else nn.Conv2d)
    )


def _is_plain_transformer_block(block: Any) -> bool:
    return (
        block.norm_type == "layer_norm"
        and not block.only_cross_attention
        and block.attn2 is not None
        and block.pos_embed is None
        and block._chunk_size is None
        and type(block.ff.net[0]) is GEGLU
        and not block.attn1.is_cross_attention
        and block.attn2.is_cross_attention
    )


def _is_plain_attention(layer: Any) -> bool:
    extra = (layer.group_norm, layer.spatial_norm, layer.norm_q, layer.norm_k, layer.norm_cross)
    return (
        type(layer.processor) is AttnProcessor2_0
        and not any(it is not None and it is not False for it in extra)
        and not layer.residual_connection
        and float(layer.rescale_output_factor) == 1.0
        and layer.to_q.bias is None
        and layer.to_k.bias is None
    )


def _is_plain_convolution(conv: nn.Conv2d) -> bool:
    return conv.padding_mode == "zeros" and not isinstance(conv.padding, str)


_ASSUMED: dict[type, Callable[[Any], bool]] = {
    resnet.ResnetBlock2D: is_plain_block,
    Transformer2DModel: _is_plain_transformer,
    attention.BasicTransformerBlock: _is_plain_transformer_block,
    Attention: _is_plain_attention,
    nn.Conv2d: _is_plain_convolution,
    nn.GroupNorm: lambda layer: bool(layer.affine),
    nn.LayerNorm: lambda layer: bool(layer.elementwise_affine),
}
