"""Train the embedded default model.

One command on one GPU (see docs/default-model.md for the recipe and its measurements):

    python -m core_server.training.train_default_model --out OUT --photos ambientcg128/ \\
        --autoencoder-seconds 240 --sharpness-seconds 60 --unet-seconds 1800 --final-lr-share 0.02

Several shorter commands do the same: each ends with the whole pipeline folder under OUT, and
`--resume FOLDER` starts from one. `--work DIR` keeps the exact optimiser state for the next
command on the same machine.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderTiny

from core_server.training.default_model import autoencoder as ae
from core_server.training.default_model.checkpoint import (
    load_autoencoder,
    save_autoencoder,
    save_pipeline,
)
from core_server.training.default_model.diffusion import Diffusion, DiffusionSettings
from core_server.training.default_model.distillation import distill_guidance
from core_server.training.default_model.judge import score, train_judge
from core_server.training.default_model.maps import MapsNetwork, target_of, train_maps
from core_server.training.default_model.networks import Padding, make_autoencoder, use_padding
from core_server.training.default_model.pool import Pool, make_pool
from core_server.training.default_model.sheets import SHEET_PROMPTS, draw_pairs, draw_sheet
from core_server.training.default_model.vocabulary import FastTokenizer, train_vocabulary
from core_server.training.materials import (
    FAMILIES,
    FAMILY_NAMES,
    is_held_out,
    render_materials,
    sample_params,
)
from core_server.training.materials.colors import COLOR_NAMES

Log = Callable[..., None]


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="where the pipeline folder and the log go")
    add("--resume", type=Path, help="a pipeline folder to go on from")
    add("--work", type=Path, help="machine-local folder for exact state and compile cache")
    add("--photos", type=Path, help="folder of CC0 material photographs (ambientCG thumbnails)")
    add("--pool", type=int, default=131072, help="rendered pictures")
    add("--pool-seconds", type=float, default=60, help="stop rendering after this long")
    add("--autoencoder-seconds", type=float, default=0)
    add("--sharpness-seconds", type=float, default=0)
    add("--unet-seconds", type=float, default=0)
    add("--distill-seconds", type=float, default=0, help="fold guidance into the UNet")
    add("--distill-guidance", type=float, default=2.5)
    add("--maps-seconds", type=float, default=0, help="train the picture-to-maps network")
    add("--until", type=float, default=0, help="seconds after the start at which training must end")
    add("--batch", type=int, default=256)
    add("--peak-lr", type=float, default=6e-4)
    add("--final-lr-share", type=float, default=1.0)
    add("--decay-share", type=float, default=0.3)
    add("--warmup-steps", type=int, default=300)
    add("--photo-share", type=float, default=0.1)
    add("--seed", type=int, default=0)
    add("--marks", type=float, nargs="*", default=[0.5])
    add("--max-steps", type=int)
    add("--size", type=int, default=256, help="picture side in pixels")
    add("--workers", type=int, default=10, help="caption processes; 0 writes them in this one")
    add("--judge-seconds", type=float, default=0, help="train a judge and score the samples")
    add("--compile-cache", type=Path, help="compile artefacts of an earlier command, if any")
    add("--no-compile", action="store_true")
    add("--compile-only", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


class Run:
    """One training command: its clock, log and folders."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.began = args, time.monotonic()
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.folder: Path = args.out / "default_model"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.compiler: subprocess.Popen[bytes] | None = None
        torch.manual_seed(args.seed)
        random.seed(args.seed)
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
        if args.work:
            args.work.mkdir(parents=True, exist_ok=True)

    def log(self, event: str, **values: object) -> None:
        """Print one line and append it to training.jsonl."""
        entry = {"seconds": round(time.monotonic() - self.began, 1), "event": event, **values}
        text = json.dumps(entry)
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
        with (self.args.out / "training.jsonl").open("a", encoding="utf-8") as file:
            file.write(text + "\n")

    def tokenizer(self) -> Path:
        """The folder of the tokenizer: the resumed one, or one trained now."""
        if self.args.resume and (self.args.resume / "tokenizer" / "vocab.json").exists():
            return Path(self.args.resume / "tokenizer")
        folder = self.folder / "tokenizer"
        if not (folder / "vocab.json").exists():
            train_vocabulary(folder)
        return folder

    def start_compiling(self) -> None:
        """Compile the UNet in a second process while this one renders and trains the autoencoder."""
        args = self.args
        if self.device == "cpu" or args.no_compile or not args.unet_seconds:
            return
        if args.compile_cache and args.compile_cache.exists():
            torch.compiler.load_cache_artifacts(args.compile_cache.read_bytes())
            self.log("compile cache loaded")
            return
        command = [
            sys.executable,
            "-m",
            "core_server.training.train_default_model",
            "--compile-only",
        ]
        command += ["--out", str(args.out), "--batch", str(args.batch)]
        if args.resume:
            command += ["--resume", str(args.resume)]
        self.compiler = subprocess.Popen(command, env=dict(os.environ))


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
    save_autoencoder(vae, run.folder)
    return vae, padding


