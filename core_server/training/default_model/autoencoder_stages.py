"""The stages of a training command that are about the autoencoder."""

from __future__ import annotations

import torch
from diffusers import AutoencoderTiny

from core_server.training.default_model import autoencoder as ae
from core_server.training.default_model.checkpoint import load_autoencoder, save_autoencoder
from core_server.training.default_model.decoder import train_decoder, with_light_decoder
from core_server.training.default_model.networks import Padding, make_autoencoder, use_padding
from core_server.training.default_model.pool import Latents, Pool
from core_server.training.default_model.run import Run
from core_server.training.default_model.sheets import draw_pairs

LIGHT = "light_decoder"


def train_autoencoder(run: Run, pool: Pool) -> tuple[AutoencoderTiny, Padding]:
    """The autoencoder, resumed or new, trained as long as asked and saved."""
    args = run.args
    resumed = bool(args.resume and (args.resume / "vae" / "config.json").exists())
    if resumed:
        vae = load_autoencoder(args.resume, run.device)
    else:
        vae = make_autoencoder().to(run.device).to(memory_format=torch.channels_last)
    padding = use_padding(vae, Padding("zeros"))
    seconds = args.autoencoder_seconds
    if seconds:
        if not resumed:
            ae.train_reconstruction(vae, pool, seconds=0.75 * seconds, log=run.log)
            spread = ae.normalise_latents(vae, pool, padding)
            run.log("latents normalised", largest_mean=spread[0], deviation_ratio=spread[1])
            seconds *= 0.25
        ae.train_reconstruction(vae, pool, seconds=seconds, log=run.log, peak_lr=4e-4, resumed=True)
        measure_autoencoder(run, vae, pool, padding, "reconstruction")
    if args.sharpness_seconds:
        ae.train_sharpness(vae, pool, seconds=args.sharpness_seconds, log=run.log)
        measure_autoencoder(run, vae, pool, padding, "sharpness")
    vae.requires_grad_(False)
    if run.team.leads:
        save_autoencoder(vae, run.folder)
    return vae, padding


@torch.no_grad()
def measure_autoencoder(
    run: Run, vae: AutoencoderTiny, pool: Pool, padding: Padding, stage: str
) -> float:
    """Peak signal-to-noise ratio of whole tiles in dB; draws originals over reconstructions."""
    # One tile of each of 32 families, spread over the pool.
    index = torch.linspace(0, pool.rendered - 1, 256, device=pool.pixels.device).long()
    original = pool.pixels[index]
    rebuilt = ae.decode(vae, ae.encode(vae, original, padding), padding)
    error = ((original.float() - rebuilt.float()) / 255).pow(2).mean((1, 2, 3)).clamp(min=1e-6)
    db = round(float((-10 * error.log10()).mean()), 2)
    run.log(f"psnr, {stage}", db=db)
    draw_pairs(
        original[:256:8], rebuilt[:256:8], run.args.out / f"pairs-{stage.replace(' ', '-')}.jpg"
    )
    return db


def train_light_decoder(
    run: Run, vae: AutoencoderTiny, padding: Padding, pool: Pool, latents: Latents
) -> None:
    """The lighter decoder, resumed from OUT or new; saved as OUT/light_decoder/vae."""
    kept = run.args.out / LIGHT
    if (kept / "vae" / "config.json").exists():
        light, rate = load_autoencoder(kept, run.device), 6e-4
        light.encoder.requires_grad_(False)
    else:
        light, rate = with_light_decoder(vae), 1e-3
    mine = use_padding(light, Padding("zeros"))
    train_decoder(light, mine, pool, latents, seconds=run.args.decoder_seconds, log=run.log,
                  peak_lr=rate, max_steps=run.args.max_steps)  # fmt: skip
    save_autoencoder(light, kept)
    measure_autoencoder(run, vae, pool, padding, "decoder before")
    measure_autoencoder(run, light, pool, mine, "light decoder")
