"""The network from a picture of a material to its maps. Its training is in `training.default_model.maps`."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Self

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from core_server.pipelines.small_weights import unpack

Tensor = torch.Tensor

CHANNELS = ("height", "normal_x", "normal_y", "normal_z", "roughness", "occlusion")
WEIGHTS, CONFIG = "diffusion_pytorch_model.safetensors", "config.json"
MULTIPLE = 8
"""Sides of its input are multiples of this, and so are the shifts of a picture that shift its maps alike."""
REACH = 96
"""Px: no pixel of a map depends on what lies further away. A multiple of MULTIPLE."""


class ChannelNorm(nn.Module):
    """Layer norm over channels at every pixel: no statistics of the picture, so any size works."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        out: Tensor = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return out


class Block(nn.Module):
    """Norm, 3x3, GELU, 3x3, added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ChannelNorm(width),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        out: Tensor = x + self.body(x)
        return out


class MapsNetwork(nn.Module):
    """A small U-net; widths: channels at 1, 1/2, 1/4 and 1/8 of the size.

    In: (B, 3, H, W) sRGB in [0, 1]. Out: (B, 6, H, W) in [0, 1] in the order of `CHANNELS`; the normal is OpenGL (+Y
    up), a unit vector encoded n * 0.5 + 0.5; only differences of the height mean something, training leaves its level
    free. `pipelines.seamless.seamless` makes its borders wrap.
    """

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.stem = nn.Conv2d(3, widths[0], 3, padding=1)
        self.down = nn.ModuleList(Block(w) for w in widths)
        self.shrink = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths)
        )
        self.middle = nn.Sequential(Block(widths[-1]), Block(widths[-1]))
        self.grow = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths))
        self.up = nn.ModuleList(Block(w) for w in widths[:-1])
        self.head = nn.Conv2d(widths[0], len(CHANNELS), 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """Predict all maps."""
        x = self.stem(image * 2 - 1)
        skips = []
        for level, block in enumerate(self.down):
            x = block(x)
            if level < len(self.shrink):
                skips.append(x)
                x = self.shrink[level](x)
        x = self.middle(x)
        for level in reversed(range(len(self.up))):
            x = functional.interpolate(self.grow[level](x), scale_factor=2.0, mode="nearest")
            x = self.up[level](x + skips[level])
        raw = self.head(x)
        normal = functional.normalize(torch.cat([raw[:, 1:3], raw[:, 3:4] + 1], 1), dim=1)
        scalars = torch.sigmoid(raw)
        return torch.cat([scalars[:, :1], normal * 0.5 + 0.5, scalars[:, 4:]], 1)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The network of a folder with `CONFIG` and `WEIGHTS`, in float32, ready to use."""
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        network = cls(tuple(config["widths"]))
        network.load_state_dict(unpack(load_file(folder / WEIGHTS)))
        return network.eval()
