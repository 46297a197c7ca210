"""A small classifier of family and colour that scores samples during training.

It sees the same renders as the generator, so it measures obedience, not realism; the benchmark
suite has an independent one.
"""

from __future__ import annotations

import time
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from core_server.training.materials import FAMILY_NAMES
from core_server.training.materials.colors import COLOR_NAMES

Tensor = torch.Tensor


class Judge(nn.Module):
    """128 px pictures to logits over families and colours."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 48, 96, 160, 224)
        layers: list[nn.Module] = []
        for given, made in pairwise(widths):
            layers += [nn.Conv2d(given, made, 3, 1, 1), nn.BatchNorm2d(made), nn.ReLU()]
            layers += [nn.MaxPool2d(2)]
        self.body = nn.Sequential(*layers)
        self.family = nn.Linear(2 * widths[-1] + 3, len(FAMILY_NAMES))
        self.color = nn.Linear(2 * widths[-1] + 3, len(COLOR_NAMES))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, 128, 128) in [-1, 1] to two (B, classes)."""
        h = self.body(x)
        h = torch.cat([h.mean((2, 3)), h.amax((2, 3)), x.mean((2, 3))], 1)
        return self.family(h), self.color(h)


def _half(pixels: Tensor) -> Tensor:
    return F.avg_pool2d(pixels.float() / 127.5 - 1, 2)


def train_judge(
    pixels: Tensor, rebuilt: Tensor, labels: Tensor, rebuilt_labels: Tensor, seconds: float
) -> Judge:
    """Train on sharp renders and on reconstructions, so that slight blur is no fault."""
    device = pixels.device
    judge = Judge().to(device)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=2e-3)
    began = time.monotonic()
    while (done := (time.monotonic() - began) / seconds) < 1:
        optimizer.param_groups[0]["lr"] = 2e-3 * (1 - done) + 1e-5
        a = torch.randint(len(pixels), (128,), device=device)
        b = torch.randint(len(rebuilt), (128,), device=device)
        x = torch.cat([_half(pixels[a]), _half(rebuilt[b])])
        y = torch.cat([labels[a], rebuilt_labels[b]])
        with torch.autocast(device.type, torch.bfloat16):
            family, color = judge(x)
        loss = F.cross_entropy(family.float(), y[:, 0]) + F.cross_entropy(color.float(), y[:, 1])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch
        optimizer.step()
    return judge.eval()


@torch.no_grad()
def score(judge: Judge, pixels: Tensor, labels: Tensor) -> dict[str, float]:
    """Shares of pictures whose family is first, in the first three; colour likewise."""
    hits = []
    for x, y in zip(pixels.split(256), labels.split(256), strict=True):  # type: ignore[no-untyped-call]  # torch
        family, color = judge(_half(x))
        top_f, top_c = family.topk(3).indices, color.topk(3).indices
        match_f, match_c = top_f == y[:, :1], top_c == y[:, 1:]
        hits.append(torch.stack(
            [match_f[:, 0], match_f.any(1), match_c[:, 0], match_c.any(1)], 1).float())  # fmt: skip
    mean = torch.cat(hits).mean(0).tolist()
    names = ("family_top1", "family_top3", "color_top1", "color_top3")
    return {name: round(value, 4) for name, value in zip(names, mean, strict=True)}
