"""What may happen to a picture without changing its material: the classifier's augmentation."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F  # noqa: N812  the name everyone knows

from core_server.training.jpeg import jpeg

Tensor = torch.Tensor


def _draw(x: Tensor, low: float, high: float, channels: int = 1) -> Tensor:
    return torch.rand(len(x), channels, 1, 1, device=x.device) * (high - low) + low


def _some(x: Tensor, chance: float) -> Tensor:
    return torch.rand(len(x), 1, 1, 1, device=x.device) < chance


def place(x: Tensor, may_turn: Tensor) -> Tensor:
    """Move, mirror, turn by 90 degrees where `may_turn` (B,) allows, and zoom by up to a quarter.

    The tile repeats, so moving is exact. One zoom a batch: it is a matter of speed.
    """
    height, width = x.shape[-2:]
    x = _roll(x)
    mirrored = _some(x, 0.5)
    x = torch.where(mirrored, x.flip(-1), x)
    turned = _some(x, 0.3) & may_turn.view(-1, 1, 1, 1)
    x = torch.where(turned, x.transpose(-1, -2), x)
    zoom = math.exp(float(torch.empty(()).uniform_(-0.22, 0.22)))
    side = round(height * zoom)
    if side < height:
        return F.interpolate(x[..., :side, :side], (height, width), mode="bicubic").clamp(0, 1)
    small = F.interpolate(
        torch.cat([x, x[..., : side - height, :]], 2),
        (height, width),
        mode="bilinear",
        antialias=True,
    )
    wide = torch.cat([small, small[..., : side - width]], 3)
    return F.interpolate(wide, (height, width), mode="bilinear", antialias=True)


def _roll(x: Tensor) -> Tensor:
    """Every picture by its own offset, around the border."""
    n, _, height, width = x.shape
    rows = (
        torch.arange(height, device=x.device)[None] + torch.randint(height, (n, 1), device=x.device)
    ) % height
    columns = (
        torch.arange(width, device=x.device)[None] + torch.randint(width, (n, 1), device=x.device)
    ) % width
    index = torch.arange(n, device=x.device)[:, None, None]
    return x.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def degrade(x: Tensor) -> Tensor:
    """Blur, noise and JPEG on some pictures: a diffusion model's faults must not look like another
    material.
    """
    soft = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="circular"), 3, 1)
    softer = F.avg_pool2d(F.pad(soft, (1, 1, 1, 1), mode="circular"), 3, 1)
    x = torch.where(_some(x, 0.35), torch.lerp(x, soft, _draw(x, 0, 1)), x)
    x = torch.where(_some(x, 0.12), softer, x)
    x = torch.where(_some(x, 0.3), x + torch.randn_like(x) * _draw(x, 0, 0.04), x)
    return torch.where(_some(x, 0.3), jpeg(x.clamp(0, 1), _draw(x, 0.1, 0.9)), x).clamp(0, 1)


def recolour(x: Tensor) -> Tensor:
    """Turn hue, change saturation, contrast, exposure and tint: material must not follow colour.

    Hue is turned about the grey axis (Rodrigues' formula), in half of the pictures by any angle.
    """
    angle = torch.where(_some(x, 0.5), _draw(x, -math.pi, math.pi), _draw(x, -0.3, 0.3))[:, 0]
    angle = torch.where(_some(x, 0.35)[:, 0], torch.zeros_like(angle), angle)
    third, root = 1 / 3, math.sqrt(1 / 3)
    cosine, sine = angle.cos(), angle.sin()
    same = torch.eye(3, device=x.device)
    cross = x.new_tensor([[0, -root, root], [root, 0, -root], [-root, root, 0]])
    turn = cosine * same + (1 - cosine) * third + sine * cross
    x = torch.einsum("nij,njhw->nihw", turn, x)
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * torch.where(_some(x, 0.15), _draw(x, 0, 0.2), _draw(x, 0.6, 1.3))
    middle = x.mean((1, 2, 3), keepdim=True)
    x = (x - middle) * _draw(x, 0.65, 1.35) + middle * _draw(x, 0.7, 1.3)
    return (x * _draw(x, 0.93, 1.07, 3)).clamp(0, 1)
