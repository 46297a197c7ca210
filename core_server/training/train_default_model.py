"""Entry of the default model's training: `python -m core_server.training.train_default_model -h`."""

from __future__ import annotations

import torch

from core_server.training.default_model.autoencoder_stages import (
    train_autoencoder,
    train_light_decoder,
)
from core_server.training.default_model.maps_stage import train_maps_network
from core_server.training.default_model.pool import Latents
from core_server.training.default_model.run import Run, arguments
from core_server.training.default_model.stages import (
    compile_only,
    encode_pool,
    large_latents,
    load_diffusion,
    render_pool,
    score_samples,
    train_adapter,
    train_unet,
)
from core_server.training.default_model.team import join_team


def train_pipeline(run: Run) -> None:
    """Render the pool, then every stage that needs it, as long as each was given.

    With several processes the first trains the decoder and the last the maps network while the
    UNet compiles; then all train the UNet.
    """
    args, team = run.args, run.team
    tokenizer = run.tokenizer()
    run.start_compiling()
    pool = render_pool(run, args.pool, args.size, args.pool_seconds)
    vae, padding = train_autoencoder(run, pool)
    if not (args.unet_seconds or args.few_step_seconds or args.decoder_seconds):
        return
    latents = encode_pool(run, vae, pool, padding)
    large = large_latents(run, vae, padding) if args.unet_seconds else None
    if args.decoder_seconds and team.leads:
        train_light_decoder(run, vae, padding, pool, latents)
    if args.maps_seconds and team.size > 1 and team.rank == team.size - 1:
        train_maps_network(run)
    if args.unet_seconds or args.few_step_seconds or args.judge_seconds:
        kept = run.work_file("latents.pt")
        if kept and kept.exists():
            latents = latents.after(Latents.load(kept, run.device))
        elif kept:
            latents.save(kept)
        diffusion = load_diffusion(run, tokenizer)
        if args.unet_seconds:
            train_unet(run, diffusion, latents, large, vae, padding, tokenizer)
        if args.few_step_seconds and team.leads:
            train_adapter(run, diffusion, latents, vae, padding)
        if args.judge_seconds and team.leads:
            score_samples(run, diffusion, vae, padding, pool)


def main(argv: list[str] | None = None) -> None:
    """Run the stages that were given time."""
    args = arguments(argv)
    run = Run(args, join_team())
    if args.compile_only:
        compile_only(run)
        return
    run.log("start", torch=torch.__version__, device=run.device, processes=run.team.size,
            name=torch.cuda.get_device_name() if run.device == "cuda" else "cpu")  # fmt: skip
    run.team.agree(0.0, run.device)  # a team that cannot talk fails here, not minutes later
    pictures = (
        args.autoencoder_seconds, args.sharpness_seconds, args.decoder_seconds, args.unet_seconds,
        args.few_step_seconds, args.judge_seconds,
    )  # fmt: skip
    if any(pictures):
        train_pipeline(run)
    if args.maps_seconds and run.team.size == 1:
        train_maps_network(run)
    if run.device == "cuda":
        run.log("end", peak_gib=round(torch.cuda.max_memory_allocated() / 2**30, 1))
    if run.team.size > 1:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
