"""What a weights file is, from the names and shapes of its tensors alone: kind, family and variant. Free of torch.

The marks are facts of the formats, most of them also in diffusers' `single_file_utils.CHECKPOINT_KEY_NAMES`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from core_server.pipelines.sources.weights import WeightsHeader


class FileKind(StrEnum):
    """What a weights file holds."""

    CHECKPOINT = "checkpoint"
    """Denoiser, autoencoder and text encoders of a model."""
    DENOISER = "denoiser"
    """The denoiser alone; the other parts come from elsewhere."""
    LORA = "lora"
    TEXTUAL_INVERSION = "textual_inversion"
    CONTROLNET = "controlnet"
    IP_ADAPTER = "ip_adapter"
    AUTOENCODER = "autoencoder"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Recognised:
    """architecture: one of ARCHITECTURES, "" if unknown. in_channels: of the denoiser, 0 if there is none."""

    kind: FileKind
    architecture: str = ""
    in_channels: int = 0

    @property
    def title(self) -> str:
        """For sentences."""
        name = ARCHITECTURES.get(self.architecture, "")
        what = _TITLES[self.kind]
        return f"{what} for {name}" if name else what


SD1, SD2, SD3 = "stable_diffusion", "stable_diffusion_2", "stable_diffusion_3"
SDXL, SDXL_REFINER, FLUX2 = "stable_diffusion_xl", "stable_diffusion_xl_refiner", "flux_2_klein"

ARCHITECTURES = {
    SD1: "Stable Diffusion 1.x",
    SD2: "Stable Diffusion 2.x",
    SDXL: "SDXL",
    SDXL_REFINER: "the SDXL refiner",
    SD3: "Stable Diffusion 3",
    "flux": "FLUX.1",
    FLUX2: "FLUX.2",
    "z_image": "Z-Image",
    "qwen_image": "Qwen-Image",
    "chroma": "Chroma",
    "sana": "Sana",
    "pixart_sigma": "PixArt",
    "lumina2": "Lumina 2",
}
"""Architectures by the name that families give to what their adapters fit (`Family.adapters`)."""

_TITLES = {
    FileKind.CHECKPOINT: "a model",
    FileKind.DENOISER: "a denoiser alone",
    FileKind.LORA: "a LoRA",
    FileKind.TEXTUAL_INVERSION: "a textual inversion",
    FileKind.CONTROLNET: "a ControlNet",
    FileKind.IP_ADAPTER: "an IP-Adapter",
    FileKind.AUTOENCODER: "an autoencoder alone",
    FileKind.UNKNOWN: "of a kind this version does not know",
}

_BY_WIDTH = {2048: SDXL, 1024: SD2, 768: SD1}
"""Width of what the denoiser's cross-attention reads from the text encoder."""
LDM_PREFIX = "model.diffusion_model."
"""Of the denoiser's tensors in files that hold more than that."""
UNET_IN = LDM_PREFIX + "input_blocks.0.0.weight"
Z_IMAGE_CONTROL = "control_all_x_embedder."
"""Begins the layers that read the picture in a ControlNet for Z-Image."""
_CROSS = LDM_PREFIX + "input_blocks.{}.1.transformer_blocks.0.attn2.to_k.weight"
_VAE = "first_stage_model.decoder.conv_in.weight"
_LORA_MARKS = (
    ".lora_down.weight", ".lora_up.weight", ".lora_A.weight", ".lora_B.weight", ".lora.down.weight",
    ".lora.up.weight", ".hada_w1_a", ".lokr_w1", ".lokr_w1_a", ".oft_blocks", ".processor.to_q_lora.down.weight",
)  # fmt: skip


def recognise(header: WeightsHeader) -> Recognised:  # noqa: PLR0911 - one line a kind
    """What the file is."""
    keys = header.tensors
    if any(f".{key}".endswith(_LORA_MARKS) for key in keys):
        return Recognised(FileKind.LORA, lora_architecture(header))
    if "ip_adapter" in {plain_name(key).partition(".")[0] for key in keys}:
        width = (0, *any_shape(header, *IP_KEYS))[-1]
        return Recognised(FileKind.IP_ADAPTER, (_BY_WIDTH | {4096: "flux"}).get(width, ""))
    inversion = _textual_inversion(header)
    if inversion is not None:
        return inversion
    if any(key.startswith(("control_model.", "controlnet_cond_embedding.")) for key in keys):
        return Recognised(FileKind.CONTROLNET, _unet_architecture(header))
    if any(key.startswith(Z_IMAGE_CONTROL) for key in keys):
        return Recognised(FileKind.CONTROLNET, "z_image")
    if header.shape(UNET_IN):
        return _ldm(header)
    dit = _transformer(header)
    if dit:
        whole = any(
            key.startswith(("first_stage_model.", "vae.", "text_encoders.")) for key in keys
        )
        return Recognised(FileKind.CHECKPOINT if whole else FileKind.DENOISER, dit)
    unet = header.shape("conv_in.weight")
    if unet and "conv_norm_out.weight" in keys and "time_embedding.linear_1.weight" in keys:
        return Recognised(FileKind.DENOISER, _unet_architecture(header), unet[1])
    if any(key.startswith(("decoder.", _VAE)) for key in keys) and any(
        key.startswith("encoder.") for key in keys
    ):
        return Recognised(FileKind.AUTOENCODER)
    return Recognised(FileKind.UNKNOWN)


