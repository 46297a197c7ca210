"""The second family: the same promises for Stable Diffusion XL, at a tiny size."""

from __future__ import annotations

import diffusers
import numpy as np
import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from core_server.canvas.geometry import Extent
from core_server.canvas.pixels import Pixels
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.request import ImageToImage, Inpaint, Parameters, TextToImage
from core_server.pipelines.tiny import make_tiny_pipeline
from tests.core_server.pipelines.conftest import picture, quiet

SIDE = 512


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    small = make_tiny_pipeline()
    text = CLIPTextConfig(
        vocab_size=len(small.tokenizer),
        hidden_size=32,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=4,
        projection_dim=32,
        bos_token_id=512,
        eos_token_id=513,
        pad_token_id=513,
    )
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        transformer_layers_per_block=(1, 2),
        projection_class_embeddings_input_dim=80,
        cross_attention_dim=64,
    )
    pipeline = diffusers.StableDiffusionXLPipeline(
        vae=small.vae,
        text_encoder=CLIPTextModel(text).eval(),
        text_encoder_2=CLIPTextModelWithProjection(text).eval(),
        tokenizer=small.tokenizer,
        tokenizer_2=small.tokenizer,
        unet=unet,
        scheduler=small.scheduler,
        add_watermarker=False,
    )
    path = tmp_path_factory.mktemp("xl") / "tiny-xl"
    pipeline.save_pretrained(path)
    return path


@pytest.mark.parametrize("task", ["text_to_image", "image_to_image", "inpaint"])
def test_bit_identity(folder, tmp_path, task):
    runtime = LocalRuntime(str(folder), "cpu", tmp_path)
    parameters = Parameters(
        prompt="moss", num_inference_steps=2, guidance_scale=5.0, scheduler="euler", seed=9
    )
    image = picture(SIDE, SIDE)
    selection = Pixels.mask(np.full((SIDE, SIDE), 255, np.uint8))
    request, more = {
        "text_to_image": (
            TextToImage(parameters=parameters, extent=Extent(SIDE, SIDE)),
            {"width": SIDE, "height": SIDE},
        ),
        "image_to_image": (
            ImageToImage(parameters=parameters, image="a", strength=0.5),
            {"image": image.array[None].astype(np.float32) / 255, "strength": 0.5},
        ),
        "inpaint": (
            Inpaint(parameters=parameters, image="a", selection="m", strength=0.5),
            {
                "image": image.array[None].astype(np.float32) / 255,
                "mask_image": torch.ones(1, 1, SIDE, SIDE),
                "strength": 0.5,
                "width": SIDE,
                "height": SIDE,
            },
        ),
    }[task]
    name = {"text_to_image": "", "image_to_image": "Img2Img", "inpaint": "Inpaint"}[task]
    stock = getattr(diffusers, f"StableDiffusionXL{name}Pipeline").from_pretrained(
        folder, add_watermarker=False
    )
    stock.set_progress_bar_config(disable=True)
    stock.scheduler = diffusers.EulerDiscreteScheduler.from_config(
        stock.scheduler.config, use_karras_sigmas=False
    )
    expected = stock(
        "moss",
        num_inference_steps=2,
        guidance_scale=5.0,
        generator=torch.Generator("cpu").manual_seed(9),
        output_type="np",
        **more,
    ).images[0]
    (output,) = runtime.run(request, {"a": image, "m": selection}, quiet)
    assert output.recipe["model_family"] == "stable_diffusion_xl"
    assert (output.pixels.array == (expected * 255).round().astype(np.uint8)).all()
