"""Guidance folded into the UNet: the same picture without the second, unconditional pass."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

import torch

from core_server.training.default_model.diffusion import Diffusion, DiffusionSettings
from core_server.training.default_model.networks import TRAIN_TIMESTEPS, alpha_bars, use_padding
from core_server.training.default_model.pool import Pool

Tensor = torch.Tensor


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


def distill_guidance(
    diffusion: Diffusion,
    latents: Tensor,
    pool: Pool,
    settings: DiffusionSettings,
    *,
    guidance_scale: float,
    log: Callable[..., None],
    max_steps: int | None = None,
) -> None:
    """Train the UNet to predict its own guided v (Meng et al. 2023, stage one, one fixed scale).

    The teacher is the average the run starts from; the text encoder stays as it is. An empty
    caption keeps its unguided prediction. Afterwards sample with a guidance scale of 1.
    """
    device, n = diffusion.device, settings.batch
    kind = device.split(":", maxsplit=1)[0]
    teacher = copy.deepcopy(diffusion.unet_ema)
    use_padding(teacher, diffusion.padding)
    diffusion.unet.load_state_dict(diffusion.unet_ema.state_dict())
    diffusion.text.load_state_dict(diffusion.text_ema.state_dict())
    bars = alpha_bars().float().to(device)
    signal, noise_level = bars.sqrt(), (1 - bars).sqrt()
    blank = torch.from_numpy(diffusion.tokenizer([""])).long().to(device)
    diffusion.padding.mask = torch.ones(2 * n, 1, 1, 1, device=device)
    both_masks = diffusion.padding.mask
    student = list(diffusion.unet.parameters())
    optimizer = torch.optim.AdamW(student, lr=settings.peak_lr, betas=(0.9, 0.99), weight_decay=0.0)
    began, step, total = time.monotonic(), 0, 0.0
    while (done := (time.monotonic() - began) / settings.seconds) < 1 and step != max_steps:
        rate = settings.peak_lr * min(1.0, (step + 1) / settings.warmup_steps)
        optimizer.param_groups[0]["lr"] = rate * (1 - (1 - settings.final_lr_share) * done)
        index = pool.draw(n, settings.photo_share)
        clean = latents[index].float().contiguous(memory_format=torch.channels_last)
        which = torch.randint(pool.ids.shape[1], (n,), device=device)
        drop = torch.rand(n, 1, device=device) < settings.caption_drop
        ids = torch.where(drop, blank, pool.ids[index, which])
        t = torch.randint(TRAIN_TIMESTEPS, (n,), device=device)
        a, s = signal[t].view(-1, 1, 1, 1), noise_level[t].view(-1, 1, 1, 1)
        x = a * clean + s * torch.randn_like(clean)
        wrapped = (torch.rand(n, 1, 1, 1, device=device) >= settings.zero_padding_share).float()
        with torch.autocast(kind, torch.bfloat16, enabled=kind != "cpu"):
            with torch.no_grad():
                words = diffusion.text(ids).last_hidden_state
                empty = diffusion.text(blank).last_hidden_state.expand_as(words)
            both_masks.copy_(torch.cat([wrapped, wrapped]))
            diffusion.padding.mask = both_masks
            target = guided_target(teacher, x, t, words, empty, guidance_scale)
            diffusion.padding.mask = wrapped
            out = diffusion.unet(x, t, words, return_dict=False)[0]
        loss = (out.float() - target).pow(2).mean()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(student, 1.0)
        if bool(torch.isfinite(norm)):
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        keep = min(0.999, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(diffusion.unet_ema.parameters()), student, 1 - keep)
        step, total = step + 1, total + float(loss.detach())
        if step % 100 == 0:
            log("distillation", step=step, loss=round(total / 100, 5), samples=step * n)
            total = 0.0
    log("distillation end", step=step, guidance_scale=guidance_scale)
