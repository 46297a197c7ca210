"""From a picture of a material to its height, normal, roughness and occlusion."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F  # noqa: N812

from core_server.pipelines import maps_network
from core_server.pipelines.maps_network import CHANNELS, CONFIG, WEIGHTS
from core_server.pipelines.small_weights import pack
from core_server.training.default_model.networks import Padding, use_padding
from core_server.training.jpeg import jpeg
from core_server.training.materials import FAMILY_NAMES, Rendered, render_materials, sample_batch

Tensor = torch.Tensor
_WIDTHS = (24, 40, 80, 112)


class MapsNetwork(maps_network.MapsNetwork):
    """The network of `pipelines.maps_network` as it is trained: every convolution pads as
    `padding.mode` says, "wrapped" for tiles or "zeros". About 1 M parameters.
    """

    def __init__(self, widths: tuple[int, ...] = _WIDTHS) -> None:
        super().__init__(widths)
        self.padding = use_padding(self, Padding("wrapped"))

    def save(self, folder: Path) -> None:
        """Weights of one byte each and config.json."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file(pack(self.state_dict()), folder / WEIGHTS)
        config = {"widths": self.widths, "channels": CHANNELS}
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", "utf-8")


def target_of(rendered: Rendered) -> Tensor:
    """Ground truth in the order of `CHANNELS`: (B, 6, S, S)."""
    return torch.cat([rendered.height, rendered.normal, rendered.roughness, rendered.occlusion], 1)


def maps_loss(output: Tensor, target: Tensor) -> Tensor:
    """Absolute errors; height up to its mean, and by its slopes, which is what shading shows."""
    height, wanted = output[:, :1], target[:, :1]
    height = height - height.mean((2, 3), keepdim=True)
    wanted = wanted - wanted.mean((2, 3), keepdim=True)
    slopes = (height.diff(dim=3) - wanted.diff(dim=3)).abs().mean()
    slopes = slopes + (height.diff(dim=2) - wanted.diff(dim=2)).abs().mean()
    rest = (output[:, 1:] - target[:, 1:]).abs().mean((0, 2, 3))
    weights = rest.new_tensor([2.0, 2.0, 1.0, 0.5, 1.0])
    return (height - wanted).abs().mean() + 4 * slopes + (rest * weights).sum()


def camera(image: Tensor) -> Tensor:
    """What lies between a render and a photograph: light, exposure, tint, blur, noise and JPEG.

    (B, 3, H, W) in [0, 1] to the same; sides multiples of 8.
    """
    n, device = len(image), image.device

    def draw(low: float, high: float, channels: int = 1) -> Tensor:
        return torch.rand(n, channels, 1, 1, device=device) * (high - low) + low

    def some(chance: float) -> Tensor:
        return torch.rand(n, 1, 1, 1, device=device) < chance

    x = image.clamp(1e-4, 1) ** torch.where(some(0.5), draw(0.7, 1.5), draw(1, 1))
    middle = x.mean((1, 2, 3), keepdim=True)
    x = (x - middle) * draw(0.6, 1.3) + middle * draw(0.7, 1.25)
    x = x * draw(0.9, 1.1, 3)
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * torch.where(some(0.15), draw(0, 0.3), draw(0.6, 1.3))
    x = torch.where(some(0.5), x * _uneven_light(x, draw(0.05, 0.35)), x)
    soft = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="circular"), 3, 1)
    x = x + (soft - x) * draw(0, 1) * some(0.5)
    # Thumbnails are often sharpened: the other side of blur.
    x = x + (x - soft) * draw(0, 1) * some(0.2)
    x = x + torch.randn_like(x) * draw(0, 0.04) * some(0.7)
    return torch.where(some(0.3), jpeg(x.clamp(0, 1), draw(0.1, 0.9)), x).clamp(0, 1)


def _uneven_light(x: Tensor, strength: Tensor) -> Tensor:
    """Smooth factors around 1, at most 1 +- strength: light that falls off over the picture."""
    coarse = torch.rand(len(x), 1, 3, 3, device=x.device) * 2 - 1
    return 1 + strength * F.interpolate(coarse, x.shape[-2:], mode="bicubic").clamp(-1, 1)


def place(image: Tensor, target: Tensor, wrapped: bool) -> tuple[Tensor, Tensor]:
    """Mirror, turn and, where the picture need not repeat, zoom a picture together with its maps.

    Light then comes from every side, as in photographs. Normals turn along: a mirrored x negates
    normal x, a mirrored y normal y, a transposition (y points down, +Y up) swaps them negated.
    """
    flips = torch.rand(2)
    maps = target.clone()
    if flips[0] < 0.5:
        image, maps = image.flip(3), maps.flip(3)
        maps[:, 1] = 1 - maps[:, 1]
    if flips[1] < 0.3:
        image, maps = image.flip(2), maps.flip(2)
        maps[:, 2] = 1 - maps[:, 2]
    if torch.rand(()) < 0.3:
        image, maps = image.transpose(2, 3), maps.transpose(2, 3).clone()
        across, up = maps[:, 1].clone(), maps[:, 2].clone()
        maps[:, 1], maps[:, 2] = 1 - up, 1 - across
    if not wrapped and torch.rand(()) < 0.7:
        side = image.shape[-1]
        cut = max(8, int(side * float(torch.empty(()).uniform_(0.45, 1.0))) // 8 * 8)
        image = F.interpolate(image[..., :cut, :cut], (side, side), mode="bilinear")
        maps = F.interpolate(maps[..., :cut, :cut], (side, side), mode="bilinear")
    return image, maps


def train_maps(
    network: MapsNetwork,
    *,
    seconds: float,
    device: str,
    seed: int,
    log: Callable[..., None],
    size: int = 256,
    families_a_step: int = 8,
    each: int = 8,
    peak_lr: float = 1e-3,
    max_steps: int | None = None,
) -> float:
    """Train on fresh renders, unseen twice; returns the mean loss of the last 50 steps.

    Pixel art, cartoon and the like are drawn from the same surface, so they train too.
    """
    rng = random.Random(seed)  # noqa: S311  not secret
    network.to(device).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=peak_lr, betas=(0.9, 0.99))
    began, step = time.monotonic(), 0
    recent: list[float] = []
    while (done := (time.monotonic() - began) / seconds) < 1 and step != max_steps:
        optimizer.param_groups[0]["lr"] = peak_lr * min(1, (step + 1) / 100) * (1 - 0.95 * done)
        images, targets = [], []
        for name in rng.sample(FAMILY_NAMES, families_a_step):
            rendered = render_materials(
                sample_batch(rng, name, each), seed=rng.getrandbits(30), size=size, device=device
            )
            images.append(rendered.image)
            targets.append(target_of(rendered))
        wrapped = rng.random() < 0.6
        network.padding.mode = "wrapped" if wrapped else "zeros"
        image, target = place(torch.cat(images), torch.cat(targets), wrapped)
        image = camera(image)
        with torch.autocast(image.device.type, torch.bfloat16, enabled=device != "cpu"):
            output = network(image)
        loss = maps_loss(output.float(), target)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch
        norm = nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        if bool(torch.isfinite(norm)):
            optimizer.step()
        step += 1
        recent = [*recent[-49:], float(loss.detach())]
        if step % 200 == 0:
            log("maps", step=step, loss=round(sum(recent) / len(recent), 4))
    network.padding.mode = "wrapped"
    network.eval()
    log("maps end", step=step, loss=round(sum(recent) / max(1, len(recent)), 4))
    return sum(recent) / max(1, len(recent))
