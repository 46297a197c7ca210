"""From a picture of a material to its height, normal, roughness and occlusion."""

from __future__ import annotations

import copy
import json
import math
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
from core_server.training.default_model.graphs import GraphedStep, bind_gradients
from core_server.training.default_model.maps_pool import MapsPool
from core_server.training.default_model.networks import Padding, use_padding
from core_server.training.jpeg import jpeg

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


def maps_loss(output: Tensor, target: Tensor) -> Tensor:
    """Absolute errors, the height's slopes at four scales, and how deep and how steep it is in all.

    Where a picture leaves depth open, absolute errors alone choose the shallow middle; the last
    terms ask for each picture's own depth, steepness and spread of roughness.
    """
    height, wanted = output[:, :1], target[:, :1]
    height = height - height.mean((2, 3), keepdim=True)
    wanted = wanted - wanted.mean((2, 3), keepdim=True)
    slopes, steepness = height.new_zeros(()), height.new_zeros(())
    fine, fine_wanted = height, wanted
    for _ in range(4):
        for axis in (2, 3):
            mine, true = fine.diff(dim=axis), fine_wanted.diff(dim=axis)
            slopes = slopes + (mine - true).abs().mean()
            steep = mine.abs().mean((1, 2, 3)) - true.abs().mean((1, 2, 3))
            steepness = steepness + steep.abs().mean()
        if min(fine.shape[-2:]) < 4:
            break
        fine, fine_wanted = F.avg_pool2d(fine, 2), F.avg_pool2d(fine_wanted, 2)
    depth = (_spread(height) - _spread(wanted)).abs().mean()
    tilt = (_spread(output[:, 1:3]) - _spread(target[:, 1:3])).abs().mean()
    grain = (_spread(output[:, 4:5]) - _spread(target[:, 4:5])).abs().mean()
    rest = (output[:, 1:] - target[:, 1:]).abs().mean((0, 2, 3))
    # Numbers, no tensor: a step that copies from the processor cannot be recorded.
    normals = 3 * (rest[0] + rest[1]) + 1.5 * rest[2]
    errors = 1.5 * (height - wanted).abs().mean() + normals + 0.6 * rest[3] + rest[4]
    return errors + 2 * slopes + 2 * steepness + depth + 1.5 * tilt + 0.3 * grain


def _spread(x: Tensor) -> Tensor:
    """Standard deviation over each channel's plane: (B, C); its slope is finite where x is flat."""
    return (x.var((2, 3), unbiased=False) + 1e-6).sqrt()


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


def train_maps(  # noqa: PLR0915  one loop, read top to bottom
    network: MapsNetwork,
    pool: MapsPool,
    *,
    seconds: float,
    device: str,
    log: Callable[..., None],
    batch: int = 64,
    peak_lr: float = 1e-3,
    compiled: bool = False,
    max_steps: int | None = None,
) -> float:
    """Train on a pool of renders; ends with averaged weights, returns the mean of the last losses.

    Pixel art, cartoon and the like are drawn from the same surface, so they train too.
    """
    network.to(device).train()
    averaged = copy.deepcopy(network)
    parameters: list[Tensor] = list(network.parameters())
    averages: list[Tensor] = list(averaged.parameters())
    gradients = bind_gradients(parameters)
    optimizer = torch.optim.AdamW(
        parameters, lr=peak_lr, betas=(0.9, 0.99), weight_decay=1e-4, fused=device != "cpu"
    )
    padding, kind = network.padding, torch.device(device).type
    side = pool.images.shape[-1]
    image = torch.zeros(batch, 3, side, side, device=device)
    target = torch.zeros(batch, 6, side, side, device=device)
    padding.mode, padding.mask = "masked", torch.ones(batch, 1, 1, 1, device=device)
    forward = torch.compile(network, dynamic=False) if compiled else network

    def one_step() -> Tensor:
        torch._foreach_zero_(gradients)
        # No cache: a recorded step must cast the weights anew each time.
        with torch.autocast(kind, torch.bfloat16, enabled=kind != "cpu", cache_enabled=False):
            output = forward(camera(image))
        loss = maps_loss(output.float(), target)
        loss.backward()  # type: ignore[no-untyped-call]  # torch
        return loss.detach()

    def load() -> None:
        wrapped = bool(torch.rand(()) < 0.6)
        placed = place(*pool.draw(batch), wrapped)
        image.copy_(placed[0])
        target.copy_(placed[1])
        assert padding.mask is not None
        padding.mask.fill_(float(wrapped))

    load()
    run = GraphedStep(one_step, device, log, "maps")
    began, step, shown = time.monotonic(), 0, 0
    total, mean = torch.zeros((), device=device), 0.0
    lag = 200 if max_steps is None else min(200, max_steps)
    while (done := (time.monotonic() - began) / seconds) < 1 and step != max_steps:
        rate = peak_lr * min(1, (step + 1) / 100) * (0.01 + 0.495 * (1 + math.cos(math.pi * done)))
        optimizer.param_groups[0]["lr"] = rate
        load()
        total += run()
        norm = nn.utils.clip_grad_norm_(parameters, 1.0)
        if bool(torch.isfinite(norm)):
            optimizer.step()
        with torch.no_grad():
            keep = min(0.998, (1 + step) / (10 + step))
            torch._foreach_lerp_(averages, parameters, 1 - keep)
        step, shown = step + 1, shown + 1
        if step % lag == 0:
            mean, shown = float(total) / shown, 0
            total.zero_()
            if step % (5 * lag) == 0:
                log("maps", step=step, loss=round(mean, 4), lr=round(rate, 6),
                    per_s=round(step * batch / (time.monotonic() - began)))  # fmt: skip
    network.load_state_dict(averaged.state_dict())
    padding.mode, padding.mask = "wrapped", None
    network.eval()
    log("maps end", step=step, samples=step * batch, loss=round(mean, 4))
    return mean


@torch.no_grad()
def measure_maps(network: MapsNetwork, pool: MapsPool) -> dict[str, float]:
    """How far maps are from the truth: angles in degrees, the rest in the maps' own units.

    `depth`: the height's spread over the true one, median; `height`: their correlation, median;
    `flat_angle`: the angle if every normal stood upright.
    """
    network.eval()
    rows = []
    for start in range(0, len(pool), 32):
        image = pool.images[start : start + 32].float() / 255
        true = pool.targets[start : start + 32].float()
        mine = network(image)
        a, b = mine[:, 1:4] * 2 - 1, F.normalize(true[:, 1:4] * 2 - 1, dim=1)
        angle = torch.rad2deg((a * b).sum(1).clamp(-1, 1).acos()).mean((1, 2))
        flat = torch.rad2deg(b[:, 2].clamp(-1, 1).acos()).mean((1, 2))
        x, y = (v[:, 0] - v[:, 0].mean((1, 2), keepdim=True) for v in (mine, true))
        spread = x.std((1, 2)), y.std((1, 2)).clamp(min=1e-4)
        match = (x * y).mean((1, 2)) / (spread[0].clamp(min=1e-4) * spread[1])
        rough, dark = ((mine[:, k] - true[:, k]).abs().mean((1, 2)) for k in (4, 5))
        rows.append(torch.stack([angle, flat, match, spread[0] / spread[1], rough, dark], 1))
    table = torch.cat(rows)
    means, medians = table.mean(0).tolist(), table.median(0).values.tolist()
    values = {
        "angle": means[0], "flat_angle": means[1], "height": medians[2], "depth": medians[3],
        "roughness": means[4], "occlusion": means[5],
    }  # fmt: skip
    return {name: round(value, 3) for name, value in values.items()}