def lora_architecture(header: WeightsHeader) -> str:
    """The architecture a LoRA was made for: by the marks of its layers, else by its author's metadata.

    "" where several have layers of these names: better to try than to refuse what fits.
    """
    keys = list(header.tensors)
    joined = "\n".join(keys)
    widths = {
        header.tensors[key].shape[1]
        for key in keys
        if "attn2" in key
        and any(part in key for part in ("to_k", "to_v"))
        and key.endswith(_LORA_DOWN)
        and len(header.tensors[key].shape) > 1
    }
    for width, name in _BY_WIDTH.items():
        if width in widths:
            return name
    named = _lora_of_transformer(header, joined)
    if named:
        return named
    if any(word in joined for word in _SDXL_LORA):
        return SDXL
    told = _told(header)
    for word, name in (
        ("sdxl", SDXL), ("stable-diffusion-xl", SDXL), ("sd_v2", SD2), ("stable-diffusion-v2", SD2),
        ("sd_v1", SD1), ("stable-diffusion-v1", SD1), ("flux-2", FLUX2), ("flux2", FLUX2), ("flux", "flux"),
        ("qwen", "qwen_image"), ("z-image", "z_image"), ("zimage", "z_image"), ("sd3", SD3),
        ("stable-diffusion-3", SD3),
    ):  # fmt: skip
        if word in told:
            return name
    if any(word in joined for word in ("lora_unet_down_blocks", "unet.down_blocks", "lora_te_")):
        return SD1
    return ""


_LORA_DOWN = ("lora_down.weight", "lora_A.weight", "lora.down.weight")
_LORA_UP = ("lora_up.weight", "lora_B.weight", "lora.up.weight")
_SDXL_LORA = ("input_blocks_4_1_transformer_blocks_1", "transformer_blocks_9_", "input_blocks_7_1_transformer_blocks",
              "lora_te2_", "text_encoder_2.")  # fmt: skip


def _lora_of_transformer(header: WeightsHeader, joined: str) -> str:  # noqa: PLR0911 - one line a family
    if any(word in joined for word in ("to_qkv_mlp_proj", "single_stream_modulation")):
        return FLUX2
    if "double_blocks" in joined or "single_blocks" in joined:
        return _lora_of_flux(header)
    if "joint_blocks" in joined:
        return SD3
    if "single_transformer_blocks" in joined:
        return "flux"
    if any(
        word in joined
        for word in (
            "context_refiner",
            "noise_refiner",
            "layers.0.attention.",
            "layers_0_attention_",
        )
    ):
        return "z_image"
    if any(word in joined for word in ("img_mlp", "img_mod", "txt_mlp", "txt_mod")):
        return "qwen_image"
    # Attention alone has the same names in several families: widths and depths tell some apart.
    own = [
        key
        for key in header.tensors
        if "attn" in key and "to_q" in key and key.endswith(_LORA_DOWN)
    ]
    if "down_blocks" in joined or "attn1" in joined:
        return ""
    if any(header.tensors[key].shape[-1] in (1536, 2432) for key in own):
        return SD3
    if any(f"transformer_blocks.{_QWEN_DEPTH}." in key for key in own):
        return "qwen_image"
    return ""


_QWEN_DEPTH = 38
"""A block that Qwen-Image has, and no other of those."""


def _told(header: WeightsHeader) -> str:
    told = ("modelspec.architecture", "ss_base_model_version")
    return " ".join(header.metadata.get(name, "") for name in told).lower()


def _lora_of_flux(header: WeightsHeader) -> str:
    """FLUX.1 or FLUX.2: the second's feed-forward layers are gated, so that their first one is wider."""
    if "flux2" in _told(header) or "flux-2" in _told(header):
        return FLUX2
    for key, info in header.tensors.items():
        layer = key.replace("_", ".")
        wide = "linear1" in layer or "mlp.0." in layer
        if not wide or not key.endswith(_LORA_UP):
            continue
        down = next(
            (
                header.shape(key.replace(up, down))
                for up, down in zip(_LORA_UP, _LORA_DOWN, strict=True)
                if up in key
            ),
            (),
        )
        if down:
            wider = info.shape[0] / down[-1]
            return FLUX2 if wider > (8 if "linear1" in layer else 5) else "flux"
    return "flux"