def measure_autoencoder(
    run: Run, vae: AutoencoderTiny, pool: Pool, padding: Padding, stage: str
) -> None:
    """Log the peak signal-to-noise ratio of whole tiles and draw originals over reconstructions."""
    # One tile of each of 32 families, spread over the pool.
    index = torch.linspace(0, pool.rendered - 1, 256, device=pool.pixels.device).long()
    original = pool.pixels[index]
    rebuilt = ae.decode(vae, ae.encode(vae, original, padding), padding)
    error = ((original.float() - rebuilt.float()) / 255).pow(2).mean((1, 2, 3)).clamp(min=1e-6)
    run.log(f"psnr after {stage}", db=round(float((-10 * error.log10()).mean()), 2))
    draw_pairs(original[:256:8], rebuilt[:256:8], run.args.out / f"pairs-{stage}.jpg")


def encode_pool(run: Run, vae: AutoencoderTiny, pool: Pool, padding: Padding) -> torch.Tensor:
    """All latents of the pool as float16."""
    began = time.monotonic()
    parts = [ae.encode(vae, chunk, padding).half() for chunk in pool.pixels.split(2048)]  # type: ignore[no-untyped-call]  # torch
    latents = torch.cat(parts)
    run.log("latents", per_s=round(len(latents) / (time.monotonic() - began)),
            std=[round(v, 3) for v in latents[:4096].float().std((0, 2, 3)).tolist()])  # fmt: skip
    return latents


def score_samples(  # noqa: PLR0917
    run: Run,
    diffusion: Diffusion,
    vae: AutoencoderTiny,
    padding: Padding,
    pool: Pool,
    latents: torch.Tensor,
) -> None:
    """How often a small classifier sees the family and colour that the prompt asked for."""
    index = torch.randperm(pool.rendered, device=pool.pixels.device)[:12288]
    rebuilt = ae.decode(vae, latents[index].float(), padding)
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
    check = index[:2048]
    run.log("scores, reconstructions", **score(judge, rebuilt[:2048], pool.labels[check]))


def train_unet(
    run: Run, pool: Pool, vae: AutoencoderTiny, padding: Padding, tokenizer: Path
) -> None:
    """UNet and text encoder on the pool's latents; saves the folder and sheets."""
    args = run.args
    latents = encode_pool(run, vae, pool, padding)
    diffusion = Diffusion(FastTokenizer(tokenizer), run.device)
    history = {}
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
    compiled = run.device != "cpu" and not args.no_compile and bool(args.unet_seconds)
    if run.compiler is not None:
        code = run.compiler.wait()
        run.log("compiler done", code=code)
    if compiled:
        diffusion.warm_up(args.batch, diffusion.predictor(True))
        run.log("compiled")

    def save(sheet: str, folder: Path) -> None:
        began = time.monotonic()
        samples = diffusion.sample(SHEET_PROMPTS, size=args.size, steps=20)
        draw_sheet(ae.decode(vae, samples, padding), SHEET_PROMPTS, args.out / f"{sheet}.jpg")
        training = {
            "samples": diffusion.samples, "steps": diffusion.steps, "seed": args.seed,
            "last_peak_lr": args.peak_lr, "last_final_lr_share": args.final_lr_share,
            "latent_channels": vae.config.latent_channels,
            "guidance_scale": diffusion.guidance_scale,
        }  # fmt: skip
        save_pipeline(folder, vae=vae, unet=diffusion.unet_ema, text=diffusion.text_ema,
                      tokenizer=tokenizer, training=training)  # fmt: skip
        run.log("saved", sheet=sheet, took=round(time.monotonic() - began, 1))

    seconds = args.unet_seconds
    if args.until:
        seconds = min(seconds, args.until - (time.monotonic() - run.began))
    settings = DiffusionSettings(
        seconds=seconds, batch=args.batch, peak_lr=args.peak_lr,
        final_lr_share=args.final_lr_share, decay_share=args.decay_share,
        warmup_steps=args.warmup_steps, photo_share=args.photo_share,
    )  # fmt: skip
    diffusion.train(
        latents, pool, settings, compiled=compiled, log=run.log, marks=args.marks,
        at_mark=lambda share: save(f"sheet-{round(share * 100):02d}", run.folder), max_steps=args.max_steps,
    )  # fmt: skip
    save("sheet-end", run.folder)
    if exact:
        torch.save(diffusion.state(), exact)
    large = [SHEET_PROMPTS[i] for i in (0, 4, 9, 16, 34, 42)]
    pictures = ae.decode(vae, diffusion.sample(large, size=2 * args.size, steps=20), padding)
    draw_sheet(pictures, large, args.out / "sheet-double.jpg", across=3)
    few = ae.decode(vae, diffusion.sample(SHEET_PROMPTS, size=args.size, steps=8), padding)
    draw_sheet(few, SHEET_PROMPTS, args.out / "sheet-8-steps.jpg")
    zeros = diffusion.sample(SHEET_PROMPTS[:16], size=args.size, padding="zeros")
    draw_sheet(ae.decode(vae, zeros, padding, "zeros"), SHEET_PROMPTS[:16],
               args.out / "sheet-zero-padding.jpg")  # fmt: skip
    if args.distill_seconds:
        distill_guidance(
            diffusion,
            latents,
            pool,
            DiffusionSettings(seconds=args.distill_seconds, batch=args.batch, peak_lr=1e-4,
                              final_lr_share=0.1, warmup_steps=100),
            guidance_scale=args.distill_guidance,
            log=run.log,
            max_steps=args.max_steps,
        )  # fmt: skip
        diffusion.guidance_scale = 1.0
        save("sheet-distilled", args.out / "default_model_distilled")
    if args.judge_seconds:
        score_samples(run, diffusion, vae, padding, pool, latents)


