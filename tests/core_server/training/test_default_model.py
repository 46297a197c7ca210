"""Training the default model at toy size, and the committed weights themselves."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from PIL import Image
from safetensors import safe_open
from transformers import CLIPTokenizer

from core_server.training import train_default_model
from core_server.training.default_model.checkpoint import save_pipeline
from core_server.training.default_model.diffusion import Diffusion, DiffusionSettings
from core_server.training.default_model.networks import (
    LATENT_CHANNELS,
    Padding,
    WrapConv2d,
    alpha_bars,
    make_autoencoder,
    use_padding,
)
from core_server.training.default_model.pool import Latents, make_pool
from core_server.training.default_model.vocabulary import FastTokenizer

FOLDER = Path(train_default_model.__file__).parents[1] / "models" / "default_model"
LIMIT_BYTES = 50_000_000
SHARD_BYTES = 16_000_000


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    loaded = StableDiffusionPipeline.from_pretrained(FOLDER)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def test_committed_folder_loads_in_one_dtype_and_draws(pipeline: StableDiffusionPipeline) -> None:
    parts = (pipeline.unet, pipeline.text_encoder, pipeline.vae)
    assert {part.dtype for part in parts} == {torch.float32}
    assert pipeline.vae_scale_factor == 8
    picture = pipeline(
        "red bricks", num_inference_steps=2, height=128, width=128, output_type="np",
        generator=torch.manual_seed(0),
    ).images[0]  # fmt: skip
    assert picture.shape == (128, 128, 3)
    assert np.isfinite(picture).all()
    assert picture.std() > 0.02
    assert picture[..., 0].mean() > picture[..., 2].mean() + 0.1


def test_committed_folder_goes_through_img2img(pipeline: StableDiffusionPipeline) -> None:
    from_picture = StableDiffusionImg2ImgPipeline(
        **pipeline.components, requires_safety_checker=False
    )
    from_picture.set_progress_bar_config(disable=True)
    start = Image.new("RGB", (64, 64), (200, 30, 30))
    picture = from_picture(
        "red bricks", image=start, strength=0.6, num_inference_steps=4, output_type="np",
        generator=torch.manual_seed(0),
    ).images[0]  # fmt: skip
    assert picture.shape == (64, 64, 3)
    assert np.isfinite(picture).all()


def test_committed_weights_are_fp16_and_small() -> None:
    shards = list(FOLDER.rglob("*.safetensors"))
    assert shards
    assert all(path.stat().st_size < SHARD_BYTES for path in shards)
    assert sum(p.stat().st_size for p in FOLDER.rglob("*") if p.is_file()) < LIMIT_BYTES
    for path in shards:
        with safe_open(path, "pt") as file:
            kinds = {file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118
        assert kinds <= {"F16", "I64", "I8"}, path


@pytest.mark.parametrize(
    "text", ["teal hexagon tiles", "žluťoučký kůň", "砖墙 texture", "emoji 🧱!", "naïve café", ""]
)
def test_unknown_letters_are_spelled_not_ended(text: str) -> None:
    tokenizer = CLIPTokenizer.from_pretrained(FOLDER / "tokenizer")
    ids = tokenizer(text, truncation=True).input_ids
    assert ids.count(tokenizer.eos_token_id) == 1
    assert ids[-1] == tokenizer.eos_token_id
    fast = FastTokenizer(FOLDER / "tokenizer")([text])[0].tolist()
    assert fast[: len(ids)] == ids
    decoded = tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "")
    assert decoded == text.lower().replace(" ", "")


def test_schedule_ends_in_almost_pure_noise() -> None:
    bars = alpha_bars()
    assert bars[-1] == pytest.approx(6.1e-5, rel=0.01)
    assert (bars[1:] < bars[:-1]).all()
    config = json.loads((FOLDER / "scheduler" / "scheduler_config.json").read_text("utf-8"))
    product = torch.cumprod(1 - torch.tensor(config["trained_betas"]).double(), 0)
    assert float(product[-1]) == pytest.approx(float(bars[-1]), rel=0.02)


def test_wrapped_autoencoder_and_unet_commute_with_rolling(
    pipeline: StableDiffusionPipeline,
) -> None:
    vae = pipeline.vae
    padding = use_padding(vae, Padding("wrapped"))
    try:
        picture = torch.rand(1, 3, 64, 64) * 2 - 1
        with torch.no_grad():
            latents = vae.encoder(picture)
            rolled = vae.encoder(picture.roll((16, 8), (2, 3)))
            assert torch.allclose(rolled, latents.roll((2, 1), (2, 3)), atol=1e-4)
            decoded = vae.decoder(latents.roll((2, 1), (2, 3)))
            again = vae.decoder(latents).roll((16, 8), (2, 3))
        assert torch.allclose(decoded, again, atol=1e-3)
    finally:
        padding.mode = "zeros"


def test_training_step_save_and_resume(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokenizer = FOLDER / "tokenizer"
    pool = make_pool(
        8, tokenizer=tokenizer, photos=None, seed=0, device="cpu", size=32, batch=4, workers=0,
        max_seconds=0,
    )  # fmt: skip
    assert pool.pixels.dtype == torch.uint8
    assert pool.ids.shape == (len(pool.pixels), 4, 32)
    latents = Latents(torch.randn(len(pool.pixels), LATENT_CHANNELS, 4, 4).half(), pool.ids, 0)
    large = Latents(torch.randn(len(pool.pixels), LATENT_CHANNELS, 8, 8).half(), pool.ids, 0)
    diffusion = Diffusion(FastTokenizer(tokenizer), "cpu")
    before = [p.detach().clone() for p in diffusion.parameters]
    settings = DiffusionSettings(seconds=60, batch=4, warmup_steps=1, large_every=2)

    def quiet(event: str, **values: object) -> None: ...

    diffusion.train(
        latents, settings, large=large, compiled=False, log=quiet, at_mark=lambda share: None,
        marks=(), max_steps=2,
    )  # fmt: skip
    assert any(not torch.equal(a, b) for a, b in zip(before, diffusion.parameters, strict=True))
    assert all(torch.isfinite(p).all() for p in diffusion.averages)
    vae = make_autoencoder()
    save_pipeline(
        tmp_path / "model", vae=vae, unet=diffusion.unet_ema, text=diffusion.text_ema,
        tokenizer=tokenizer, training={"samples": diffusion.samples},
    )  # fmt: skip
    resumed = Diffusion(FastTokenizer(tokenizer), "cpu")
    resumed.load(tmp_path / "model")
    for mine, theirs in zip(resumed.parameters, diffusion.averages, strict=True):
        assert torch.allclose(mine, theirs, atol=2e-3)
    exact = Diffusion(FastTokenizer(tokenizer), "cpu")
    exact.load_state(diffusion.state())
    assert exact.samples == diffusion.samples == 5  # one large picture, then four


def test_a_step_that_is_not_finite_changes_nothing() -> None:
    diffusion = Diffusion(FastTokenizer(FOLDER / "tokenizer"), "cpu")
    before = [p.detach().clone() for p in diffusion.parameters]
    diffusion.gradients.fill_(float("nan"))
    assert float(diffusion._step()) == 1.0
    assert not diffusion.gradients.any()
    assert all(torch.equal(a, b) for a, b in zip(before, diffusion.parameters, strict=True))


def test_masked_padding_mixes_wrapping_and_zeros() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 3, padding=1))
    padding = use_padding(network, Padding("masked"))
    assert isinstance(network[0], WrapConv2d)
    x = torch.rand(1, 1, 8, 8).expand(2, 1, 8, 8)
    padding.mask = torch.tensor([1.0, 0.0]).view(2, 1, 1, 1)
    mixed = network(x)
    padding.mode = "wrapped"
    assert torch.allclose(mixed[0], network(x)[0], atol=1e-6)
    padding.mode = "zeros"
    assert torch.allclose(mixed[1], network(x)[1], atol=1e-6)
