"""A small pipeline with random weights for every model family, built from configurations alone: no download.

The architectures are the real ones, with a layer or two of a few channels each. Sizes after diffusers' own tests.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from core_server.pipelines.still_processor import StillProcessor
from tests.core_server.pipelines.tiny_encoders import (
    WIDTH,
    clip_encoder,
    clip_tokenizer,
    gemma_encoder,
    gemma_tokenizer,
    mistral_encoder,
    mistral_tokenizer,
    qwen_encoder,
    qwen_tokenizer,
    qwen_vision_encoder,
    t5_encoder,
    t5_tokenizer,
)
from tests.core_server.pipelines.tiny_parts import (
    diffusion_scheduler,
    flow_scheduler,
    kl_autoencoder,
    shifted_autoencoder,
    unet,
)


def stable_diffusion(**denoiser: Any) -> Any:
    width = denoiser.get("cross_attention_dim", WIDTH)
    encoder = clip_encoder()
    if width != WIDTH:  # what makes it a Stable Diffusion 2
        encoder = transformers.CLIPTextModel(
            transformers.CLIPTextConfig(
                vocab_size=514,
                hidden_size=width,
                intermediate_size=37,
                num_hidden_layers=1,
                num_attention_heads=4,
                bos_token_id=512,
                eos_token_id=513,
            )
        )
    kind = diffusers.StableDiffusionPipeline
    if denoiser.get("in_channels") == 9:
        kind = diffusers.StableDiffusionInpaintPipeline
    return kind(
        vae=kl_autoencoder(),
        text_encoder=encoder,
        tokenizer=clip_tokenizer(),
        unet=unet(**denoiser),
        # Stable Diffusion 2.1 was trained on v instead of noise.
        scheduler=diffusion_scheduler(
            prediction_type="epsilon" if width == WIDTH else "v_prediction"
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def stable_diffusion_xl(in_channels: int = 4) -> Any:
    kind = diffusers.StableDiffusionXLPipeline
    if in_channels == 9:
        kind = diffusers.StableDiffusionXLInpaintPipeline
    return kind(
        vae=kl_autoencoder(),
        text_encoder=clip_encoder(),
        text_encoder_2=clip_encoder(transformers.CLIPTextModelWithProjection),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        unet=unet(
            in_channels=in_channels,
            attention_head_dim=(2, 4),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            transformer_layers_per_block=(1, 2),
            projection_class_embeddings_input_dim=80,
            cross_attention_dim=2 * WIDTH,
        ),
        scheduler=diffusion_scheduler(),
        force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    )


def stable_diffusion_3() -> Any:
    return diffusers.StableDiffusion3Pipeline(
        transformer=diffusers.SD3Transformer2DModel(
            sample_size=32,
            patch_size=2,
            in_channels=16,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=2 * WIDTH,
            caption_projection_dim=32,
            pooled_projection_dim=2 * WIDTH,
            out_channels=16,
        ),
        scheduler=flow_scheduler(shift=3.0),
        vae=shifted_autoencoder(16),
        text_encoder=clip_encoder(transformers.CLIPTextModelWithProjection),
        tokenizer=clip_tokenizer(),
        text_encoder_2=clip_encoder(transformers.CLIPTextModelWithProjection),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=t5_encoder(2 * WIDTH),
        tokenizer_3=t5_tokenizer(),
    )


def flux(kind: Any = diffusers.FluxPipeline, **denoiser: Any) -> Any:
    return kind(
        scheduler=flow_scheduler(
            use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15, shift=3.0
        ),
        vae=shifted_autoencoder(),
        text_encoder=clip_encoder(),
        tokenizer=clip_tokenizer(),
        text_encoder_2=t5_encoder(),
        tokenizer_2=t5_tokenizer(),
        transformer=diffusers.FluxTransformer2DModel(
            **{
                "patch_size": 1,
                "in_channels": 16,
                "num_layers": 1,
                "num_single_layers": 1,
                "attention_head_dim": 16,
                "num_attention_heads": 2,
                "joint_attention_dim": WIDTH,
                "pooled_projection_dim": WIDTH,
                "axes_dims_rope": (4, 4, 8),
                "guidance_embeds": True,
                **denoiser,
            }
        ),
    )


def flux_fill() -> Any:
    # Latents, the masked picture's latents and 8 x 8 mask px of each of the 2 x 2 cells of a token.
    return flux(diffusers.FluxFillPipeline, in_channels=16 + 16 + 256, out_channels=16)


def flux_control() -> Any:
    # Latents, and those of the control picture.
    return flux(diffusers.FluxControlPipeline, in_channels=16 + 16, out_channels=16)


def _flux_2_autoencoder() -> Any:
    vae = diffusers.AutoencoderKLFlux2(
        latent_channels=4,
        block_out_channels=(8, 16, 16, 16),
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=64,
    )
    vae.bn.running_mean.uniform_(-0.5, 0.5)
    vae.bn.running_var.uniform_(0.5, 2.0)
    return vae


def _flux_2_transformer(width: int, **changes: Any) -> Any:
    return diffusers.Flux2Transformer2DModel(
        **{
            "patch_size": 1,
            "in_channels": 16,
            "num_layers": 1,
            "num_single_layers": 1,
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "joint_attention_dim": 3 * width,
            "timestep_guidance_channels": 16,
            "axes_dims_rope": (4, 4, 4, 4),
            **changes,
        }
    )


def flux_2_dev() -> Any:
    return diffusers.Flux2Pipeline(
        scheduler=flow_scheduler(use_dynamic_shifting=True, shift=3.0),
        vae=_flux_2_autoencoder(),
        text_encoder=mistral_encoder(layers=30),  # the pipeline reads its layers 10, 20 and 30
        tokenizer=mistral_tokenizer(),
        transformer=_flux_2_transformer(16, guidance_embeds=True),
    )


def flux_2_klein() -> Any:
    return diffusers.Flux2KleinPipeline(
        scheduler=flow_scheduler(use_dynamic_shifting=True, shift=3.0),
        vae=_flux_2_autoencoder(),
        # The pipeline reads the encoder's layers 9, 18 and 27.
        text_encoder=qwen_encoder(transformers.Qwen3ForCausalLM, layers=27),
        tokenizer=qwen_tokenizer(),
        transformer=_flux_2_transformer(16, guidance_embeds=False),
        is_distilled=False,
    )


def z_image() -> Any:
    transformer = diffusers.ZImageTransformer2DModel(
        in_channels=4,
        dim=32,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=16,
        axes_dims=[8, 4, 4],
        axes_lens=[1024, 64, 64],
    )
    with torch.no_grad():  # the class leaves its padding tokens without values
        transformer.x_pad_token.normal_()
        transformer.cap_pad_token.normal_()
    return diffusers.ZImagePipeline(
        scheduler=flow_scheduler(shift=3.0),
        vae=shifted_autoencoder(),
        text_encoder=qwen_encoder(transformers.Qwen3Model, layers=2),
        tokenizer=qwen_tokenizer(),
        transformer=transformer,
    )


def _qwen_parts(width: int = 4, halvings: int = 3, blocks: int = 1) -> dict[str, Any]:
    return {
        "scheduler": flow_scheduler(
            use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, shift_terminal=0.02
        ),
        "vae": diffusers.AutoencoderKLQwenImage(
            base_dim=width,
            z_dim=4,
            dim_mult=[1] * (halvings + 1),
            num_res_blocks=blocks,
            temperal_downsample=[False] * halvings,
            latents_mean=[0.1, -0.2, 0.3, 0.0],
            latents_std=[1.1, 0.9, 1.3, 1.0],
        ),
        "text_encoder": qwen_vision_encoder(),
        "tokenizer": qwen_tokenizer(),
        "transformer": diffusers.QwenImageTransformer2DModel(
            patch_size=2,
            in_channels=16,
            out_channels=4,
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=1,
            joint_attention_dim=16,
            axes_dims_rope=(8, 4, 4),
        ),
    }


def qwen_image() -> Any:
    return diffusers.QwenImagePipeline(**_qwen_parts())


def qwen_image_edit() -> Any:
    # The pipeline always works at a megapixel: so next to no autoencoder, few latents, and small eyes.
    parts = _qwen_parts(width=2, halvings=4, blocks=0)
    eyes = transformers.Qwen2VLImageProcessorPil(min_pixels=56 * 56, max_pixels=112 * 112)
    processor = StillProcessor(eyes, parts["tokenizer"])
    return diffusers.QwenImageEditPipeline(processor=processor, **parts)


def qwen_image_edit_plus() -> Any:
    parts = qwen_image_edit().components
    return diffusers.QwenImageEditPlusPipeline(**parts)


def pixart(kind: Any) -> Any:
    return kind(
        tokenizer=t5_tokenizer(),
        text_encoder=t5_encoder(),
        vae=kl_autoencoder(),
        transformer=diffusers.PixArtTransformer2DModel(
            sample_size=8,
            num_layers=2,
            patch_size=2,
            attention_head_dim=8,
            num_attention_heads=2,
            in_channels=4,
            out_channels=8,
            cross_attention_dim=16,
            caption_channels=WIDTH,
        ),
        scheduler=diffusers.DPMSolverMultistepScheduler(),
    )


def sana_sprint() -> Any:
    parts = sana(guidance_embeds=True, guidance_embeds_scale=0.1, qk_norm="rms_norm_across_heads")
    parts = parts.components | {"scheduler": diffusers.SCMScheduler()}
    return diffusers.SanaSprintPipeline(**parts)


def sana(**denoiser: Any) -> Any:
    return diffusers.SanaPipeline(
        tokenizer=gemma_tokenizer(),
        text_encoder=gemma_encoder(),
        vae=diffusers.AutoencoderDC(
            latent_channels=4,
            attention_head_dim=2,
            encoder_block_types=("ResBlock", "ResBlock", "EfficientViTBlock"),
            decoder_block_types=("ResBlock", "ResBlock", "EfficientViTBlock"),
            encoder_block_out_channels=(8, 8, 8),
            decoder_block_out_channels=(8, 8, 8),
            encoder_qkv_multiscales=((), (), (5,)),
            decoder_qkv_multiscales=((), (), (5,)),
            encoder_layers_per_block=(1, 1, 1),
            decoder_layers_per_block=(1, 1, 1),
            scaling_factor=0.4,
        ),
        transformer=diffusers.SanaTransformer2DModel(
            patch_size=1,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            num_attention_heads=2,
            attention_head_dim=4,
            num_cross_attention_heads=2,
            cross_attention_head_dim=4,
            cross_attention_dim=8,
            caption_channels=8,
            sample_size=32,
            **denoiser,
        ),
        scheduler=diffusers.DPMSolverMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
    )


BUILDERS: dict[str, Callable[[], Any]] = {
    "stable_diffusion": stable_diffusion,
    "stable_diffusion_inpaint": lambda: stable_diffusion(in_channels=9),
    "stable_diffusion_2": lambda: stable_diffusion(cross_attention_dim=1024),
    "stable_diffusion_2_inpaint": lambda: stable_diffusion(cross_attention_dim=1024, in_channels=9),
    "stable_diffusion_xl": stable_diffusion_xl,
    "stable_diffusion_xl_inpaint": lambda: stable_diffusion_xl(9),
    "stable_diffusion_3": stable_diffusion_3,
    "flux": flux,
    "flux_fill": flux_fill,
    "flux_kontext": lambda: flux(diffusers.FluxKontextPipeline),
    "flux_control": flux_control,
    "flux_2_klein": flux_2_klein,
    "flux_2_dev": flux_2_dev,
    "z_image": z_image,
    "qwen_image": qwen_image,
    "qwen_image_edit": qwen_image_edit,
    "qwen_image_edit_plus": qwen_image_edit_plus,
    "pixart_alpha": lambda: pixart(diffusers.PixArtAlphaPipeline),
    "pixart_sigma": lambda: pixart(diffusers.PixArtSigmaPipeline),
    "sana": sana,
    "sana_sprint": sana_sprint,
}


def make_tiny_family(name: str, seed: int = 0) -> Any:
    """A whole pipeline of that family in float32 on the CPU; the same one for the same arguments."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pipeline = BUILDERS[name]()
        for component in pipeline.components.values():
            if isinstance(component, torch.nn.Module):
                component.eval().requires_grad_(False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def save_tiny_family(name: str, folder: Path) -> Any:
    """Writes that pipeline as a diffusers folder that may paint small pictures, and returns it."""
    pipeline = make_tiny_family(name)
    pipeline.save_pretrained(folder)
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    published = {"processor": "Qwen2VLProcessor"} if "processor" in index else {}
    if name == "flux_2_dev":
        published = {"tokenizer": "PixtralProcessor"}
    if published:
        index |= {part: ["transformers", kind] for part, kind in published.items()}
        (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    own: dict[str, Any] = {"min_extent": [16, 16], "max_extent": [1024, 1024]}
    if name.startswith("sana"):  # the stock pipeline demands what its full-size autoencoder needs
        own["multiple"] = 32
    (folder / "profile.json").write_text(json.dumps(own), encoding="utf-8")
    return pipeline
