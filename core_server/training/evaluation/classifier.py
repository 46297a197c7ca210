"""Material and colour classifier: reads what a picture shows, for `scumble bench`.

Trained on renders of the procedural generator (the ground truth) and on CC0 photographs, never on
pictures of the diffusion model: it shares no weights and no features with it. Two separate
networks, so that material is judged with every colour seen, and colour without regard to material.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F  # noqa: N812  the name everyone knows

from core_server.pipelines.small_weights import pack, unpack
from core_server.training.materials import FAMILY_NAMES
from core_server.training.materials.colors import COLOR_NAMES

Tensor = torch.Tensor
WEIGHTS_FOLDER = Path(__file__).parent / "weights"
_WEIGHTS, _CONFIG = "classifier.safetensors", "classifier.json"
SIDE = 256
"""The network knows patterns at this many pixels a tile; larger pictures are cut into such pieces."""


class _Block(nn.Module):
    """A residual pair of convolutions that halves the picture (He et al. 2016, option B)."""

    def __init__(self, given: int, made: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(given, made, 3, stride, 1, padding_mode="circular", bias=False)
        self.first_norm = nn.BatchNorm2d(made)
        self.second = nn.Conv2d(made, made, 3, 1, 1, padding_mode="circular", bias=False)
        self.second_norm = nn.BatchNorm2d(made)
        self.skip = nn.Conv2d(given, made, 1, bias=False) if given != made else nn.Identity()
        self.shrink = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(y))
        return F.relu(y + self.skip(self.shrink(x)))


def _statistics(features: Tensor) -> Tensor:
    """Mean and deviation of every channel over the picture, as texture descriptors use them."""
    spread = (features.float().var((2, 3)) + 1e-5).sqrt()  # a channel that is off has a slope, too
    return torch.cat([features.mean((2, 3)), spread.to(features.dtype)], 1)


class _MaterialNetwork(nn.Module):
    """(B, 3, 256, 256) in [-1, 1] to logits over families, from statistics at three scales."""

    widths = (32, 64, 112, 176, 224)

    def __init__(self) -> None:
        super().__init__()
        widths = self.widths
        self.stem = nn.Conv2d(3, widths[0], 5, 2, 2, padding_mode="circular", bias=False)
        self.stem_norm = nn.BatchNorm2d(widths[0])
        self.stages = nn.ModuleList(_Block(a, b, 2) for a, b in pairwise(widths))
        self.more = _Block(widths[2], widths[2], 1)
        self.head = nn.Linear(2 * sum(widths[2:]), len(FAMILY_NAMES))
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem_norm(self.stem(x)))
        found = []
        for level, stage in enumerate(self.stages):
            x = stage(x)
            if level == 1:
                x = self.more(x)
            if level >= 1:
                found.append(_statistics(x))
        logits: Tensor = self.head(self.drop(torch.cat(found, 1)))
        return logits


class _ColorNetwork(nn.Module):
    """(B, 3, 256, 256) in [-1, 1] to logits over colour names: which of the surface's colours is
    meant is a matter of area, light and position, so a few convolutions look before the average.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 32, 1), nn.ReLU(),
            nn.Conv2d(32, 64, 3, 2, 1, padding_mode="circular"), nn.BatchNorm2d(64), nn.ReLU(),
            nn.Conv2d(64, 64, 3, 2, 1, padding_mode="circular"), nn.BatchNorm2d(64), nn.ReLU(),
            nn.Conv2d(64, 96, 1), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Linear(195, 128), nn.ReLU(), nn.Linear(128, len(COLOR_NAMES)))

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(x, 4)
        found = torch.cat([_statistics(self.body(x)), x.mean((2, 3))], 1)
        logits: Tensor = self.head(found)
        return logits


class MaterialClassifier(nn.Module):
    """Both networks; 1.9 M parameters. `material` and `color` give logits (B, classes)."""

    def __init__(self) -> None:
        super().__init__()
        self.material = _MaterialNetwork()
        self.color = _ColorNetwork()

    def save(self, folder: Path, **facts: object) -> None:
        """Weights of one byte each and a JSON file with the classes and `facts` of the training."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = {k: v for k, v in self.state_dict().items() if "num_batches" not in k}
        save_file(pack(weights), folder / _WEIGHTS)
        config = {"families": FAMILY_NAMES, "colors": COLOR_NAMES, **facts}
        (folder / _CONFIG).write_text(json.dumps(config, indent=1) + "\n", "utf-8")

    @classmethod
    def load(cls, folder: Path = WEIGHTS_FOLDER) -> MaterialClassifier:
        """The saved networks in float32, for judging only.

        Raises ValueError if they were trained for other families or colours than this generator's.
        """
        config = json.loads((folder / _CONFIG).read_text("utf-8"))
        if (tuple(config["families"]), tuple(config["colors"])) != (FAMILY_NAMES, COLOR_NAMES):
            raise ValueError(
                "The classifier was trained for other families or colours than the generator has "
                "now. Train it again: python -m core_server.training.evaluation.train --out OUT"
            )
        network = cls()
        network.load_state_dict(unpack(load_file(folder / _WEIGHTS)), strict=False)
        return network.eval()


@dataclass(frozen=True)
class Reading:
    """What one picture shows, most probable first: names of families and of colours."""

    families: tuple[str, ...]
    colors: tuple[str, ...]


@torch.no_grad()
def read_pictures(classifier: MaterialClassifier, pictures: Tensor, top: int = 3) -> list[Reading]:
    """What (n, 3, S, S) uint8 sRGB pictures show; S a multiple of 256 (pieces are averaged)."""
    readings = []
    for chunk in pictures.split(16):  # type: ignore[no-untyped-call]  # torch
        pieces, count = _pieces(chunk)
        x = pieces.float() / 127.5 - 1
        chances = []
        for network in (classifier.material, classifier.color):
            share = network(x).float().softmax(1)
            chances.append(share.view(len(chunk), count, -1).mean(1).topk(top).indices.tolist())
        for families, colors in zip(*chances, strict=True):
            readings.append(Reading(_names(FAMILY_NAMES, families), _names(COLOR_NAMES, colors)))
    return readings


def _pieces(pictures: Tensor) -> tuple[Tensor, int]:
    """(n, 3, S, S) as (n * k, 3, 256, 256), and k."""
    n, channels, height, width = pictures.shape
    if height % SIDE or width % SIDE:
        raise ValueError(
            f"pictures must have sides that are multiples of {SIDE}, not {width} x {height}"
        )
    grid = pictures.view(n, channels, height // SIDE, SIDE, width // SIDE, SIDE)
    count = (height // SIDE) * (width // SIDE)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(n * count, channels, SIDE, SIDE), count


def _names(names: Sequence[str], indices: Sequence[int]) -> tuple[str, ...]:
    return tuple(names[index] for index in indices)
