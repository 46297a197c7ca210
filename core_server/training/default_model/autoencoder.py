"""Training of the autoencoder: reconstruction, then a decoder sharpened by a discriminator."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable

import torch
from diffusers import AutoencoderTiny
from torch import nn
from torch.nn import functional as F  # noqa: N812

from core_server.training.default_model.networks import Padding
from core_server.training.default_model.pool import Pool

Tensor = torch.Tensor
Log = Callable[..., None]


class TextureLoss:
    """Absolute error, edges, and the local energy of fixed random filters at three scales.

    The last term asks for the right amount of grain even where its phase is lost; it needs no
    network trained on other people's pictures.
    """

    def __init__(self, device: str) -> None:
        generator = torch.Generator().manual_seed(1)
        bank = torch.randn(48, 3, 7, 7, generator=generator)
        ramp = torch.arange(7) - 3.0
        width = torch.linspace(0.8, 2.2, 48).view(-1, 1, 1)
        window = torch.exp(-(ramp[None] ** 2 + ramp[:, None] ** 2) / (2 * width**2))
        bank = bank * window[:, None]
        bank[24:] = bank[24:].mean(1, keepdim=True)
        bank = bank - bank.mean((1, 2, 3), keepdim=True)
        self.bank = (bank / bank.flatten(1).norm(dim=1).view(-1, 1, 1, 1)).to(device)

    def __call__(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures (B, 3, H, W) in [-1, 1] -> absolute error, edge error, grain error."""
        y, x = output.float(), target
        error = (y - x).abs().mean()
        edges = (y.diff(dim=3) - x.diff(dim=3)).abs().mean()
        edges = edges + (y.diff(dim=2) - x.diff(dim=2)).abs().mean()
        grain = torch.zeros((), device=x.device)
        for scale in range(3):
            with torch.autocast(x.device.type, torch.bfloat16):
                energy = F.conv2d(torch.cat([y, x]), self.bank).abs()
            energy = energy.float()
            window = min(12, energy.shape[-1])
            energy = F.avg_pool2d(energy, window, max(1, window // 2))
            mine, wanted = energy.chunk(2)
            grain = grain + ((mine - wanted).abs() / (wanted + 0.05)).mean()
            if scale < 2:
                y, x = F.avg_pool2d(y, 2), F.avg_pool2d(x, 2)
        return error, edges, grain / 3


def _crops(pool: Pool, count: int, side: int) -> Tensor:
    """Random crops of wrapped tiles as (count, 3, side, side) in [-1, 1]."""
    size = pool.pixels.shape[-1]
    tiles = pool.pixels[pool.draw(count, 0.12)]
    dy, dx = (int(v) for v in torch.randint(size, (2,)))
    tiles = torch.roll(tiles, (dy, dx), (2, 3))[:, :, :side, :side]
    return (tiles.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def train_reconstruction(
    vae: AutoencoderTiny,
    pool: Pool,
    *,
    seconds: float,
    log: Log,
    batch: int = 48,
    side: int = 128,
    peak_lr: float = 1e-3,
    resumed: bool = False,
) -> None:
    """Encoder and decoder together; latents carry a little noise, so the decoder forgives it."""
    device = str(pool.pixels.device)
    loss_of = TextureLoss(device)
    parameters = list(vae.parameters())
    optimizer = torch.optim.AdamW(
        parameters, lr=peak_lr, betas=(0.9, 0.99), weight_decay=1e-4, fused=device != "cpu"
    )
    began, step = time.monotonic(), 0
    sums = torch.zeros(4, device=device)
    while (done := (time.monotonic() - began) / seconds) < 1:
        rate = peak_lr * min(1, (step + 1) / 200) * (0.02 + 0.49 * (1 + math.cos(math.pi * done)))
        optimizer.param_groups[0]["lr"] = rate
        x = _crops(pool, batch, side)
        with torch.autocast(pool.pixels.device.type, torch.bfloat16):
            z = vae.encoder(x)
            y = vae.decoder(z + 0.05 * torch.randn_like(z))
        error, edges, grain = loss_of(y, x)
        power = z.float().pow(2).mean()
        pull = (z.float().mean((0, 2, 3)) ** 2).mean() if resumed else 0.1 * power
        loss = error + 0.5 * edges + 0.1 * grain + 5e-3 * pull
        optimizer.zero_grad()
        loss.backward()
        guarded_step(optimizer, parameters, loss)
        step += 1
        sums += torch.stack([error, edges, grain, power]).detach()
        if step % 500 == 0:
            means = [round(v, 4) for v in (sums / 500).tolist()]
            sums.zero_()
            log("autoencoder", step=step, crops_per_s=step * batch / (time.monotonic() - began),
                error=means[0], edges=means[1], grain=means[2], power=means[3])  # fmt: skip
    log("autoencoder end", step=step, crops=step * batch)


def guarded_step(
    optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], loss: Tensor
) -> None:
    """Clip and step; a batch whose gradient is not finite changes nothing."""
    norm = nn.utils.clip_grad_norm_(parameters, 1.0)
    finite = torch.isfinite(norm) & torch.isfinite(loss.detach())
    for p in parameters:
        if p.grad is not None:
            torch.nan_to_num_(p.grad, 0.0, 0.0, 0.0).mul_(finite)
    optimizer.step()


@torch.no_grad()
def normalise_latents(vae: AutoencoderTiny, pool: Pool, padding: Padding) -> tuple[float, float]:
    """Fold each latent channel's mean and deviation into the weights: latents become mean 0, std 1.

    The pipelines of diffusers scale latents by one number; eight uneven channels need eight.
    Returns the spread of the channel means and deviations before, for the log.
    """
    z = encode(vae, pool.pixels[:: max(1, len(pool.pixels) // 4096)], padding)
    mean, std = z.mean((0, 2, 3)), z.std((0, 2, 3)).clamp(min=1e-3)
    last = vae.encoder.layers[-1]
    last.weight.div_(std.view(-1, 1, 1, 1))
    last.bias.copy_((last.bias - mean) / std)
    first = vae.decoder.layers[0]
    shift = (first.weight * mean.view(1, -1, 1, 1)).sum((1, 2, 3))
    first.weight.mul_(std.view(1, -1, 1, 1))
    first.bias.add_(shift)
    return float(mean.abs().max()), float(std.max() / std.min())


def _discriminator() -> nn.Sequential:
    layers: list[nn.Module] = []
    for given, made, stride in ((3, 64, 2), (64, 128, 2), (128, 256, 2), (256, 256, 1)):
        layers += [nn.Conv2d(given, made, 4, stride, 1), nn.LeakyReLU(0.2)]
        if given != 3:
            layers.insert(-1, nn.GroupNorm(16, made))
    return nn.Sequential(*layers, nn.Conv2d(256, 1, 3, 1, 1))


def train_sharpness(  # noqa: PLR0915  one loop, read top to bottom
    vae: AutoencoderTiny,
    pool: Pool,
    *,
    seconds: float,
    log: Log,
    batch: int = 48,
    side: int = 128,
    peak_lr: float = 2e-4,
    weight: float = 0.4,
) -> None:
    """Decoder only, so latents stay: hinge GAN on patches with an R1 penalty, EMA at the end."""
    device = str(pool.pixels.device)
    kind = pool.pixels.device.type
    loss_of, critic = TextureLoss(device), _discriminator().to(device)
    critic = critic.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    decoder = vae.decoder
    averaged = copy.deepcopy(decoder)
    parameters, judges = list(decoder.parameters()), list(critic.parameters())
    fused = kind != "cpu"
    maker = torch.optim.AdamW(
        parameters, lr=peak_lr, betas=(0.5, 0.99), weight_decay=0, fused=fused
    )
    judge = torch.optim.AdamW(judges, lr=3e-4, betas=(0.5, 0.99), weight_decay=0, fused=fused)
    last = decoder.layers[-1].weight
    began, step = time.monotonic(), 0
    sums = torch.zeros(4, device=device)
    while (done := (time.monotonic() - began) / seconds) < 1:
        maker.param_groups[0]["lr"] = peak_lr * (1 - 0.9 * done)
        x = _crops(pool, batch, side)
        with torch.autocast(kind, torch.bfloat16, enabled=kind != "cpu"):
            with torch.no_grad():
                z = vae.encoder(x)
            y = decoder(z + 0.05 * torch.randn_like(z))
        error, edges, grain = loss_of(y, x)
        rebuilt = error + 0.5 * edges + 0.1 * grain
        critic.requires_grad_(False)
        with torch.autocast(kind, torch.bfloat16, enabled=kind != "cpu"):
            fooled = -critic(y).float().mean()
        pull = torch.autograd.grad(rebuilt, last, retain_graph=True)[0].norm()
        push = torch.autograd.grad(fooled, last, retain_graph=True)[0].norm()
        ratio = (pull / (push + 1e-6)).clamp(0, 1).detach()
        warm = min(1.0, max(0.0, (step - 100) / 300))
        loss = rebuilt + warm * weight * ratio * fooled
        maker.zero_grad()
        loss.backward()
        guarded_step(maker, parameters, loss)
        critic.requires_grad_(True)
        with torch.autocast(kind, torch.bfloat16, enabled=kind != "cpu"):
            real, fake = critic(x).float(), critic(y.detach()).float()
        verdict = F.relu(1 - real).mean() + F.relu(1 + fake).mean()
        if step % 8 == 0:
            seen = x[:16].detach().requires_grad_(True)
            slope = torch.autograd.grad(critic(seen).float().sum(), seen, create_graph=True)[0]
            verdict = verdict + 8 * 0.05 * slope.pow(2).sum((1, 2, 3)).mean()
        judge.zero_grad()
        verdict.backward()  # type: ignore[no-untyped-call]  # torch
        guarded_step(judge, judges, verdict)
        keep = min(0.998, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(averaged.parameters()), parameters, 1 - keep)
        step += 1
        sums += torch.stack([error, edges, verdict.detach(), ratio]).detach()
        if step % 300 == 0:
            means = [round(v, 4) for v in (sums / 300).tolist()]
            sums.zero_()
            log(
                "sharpness",
                step=step,
                error=means[0],
                edges=means[1],
                critic=means[2],
                ratio=means[3],
            )
    decoder.load_state_dict(averaged.state_dict())
    log("sharpness end", step=step)


@torch.no_grad()
def encode(vae: AutoencoderTiny, pixels: Tensor, padding: Padding, batch: int = 256) -> Tensor:
    """uint8 pictures (n, 3, S, S) to latents (n, 8, S/8, S/8) float32, wrapping at the borders."""
    before, padding.mode = padding.mode, "wrapped"
    out = []
    for chunk in pixels.split(batch):  # type: ignore[no-untyped-call]  # torch
        x = (chunk.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, torch.bfloat16):
            out.append(vae.encoder(x).float())
    padding.mode = before
    return torch.cat(out)


@torch.no_grad()
def decode(
    vae: AutoencoderTiny, latents: Tensor, padding: Padding, mode: str = "wrapped"
) -> Tensor:
    """Latents (n, 8, h, w) to uint8 pictures (n, 3, 8h, 8w)."""
    before, padding.mode = padding.mode, mode
    out = []
    for chunk in latents.split(64):  # type: ignore[no-untyped-call]  # torch
        z = chunk.contiguous(memory_format=torch.channels_last)
        with torch.autocast(z.device.type, torch.bfloat16):
            y = vae.decoder(z).float()
        out.append(((y.clamp(-1, 1) + 1) * 127.5 + 0.5).to(torch.uint8))
    padding.mode = before
    return torch.cat(out)
