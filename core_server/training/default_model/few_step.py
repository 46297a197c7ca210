"""The few-step adapter: a LoRA that makes one pass a step, and few steps, give the guided picture.

Progressive distillation (Salimans & Ho 2022) of the classifier-free guided model (Meng et al.
2023): one deterministic step of the student must land where several guided steps of the teacher do.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

from core_server.training.default_model.diffusion import Diffusion, DiffusionSettings
from core_server.training.default_model.graphs import GraphedStep, bind_gradients
from core_server.training.default_model.networks import (
    LATENT_CHANNELS,
    LATENT_SCALE,
    TEXT_WIDTH,
    TOKENS,
    TRAIN_TIMESTEPS,
    Padding,
    alpha_bars,
    scheduler_config,
    use_padding,
)
from core_server.training.default_model.pool import Latents

Tensor = torch.Tensor
TARGETS = (
    "conv1", "conv2", "conv_shortcut", "time_emb_proj", "conv", "conv_in", "conv_out",
    "to_q", "to_k", "to_v", "to_out.0", "net.0.proj", "net.2", "proj_in", "proj_out",
)  # fmt: skip
STEP_COUNTS = (5, 5, 5, 5, 4, 6, 8)  # drawn from; the first is what the adapter is made for
SUBSTEPS = 4  # guided teacher steps for one of the student


@torch.no_grad()
def guided_target(  # noqa: PLR0917
    teacher: torch.nn.Module, x: Tensor, t: Tensor, words: Tensor, empty: Tensor, scale: float
) -> Tensor:
    """v of classifier-free guidance (Ho & Salimans 2022, eq. 6 with w = scale - 1): (B, C, h, w)."""
    both = teacher(
        torch.cat([x, x]), torch.cat([t, t]), torch.cat([empty, words]), return_dict=False
    )[0]
    free, led = both.float().chunk(2)
    guided: Tensor = free + scale * (led - free)
    return guided


def deterministic_step(
    x: Tensor, v: Tensor, now: tuple[Tensor, Tensor], then: tuple[Tensor, Tensor]
) -> Tensor:
    """DDIM without noise (Song et al. 2021, eq. 12) on a v prediction.

    `now`, `then`: signal and noise level (B, 1, 1, 1), squares adding up to 1.
    """
    clean, noise = now[0] * x - now[1] * v, now[0] * v + now[1] * x
    return then[0] * clean + then[1] * noise


def landing_v(
    x: Tensor, landed: Tensor, now: tuple[Tensor, Tensor], then: tuple[Tensor, Tensor]
) -> Tensor:
    """The v whose one deterministic step leads from `x` to `landed`."""
    keep = then[0] * now[0] + then[1] * now[1]
    turn = then[1] * now[0] - then[0] * now[1]
    return (landed - keep * x) / turn


def add_adapter(unet: UNet2DConditionModel, rank: int) -> list[Tensor]:
    """A fresh LoRA on every convolution and attention layer; returns what to train."""
    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(TARGETS)))
    return [p for p in unet.parameters() if p.requires_grad]


def save_adapter(unet: UNet2DConditionModel, folder: Path) -> None:
    """`pytorch_lora_weights.safetensors`, fp16, as `pipe.load_lora_weights(folder)` reads it."""
    weights = {
        k: v.detach().half().cpu().contiguous() for k, v in get_peft_model_state_dict(unet).items()
    }
    StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=weights)


def train_few_step(  # noqa: PLR0915  one loop, read top to bottom
    diffusion: Diffusion,
    latents: Latents,
    settings: DiffusionSettings,
    *,
    guidance_scale: float,
    log: Callable[..., None],
    rank: int = 6,
    max_steps: int | None = None,
) -> UNet2DConditionModel:
    """Train the adapter; returns a UNet that carries it (averaged weights). Text stays as it is."""
    device, n = diffusion.device, settings.batch
    kind = device.split(":", maxsplit=1)[0]
    padding = Padding("masked")
    teacher = copy.deepcopy(diffusion.unet_ema)
    use_padding(teacher, padding)
    if kind != "cpu":
        teacher.to(torch.bfloat16)
    # Rebuilt: peft makes its layers of the class it finds, and only plain convolutions will do.
    student: UNet2DConditionModel = UNet2DConditionModel.from_config(teacher.config)
    student.load_state_dict(diffusion.unet_ema.state_dict())
    student.to(device).to(memory_format=torch.channels_last)
    weights = add_adapter(student, rank)
    use_padding(student, padding)
    averaged = [p.detach().clone() for p in weights]
    bars = torch.cat([alpha_bars().float(), torch.ones(1)]).to(device)  # index -1: clean
    blank = torch.from_numpy(diffusion.tokenizer([""])).long().to(device)
    optimizer = torch.optim.AdamW(
        weights, lr=settings.peak_lr, betas=(0.9, 0.99), weight_decay=0.0, fused=kind != "cpu"
    )
    counts = torch.tensor(STEP_COUNTS, device=device)

    def levels(t: Tensor) -> tuple[Tensor, Tensor]:
        bar = bars[t].view(-1, 1, 1, 1)
        return bar.sqrt(), (1 - bar).sqrt()

    gradients = bind_gradients(weights)
    side = latents.values.shape[-1]
    clean = torch.zeros(n, LATENT_CHANNELS, side, side, device=device)
    clean = clean.to(memory_format=torch.channels_last)
    stops = torch.zeros(SUBSTEPS + 1, n, dtype=torch.long, device=device)
    wrapped = torch.ones(n, 1, 1, 1, device=device)
    words = torch.zeros(n, TOKENS, TEXT_WIDTH, device=device)
    empty = torch.zeros_like(words)

    def one_step() -> Tensor:
        torch._foreach_zero_(gradients)
        now, then = levels(stops[0]), levels(stops[-1])
        x = now[0] * clean + now[1] * torch.randn_like(clean)
        with torch.autocast(kind, torch.bfloat16, enabled=kind != "cpu", cache_enabled=False):
            with torch.no_grad():
                padding.mask = torch.cat([wrapped, wrapped])
                landed = x
                for j in range(SUBSTEPS):
                    v = guided_target(teacher, landed, stops[j], words, empty, guidance_scale)
                    landed = deterministic_step(landed, v, levels(stops[j]), levels(stops[j + 1]))
            padding.mask = wrapped
            out = student(x, stops[0], words, return_dict=False)[0]
        loss = (out.float() - landing_v(x, landed, now, then)).pow(2).mean()
        loss.backward()
        detached: Tensor = loss.detach()
        return detached

    run = GraphedStep(one_step, device, log, "few-step")
    began, step = time.monotonic(), 0
    total = torch.zeros((), device=device)
    while (done := (time.monotonic() - began) / settings.seconds) < 1 and step != max_steps:
        rate = settings.peak_lr * min(1.0, (step + 1) / settings.warmup_steps)
        optimizer.param_groups[0]["lr"] = rate * (1 - (1 - settings.final_lr_share) * done)
        index = latents.draw(n, settings.photo_share)
        clean.copy_(latents.values[index])
        which = torch.randint(latents.ids.shape[1], (n,), device=device)
        drop = torch.rand(n, 1, device=device) < settings.caption_drop
        ids = torch.where(drop, blank, latents.ids[index, which])
        length = TRAIN_TIMESTEPS / counts[torch.randint(len(counts), (n,), device=device)]
        leg = (torch.rand(n, device=device) * TRAIN_TIMESTEPS / length).floor()
        start = (
            TRAIN_TIMESTEPS - leg * length
        )  # trailing spacing: a step runs from here by `length`
        for j in range(SUBSTEPS + 1):
            stops[j] = (start - length * j / SUBSTEPS).round().long() - 1
        wrapped.copy_(
            (torch.rand(n, 1, 1, 1, device=device) >= settings.zero_padding_share).float()
        )
        with torch.no_grad(), torch.autocast(kind, torch.bfloat16, enabled=kind != "cpu"):
            words.copy_(diffusion.text_ema(ids).last_hidden_state)
            empty.copy_(diffusion.text_ema(blank).last_hidden_state.expand_as(words))
        loss = run()
        norm = torch.nn.utils.clip_grad_norm_(weights, 1.0)
        if bool(torch.isfinite(norm)):
            optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(averaged, weights, 1 - min(0.99, (1 + step) / (10 + step)))
        step += 1
        total += loss
        if step % 50 == 0:
            log("few-step", step=step, loss=round(float(total) / 50, 5), samples=step * n)
            total.zero_()
    with torch.no_grad():
        torch._foreach_copy_(weights, averaged)
    log("few-step end", step=step, guidance_scale=guidance_scale, rank=rank,
        parameters=sum(p.numel() for p in weights))  # fmt: skip
    padding.mode = "wrapped"
    return student.eval()


@torch.no_grad()
def sample_few(
    diffusion: Diffusion,
    student: UNet2DConditionModel,
    prompts: Sequence[str],
    *,
    steps: int = 5,
    size: int = 256,
    seed: int = 0,
    order: int = 1,
) -> Tensor:
    """Latents (n, 8, size/8, size/8): one pass a step; `order` of DPM-Solver++, 1 is DDIM."""
    device = diffusion.device
    kind = device.split(":", maxsplit=1)[0]
    side = size // LATENT_SCALE
    generator = torch.Generator(device).manual_seed(seed)
    x = torch.randn(len(prompts), LATENT_CHANNELS, side, side, generator=generator, device=device)
    scheduler = DPMSolverMultistepScheduler(**scheduler_config(), solver_order=order)
    scheduler.set_timesteps(steps, device=device)
    ids = torch.from_numpy(diffusion.tokenizer(list(prompts))).long().to(device)
    with torch.autocast(kind, torch.bfloat16, enabled=kind != "cpu"):
        words = diffusion.text_ema(ids).last_hidden_state
        for t in scheduler.timesteps:
            v = student(x, t, words, return_dict=False)[0].float()
            x = scheduler.step(v, t, x, return_dict=False)[0]
    return x
