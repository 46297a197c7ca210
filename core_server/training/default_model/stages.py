"""The stages of a training command, each as long as it was given."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import torch
from diffusers import AutoencoderTiny

from core_server.training.default_model import autoencoder as ae
from core_server.training.default_model.checkpoint import (
    load_autoencoder,
    save_autoencoder,
    save_pipeline,
)
from core_server.training.default_model.decoder import train_decoder, with_light_decoder
from core_server.training.default_model.diffusion import Diffusion, DiffusionSettings
from core_server.training.default_model.few_step import (
    STEP_COUNTS,
    sample_few,
    save_adapter,
    train_few_step,
)
from core_server.training.default_model.judge import score, train_judge
from core_server.training.default_model.maps import MapsNetwork, measure_maps, train_maps
from core_server.training.default_model.maps_pool import make_maps_pool
from core_server.training.default_model.networks import (
    Padding,
    make_autoencoder,
    use_padding,
)
from core_server.training.default_model.pool import Latents, Pool, make_pool
from core_server.training.default_model.run import Run
from core_server.training.default_model.sheets import SHEET_PROMPTS, draw_pairs, draw_sheet
from core_server.training.default_model.vocabulary import FastTokenizer
from core_server.training.materials import (
    FAMILIES,
    FAMILY_NAMES,
    is_held_out,
)
from core_server.training.materials.colors import COLOR_NAMES

LIGHT = "light_decoder"


def render_pool(run: Run, count: int, size: int, seconds: float) -> Pool:
    """Fresh pictures with captions, other ones in every process."""
    began = time.monotonic()
    args = run.args
    pool = make_pool(
        count, tokenizer=run.tokenizer(), photos=args.photos, seed=run.seed + size,
        device=run.device, size=size, workers=args.workers, max_seconds=seconds,
        batch=min(128 if size <= 256 else 32, max(1, count // len(FAMILIES))),
    )  # fmt: skip
    run.log("pool", size=size, rendered=pool.rendered, photos=pool.photos,
            per_s=round(len(pool.pixels) / (time.monotonic() - began)))  # fmt: skip
    return pool


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


def encode_pool(run: Run, vae: AutoencoderTiny, pool: Pool, padding: Padding) -> Latents:
    """All latents of the pool as float16."""
    began = time.monotonic()
    large = pool.pixels.shape[-1] > 256
    parts = [
        ae.encode(vae, chunk, padding, 64 if large else 256).half()
        for chunk in pool.pixels.split(2048)  # type: ignore[no-untyped-call]  # torch
    ]
    values = torch.cat(parts)
    run.log("latents", per_s=round(len(values) / (time.monotonic() - began)),
            std=[round(v, 3) for v in values[:1024].float().std((0, 2, 3)).tolist()])  # fmt: skip
    return Latents(values, pool.ids, pool.photos)


def large_latents(run: Run, vae: AutoencoderTiny, padding: Padding) -> Latents | None:
    """Latents of pictures of twice the side: rendered now, or kept by an earlier command."""
    kept = run.work_file("large.pt")
    if run.args.large_pool:
        pool = render_pool(run, run.args.large_pool, 2 * run.args.size, run.args.pool_seconds)
        large = encode_pool(run, vae, pool, padding)
        if kept:
            large.save(kept)
        return large
    return Latents.load(kept, run.device) if kept and kept.exists() else None


@torch.no_grad()
def score_samples(
    run: Run, diffusion: Diffusion, vae: AutoencoderTiny, padding: Padding, pool: Pool
) -> None:
    """How often a small classifier sees the family and colour that the prompt asked for."""
    index = torch.randperm(pool.rendered, device=pool.pixels.device)[:12288]
    rebuilt = ae.decode(vae, ae.encode(vae, pool.pixels[index], padding), padding)
    with torch.enable_grad():
        judge = train_judge(
            pool.pixels[: pool.rendered], rebuilt, pool.labels, pool.labels[index],
            run.args.judge_seconds,
        )  # fmt: skip
    rng = random.Random(5)  # noqa: S311  not secret
    seen, unseen = [], []
    for i, name in enumerate(FAMILY_NAMES):
        colors = rng.sample(COLOR_NAMES, len(COLOR_NAMES))
        fresh = [c for c in colors if is_held_out(name, c)]
        seen += [(i, COLOR_NAMES.index(c)) for c in colors if c not in fresh][:3]
        unseen += [(i, COLOR_NAMES.index(c)) for c in fresh][:2]
    for title, pairs in (("seen pairs", seen), ("held-out pairs", unseen)):
        prompts = [f"{COLOR_NAMES[c]} {FAMILIES[FAMILY_NAMES[f]].words[0]}" for f, c in pairs]
        pictures = ae.decode(vae, diffusion.sample(prompts, size=run.args.size), padding)
        labels = torch.tensor(pairs, device=pictures.device)
        run.log(f"scores, {title}", count=len(pairs), **score(judge, pictures, labels))
    run.log("scores, reconstructions", **score(judge, rebuilt[:2048], pool.labels[index[:2048]]))


def load_diffusion(run: Run, tokenizer: Path) -> Diffusion:
    """UNet and text encoder: exactly where the last command stopped, from a folder, or new."""
    args = run.args
    diffusion = Diffusion(FastTokenizer(tokenizer), run.device, run.team)
    exact = args.work / "state.pt" if args.work else None
    if exact and exact.exists():
        diffusion.load_state(torch.load(exact, map_location=run.device, weights_only=True))
        run.log("resumed exactly", samples=diffusion.samples)
    elif args.resume and (args.resume / "unet" / "config.json").exists():
        diffusion.load(args.resume)
        history = json.loads((args.resume / "training.json").read_text("utf-8"))
        diffusion.samples = int(history.get("samples", 0))
        diffusion.steps = int(history.get("steps", 0))
        run.log("resumed weights", samples=diffusion.samples)
    if run.team.size > 1 and not (exact and exact.exists()) and not args.resume:
        for p in (*diffusion.parameters, *diffusion.averages):
            torch.distributed.broadcast(p.data, 0)
    return diffusion


def save_model(  # noqa: PLR0917
    run: Run,
    diffusion: Diffusion,
    vae: AutoencoderTiny,
    padding: Padding,
    tokenizer: Path,
    sheet: str,
) -> None:
    """The pipeline folder from the averaged weights, and a sheet drawn with them."""
    args = run.args
    began = time.monotonic()
    training = {
        "samples": diffusion.samples, "steps": diffusion.steps, "seed": args.seed,
        "last_peak_lr": args.peak_lr, "last_final_lr_share": args.final_lr_share,
        "latent_channels": vae.config.latent_channels,
        "guidance_scale": diffusion.guidance_scale,
    }  # fmt: skip
    save_pipeline(run.folder, vae=vae, unet=diffusion.unet_ema, text=diffusion.text_ema,
                  tokenizer=tokenizer, training=training)  # fmt: skip
    samples = diffusion.sample(SHEET_PROMPTS, size=args.size, steps=8)
    draw_sheet(ae.decode(vae, samples, padding), SHEET_PROMPTS, args.out / f"{sheet}.jpg")
    run.log("saved", sheet=sheet, took=round(time.monotonic() - began, 1))


def train_unet(  # noqa: PLR0917
    run: Run,
    diffusion: Diffusion,
    latents: Latents,
    large: Latents | None,
    vae: AutoencoderTiny,
    padding: Padding,
    tokenizer: Path,
) -> None:
    """UNet and text encoder on the pool's latents; saves the folder and sheets."""
    args = run.args
    compiled = run.device != "cpu" and not args.no_compile
    if run.compiler is not None:
        code = run.compiler.wait()
        run.log("compiler done", code=code)
    run.team.agree(0.0, run.device)
    if compiled:
        began = time.monotonic()
        diffusion.warm_up(args.batch, diffusion.predictor(True), args.size)
        if large is not None:
            diffusion.warm_up(max(1, args.batch // 4), diffusion.predictor(True), 2 * args.size)
        run.log("compiled", took=round(time.monotonic() - began, 1))
        if args.profile and run.team.leads:
            profile_steps(run, diffusion)
    seconds = args.unet_seconds
    if args.until:
        seconds = min(seconds, args.until - (time.monotonic() - run.began))
    seconds = run.team.agree(seconds, run.device)
    settings = DiffusionSettings(
        seconds=seconds, batch=args.batch, peak_lr=args.peak_lr,
        final_lr_share=args.final_lr_share, decay_share=args.decay_share,
        warmup_steps=args.warmup_steps, photo_share=args.photo_share,
        large_every=args.large_every if large is not None else 0,
    )  # fmt: skip

    def save(share: float) -> None:
        name = "end" if share == 1 else f"{round(share * 100):02d}"
        save_model(run, diffusion, vae, padding, tokenizer, f"sheet-{name}")

    diffusion.train(
        latents, settings, large=large, compiled=compiled, log=run.log, marks=args.marks,
        at_mark=save, max_steps=args.max_steps,
    )  # fmt: skip
    if run.team.leads:
        save(1)
        if args.work:
            torch.save(diffusion.state(), args.work / "state.pt")
        draw_variants(run, diffusion, vae, padding)


def profile_steps(run: Run, diffusion: Diffusion) -> None:
    """Where the device's time goes in the UNet's passes, as OUT/profile.txt."""
    kinds = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=kinds) as profile:
        for _ in range(3):
            diffusion.warm_up(run.args.batch, diffusion.predictor(True), run.args.size)
        torch.cuda.synchronize()
    table = profile.key_averages().table(sort_by="self_cuda_time_total", row_limit=40)
    (run.args.out / "profile.txt").write_text(table, "utf-8")


def draw_variants(run: Run, diffusion: Diffusion, vae: AutoencoderTiny, padding: Padding) -> None:
    """Sheets at twice the size and with zero padding."""
    args = run.args
    large = [SHEET_PROMPTS[i] for i in (0, 4, 9, 16, 34, 42)]
    pictures = ae.decode(vae, diffusion.sample(large, size=2 * args.size, steps=8), padding)
    draw_sheet(pictures, large, args.out / "sheet-double.jpg", across=3)
    zeros = diffusion.sample(SHEET_PROMPTS[:16], size=args.size, padding="zeros", steps=8)
    draw_sheet(ae.decode(vae, zeros, padding, "zeros"), SHEET_PROMPTS[:16],
               args.out / "sheet-zero-padding.jpg")  # fmt: skip


def train_adapter(
    run: Run, diffusion: Diffusion, latents: Latents, vae: AutoencoderTiny, padding: Padding
) -> None:
    """The few-step adapter, saved in OUT/default_model/few_step, and its sheets."""
    args = run.args
    settings = DiffusionSettings(
        seconds=args.few_step_seconds, batch=max(2, args.batch // 2), peak_lr=1e-3,
        final_lr_share=0.02, warmup_steps=50,
    )  # fmt: skip
    student = train_few_step(
        diffusion, latents, settings, guidance_scale=args.few_step_guidance, log=run.log,
        max_steps=args.max_steps,
    )  # fmt: skip
    save_adapter(student, run.folder / "few_step")
    for steps, order in ((STEP_COUNTS[0], 1), (4, 1), (STEP_COUNTS[0], 2)):
        few = sample_few(
            diffusion, student, SHEET_PROMPTS, steps=steps, size=args.size, order=order
        )
        draw_sheet(ae.decode(vae, few, padding), SHEET_PROMPTS,
                   args.out / f"sheet-few-{steps}-order-{order}.jpg")  # fmt: skip


def train_maps_network(run: Run) -> None:
    """The picture-to-maps network, resumed or new; saves it and a sheet of fresh renders."""
    began = time.monotonic()
    kept = run.folder / "maps"
    resumed = [f for f in (kept, run.args.resume and run.args.resume / "maps") if f and f.exists()]
    network = MapsNetwork.load(resumed[0]) if resumed else MapsNetwork()
    pool = make_maps_pool(
        run.args.maps_pool, seed=run.seed, device=run.device, size=run.args.size,
        seconds=0.3 * run.args.maps_seconds,
    )  # fmt: skip
    fresh = make_maps_pool(
        min(run.args.maps_pool, 8 * len(FAMILY_NAMES)), seed=991, device=run.device,
        size=run.args.size, batch=8,
    )  # fmt: skip
    run.log("maps pool", rendered=len(pool))
    train_maps(
        network, pool, seconds=run.args.maps_seconds - (time.monotonic() - began),
        device=run.device, log=run.log, peak_lr=run.args.maps_lr, max_steps=run.args.max_steps,
        compiled=run.device != "cpu" and not run.args.no_compile,
    )  # fmt: skip
    run.log("maps scores", **measure_maps(network, fresh))
    network.save(kept)
    index = torch.arange(0, len(fresh), max(1, len(fresh) // 16))
    with torch.no_grad():
        mine = network(fresh.images[index].float() / 255)
    for channel, title in ((slice(1, 4), "normal"), (slice(0, 1), "height")):
        truth = fresh.targets[index, channel].float()
        pictures = [(x.expand(-1, 3, -1, -1) * 255).byte() for x in (truth, mine[:, channel])]
        draw_pairs(pictures[0], pictures[1], run.args.out / f"maps-{title}.jpg")


def compile_only(run: Run) -> None:
    """Fill the compile cache; the training process then starts in seconds."""
    began = time.monotonic()
    diffusion = Diffusion(FastTokenizer(run.tokenizer()), run.device)
    diffusion.warm_up(run.args.batch, diffusion.predictor(True), run.args.size)
    run.log("compile process", size=run.args.size, took=round(time.monotonic() - began, 1))
