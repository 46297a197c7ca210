"""A lighter decoder for the same latents: decoding is most of the time a CPU needs at 512 px."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable

import torch
from diffusers import AutoencoderTiny

from core_server.training.default_model.autoencoder import TextureLoss, guarded_step
from core_server.training.default_model.networks import LATENT_SCALE, Padding
from core_server.training.default_model.pool import Latents, Pool

#: 48 instead of 64 channels and no block at full size: a third of the arithmetic of the first one
LIGHT_CHANNELS = (48, 48, 48, 48)
LIGHT_BLOCKS = (8, 8, 2, 0)


def with_light_decoder(vae: AutoencoderTiny) -> AutoencoderTiny:
    """The same encoder with a new, untrained decoder."""
    config = {k: v for k, v in vae.config.items() if k != "block_out_channels"}
    config.update(decoder_block_out_channels=LIGHT_CHANNELS, num_decoder_blocks=LIGHT_BLOCKS)
    light: AutoencoderTiny = AutoencoderTiny.from_config(config)
    light.encoder.load_state_dict(vae.encoder.state_dict())
    light.encoder.requires_grad_(False)
    device = next(vae.parameters()).device
    return light.to(device).to(memory_format=torch.channels_last)


def train_decoder(
    vae: AutoencoderTiny,
    padding: Padding,
    pool: Pool,
    latents: Latents,
    *,
    seconds: float,
    log: Callable[..., None],
    batch: int = 24,
    peak_lr: float = 1e-3,
    max_steps: int | None = None,
) -> None:
    """Train `vae.decoder` alone on pictures and their latents; ends with the averaged weights.

    Half of the steps take whole tiles that wrap, half crops padded with zeros. Latents carry a
    little noise, so that the decoder forgives what the diffusion model leaves.
    """
    device = pool.pixels.device
    loss_of = TextureLoss(str(device))
    decoder = vae.decoder
    averaged = copy.deepcopy(decoder)
    parameters = list(decoder.parameters())
    optimizer = torch.optim.AdamW(
        parameters, lr=peak_lr, betas=(0.9, 0.99), weight_decay=1e-4, fused=device.type != "cpu"
    )
    before = padding.mode
    side = latents.values.shape[-1]
    began, step = time.monotonic(), 0
    sums = torch.zeros(3, device=device)
    while (done := (time.monotonic() - began) / seconds) < 1 and step != max_steps:
        rate = peak_lr * min(1, (step + 1) / 200) * (0.02 + 0.49 * (1 + math.cos(math.pi * done)))
        optimizer.param_groups[0]["lr"] = rate
        index = pool.draw(batch, 0.12)
        z, x = latents.values[index].float(), pool.pixels[index]
        dy, dx = (int(v) for v in torch.randint(side, (2,)))
        z = z.roll((dy, dx), (2, 3))
        x = x.roll((dy * LATENT_SCALE, dx * LATENT_SCALE), (2, 3))
        padding.mode = "wrapped" if step % 2 else "zeros"
        if padding.mode == "zeros":
            kept = side - side // 4
            z, x = z[..., :kept, :kept], x[..., : kept * LATENT_SCALE, : kept * LATENT_SCALE]
        z = z.contiguous(memory_format=torch.channels_last)
        target = (x.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type != "cpu"):
            y = decoder(z + 0.05 * torch.randn_like(z))
        error, edges, grain = loss_of(y, target)
        loss = error + 0.5 * edges + 0.1 * grain
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch
        guarded_step(optimizer, parameters, loss)
        with torch.no_grad():
            keep = min(0.998, (1 + step) / (10 + step))
            torch._foreach_lerp_(list(averaged.parameters()), parameters, 1 - keep)
        step += 1
        sums += torch.stack([error, edges, grain]).detach()
        if step % 250 == 0:
            means = [round(v, 4) for v in (sums / 250).tolist()]
            sums.zero_()
            log("decoder", step=step, error=means[0], edges=means[1], grain=means[2],
                tiles_per_s=round(step * batch / (time.monotonic() - began)))  # fmt: skip
    decoder.load_state_dict(averaged.state_dict())
    padding.mode = before
    log("decoder end", step=step, tiles=step * batch)
