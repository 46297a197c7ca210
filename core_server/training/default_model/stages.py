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
    save_pipeline,
)
from core_server.training.default_model.diffusion import Diffusion, DiffusionSettings
from core_server.training.default_model.few_step import (
    STEP_COUNTS,
    sample_few,
    save_adapter,
    train_few_step,
)
from core_server.training.default_model.judge import score, train_judge
from core_server.training.default_model.networks import (
    Padding,
)
from core_server.training.default_model.pool import Latents, Pool, make_pool
from core_server.training.default_model.run import Run
from core_server.training.default_model.sheets import SHEET_PROMPTS, draw_sheet
from core_server.training.default_model.vocabulary import FastTokenizer
from core_server.training.materials import (
    FAMILIES,
    FAMILY_NAMES,
    is_held_out,
)
from core_server.training.materials.colors import COLOR_NAMES


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


def compile_only(run: Run) -> None:
    """Fill the compile cache; the training process then starts in seconds."""
    began = time.monotonic()
    diffusion = Diffusion(FastTokenizer(run.tokenizer()), run.device)
    diffusion.warm_up(run.args.batch, diffusion.predictor(True), run.args.size)
    run.log("compile process", size=run.args.size, took=round(time.monotonic() - began, 1))