def _textual_inversion(header: WeightsHeader) -> Recognised | None:
    shapes = {key: info.shape for key, info in header.tensors.items()}
    if {"clip_l", "clip_g"} <= shapes.keys():
        return Recognised(FileKind.TEXTUAL_INVERSION, SDXL)
    if len(shapes) == 1:
        (shape,) = shapes.values()
        if len(shape) in (1, 2) and shape[-1] in (768, 1024, 1280):
            architecture = {768: SD1, 1024: SD2}.get(shape[-1], SDXL)
            return Recognised(FileKind.TEXTUAL_INVERSION, architecture)
    if "emb_params" in shapes or "string_to_param" in {key.partition(".")[0] for key in shapes}:
        width = shapes.get("emb_params", (0,))[-1]
        return Recognised(FileKind.TEXTUAL_INVERSION, {768: SD1, 1024: SD2}.get(width, ""))
    return None


def _ldm(header: WeightsHeader) -> Recognised:
    kind = FileKind.CHECKPOINT if _has(header.tensors, _VAE) else FileKind.DENOISER
    width_1, width_4 = (header.shape(_CROSS.format(block))[-1:] for block in (1, 4))
    # Scaled-down networks have widths of their own; there the text encoders tell the architecture.
    signs = {
        SD1: width_1 == (768,),
        SD2: width_1 == (1024,),
        SDXL: width_4 == (2048,),
        SDXL_REFINER: width_4 == (1280,),
    }
    if not any(signs.values()):
        signs = {
            SDXL: _has(header.tensors, "conditioner.embedders.1."),
            SD2: _has(header.tensors, "cond_stage_model.model."),
            SD1: _has(header.tensors, "cond_stage_model.transformer."),
        }
    architecture = next((name for name, holds in signs.items() if holds), "")
    return Recognised(kind, architecture, header.shape(UNET_IN)[1])


def _unet_architecture(header: WeightsHeader) -> str:
    widths = {
        info.shape[-1] for key, info in header.tensors.items() if key.endswith("attn2.to_k.weight")
    }
    for width, name in _BY_WIDTH.items():
        if width in widths:
            return name
    return SDXL if "add_embedding.linear_1.weight" in header.tensors else ""


def _transformer(header: WeightsHeader) -> str:
    """Families of diffusion transformers, by a mark each has alone; original and diffusers names, with any prefix."""
    marks = (
        (FLUX2, ("single_stream_modulation.lin.weight", "single_stream_modulation.linear.weight")),
        ("chroma", ("distilled_guidance_layer.in_proj.bias",)),
        ("flux", ("double_blocks.0.img_attn.norm.key_norm.scale", "single_transformer_blocks.0.attn.norm_k.weight")),
        (SD3, ("joint_blocks.0.context_block.adaLN_modulation.1.bias",)),
        ("z_image", ("layers.0.adaLN_modulation.0.weight", "noise_refiner.0.attention.qkv.weight")),
        ("lumina2", ("cap_embedder.0.weight",)),
        ("qwen_image", ("transformer_blocks.0.attn.add_q_proj.weight",)),
        ("sana", ("blocks.0.cross_attn.kv_linear.weight", "blocks.0.attn.qkv.weight")),
        ("pixart_sigma", ("adaln_single.linear.weight",)),
    )  # fmt: skip
    plain = {key.removeprefix(LDM_PREFIX) for key in header.tensors}
    for name, words in marks:
        if any(word in plain for word in words):
            return name
    return ""


def _has(keys: Iterable[str], prefix: str) -> bool:
    return any(key.startswith(prefix) for key in keys)


def any_shape(header: WeightsHeader, *ends: str) -> tuple[int, ...]:
    """The shape of some tensor whose name ends so; () if there is none."""
    return next((info.shape for key, info in header.tensors.items() if key.endswith(ends)), ())


IP_KEYS = ("to_k_ip.weight", "ip_adapter_double_stream_k_proj.weight")
"""An IP-Adapter's reading of a picture as keys, in its authors' names and in XLabs' for FLUX.1."""


def plain_name(key: str) -> str:
    """A tensor of an IP-Adapter by the name that most have; XLabs' for FLUX.1 have others."""
    if key.startswith("ip_adapter_proj_model."):
        return key.replace("ip_adapter_proj_model.", "image_proj.", 1)
    if "ip_adapter_double_stream" in key:
        _, block, rest = key.split(".", 2)
        rest = rest.removeprefix("processor.").replace("ip_adapter_double_stream_", "")
        return (
            f"ip_adapter.{block}.{rest.replace('k_proj', 'to_k_ip').replace('v_proj', 'to_v_ip')}"
        )
    return key
