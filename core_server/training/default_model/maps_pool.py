"""Renders with their maps, kept on the device, so that training the maps network never waits for them."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

import torch

from core_server.training.materials import FAMILY_NAMES, Rendered, render_materials, sample_batch

Tensor = torch.Tensor


@dataclass
class MapsPool:
    """`images` (n, 3, S, S) uint8 sRGB; `targets` (n, 6, S, S) float16 as `target_of` orders them."""

    images: Tensor
    targets: Tensor

    def __len__(self) -> int:
        """How many renders it holds."""
        return len(self.images)

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """`count` random renders as float32 in [0, 1], each rolled by the same random shift."""
        index = torch.randint(len(self), (count,), device=self.images.device)
        side = self.images.shape[-1]
        shift = [int(v) for v in torch.randint(side, (2,))]
        image = self.images[index].roll(shift, (2, 3)).float() / 255
        return image, self.targets[index].roll(shift, (2, 3)).float()


def target_of(rendered: Rendered) -> Tensor:
    """Ground truth: height, normal x y z, roughness, occlusion; (B, 6, S, S)."""
    return torch.cat([rendered.height, rendered.normal, rendered.roughness, rendered.occlusion], 1)


def make_maps_pool(
    count: int, *, seed: int, device: str, size: int = 256, batch: int = 64, seconds: float = 60.0
) -> MapsPool:
    """Render `count` materials, all families in turn, or as many as `seconds` allow."""
    rng = random.Random(seed)  # noqa: S311  not secret
    images = torch.empty(count, 3, size, size, dtype=torch.uint8, device=device)
    targets = torch.empty(count, 6, size, size, dtype=torch.float16, device=device)
    order: list[str] = []
    began, filled = time.monotonic(), 0
    while filled < count and (time.monotonic() - began < seconds or not filled):
        order = order or rng.sample(FAMILY_NAMES, len(FAMILY_NAMES))
        n = min(batch, count - filled)
        rendered = render_materials(
            sample_batch(rng, order.pop(), n), seed=rng.getrandbits(30), size=size, device=device
        )
        images[filled : filled + n] = (rendered.image * 255 + 0.5).to(torch.uint8)
        targets[filled : filled + n] = target_of(rendered).half()
        filled += n
    return MapsPool(images[:filled], targets[:filled])