def train_maps_network(run: Run) -> None:
    """The picture-to-maps network, resumed or new; saves it and a sheet of fresh renders."""
    resumed = run.args.resume / "maps" if run.args.resume else None
    network = MapsNetwork.load(resumed) if resumed and resumed.exists() else MapsNetwork()
    train_maps(
        network,
        seconds=run.args.maps_seconds,
        device=run.device,
        seed=run.args.seed,
        log=run.log,
        size=run.args.size,
    )
    network.save(run.folder / "maps")
    rng = random.Random(9)  # noqa: S311  not secret
    with torch.no_grad():
        for channel, title in ((slice(1, 4), "normal"), (slice(0, 1), "height")):
            truth, mine = [], []
            for name in FAMILY_NAMES[::5]:
                rendered = render_materials(
                    [sample_params(rng, name)], seed=1, size=run.args.size, device=run.device
                )
                truth.append(target_of(rendered)[:, channel])
                mine.append(network(rendered.image)[:, channel])
            pictures = [(torch.cat(x).expand(-1, 3, -1, -1) * 255).byte() for x in (truth, mine)]
            draw_pairs(pictures[0], pictures[1], run.args.out / f"maps-{title}.jpg")


def compile_only(run: Run) -> None:
    """Fill the compile cache; the training process then starts in seconds."""
    began = time.monotonic()
    diffusion = Diffusion(FastTokenizer(run.tokenizer()), run.device)
    diffusion.warm_up(run.args.batch, diffusion.predictor(True))
    if (artifacts := torch.compiler.save_cache_artifacts()) is not None:
        (run.args.out / "compile-cache.bin").write_bytes(artifacts[0])
    run.log("compile process", took=round(time.monotonic() - began, 1))


def train_pipeline(run: Run) -> None:
    """Render the pool, then the autoencoder, UNet and text encoder as long as each was given."""
    args = run.args
    tokenizer = run.tokenizer()
    run.start_compiling()
    began = time.monotonic()
    pool = make_pool(
        args.pool, tokenizer=tokenizer, photos=args.photos, seed=args.seed, device=run.device,
        size=args.size, workers=args.workers, max_seconds=args.pool_seconds,
        batch=min(128, max(1, args.pool // len(FAMILIES))),
    )  # fmt: skip
    run.log("pool", rendered=pool.rendered, photos=pool.photos,
            per_s=round(len(pool.pixels) / (time.monotonic() - began)))  # fmt: skip
    vae, padding = train_autoencoder(run, pool)
    if args.unet_seconds or args.distill_seconds:
        train_unet(run, pool, vae, padding, tokenizer)


def main(argv: list[str] | None = None) -> None:
    """Run the stages that were given time."""
    run = Run(arguments(argv))
    args = run.args
    if args.compile_only:
        compile_only(run)
        return
    run.log("start", torch=torch.__version__, device=run.device,
            name=torch.cuda.get_device_name() if run.device == "cuda" else "cpu")  # fmt: skip
    pictures = args.autoencoder_seconds or args.sharpness_seconds
    if pictures or args.unet_seconds or args.distill_seconds:
        train_pipeline(run)
    if args.maps_seconds:
        train_maps_network(run)
    if run.device == "cuda":
        run.log("end", peak_gib=round(torch.cuda.max_memory_allocated() / 2**30, 1))


if __name__ == "__main__":
    main()
