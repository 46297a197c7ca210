"""The training pool: rendered materials and photographs on the device, with caption ids."""

from __future__ import annotations

import multiprocessing
import random
import time
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from core_server.training.default_model.networks import TOKENS
from core_server.training.default_model.photos import load_photos
from core_server.training.default_model.vocabulary import FastTokenizer, caption_ids
from core_server.training.materials import FAMILY_NAMES, render_materials, sample_batch
from core_server.training.materials.colors import COLOR_NAMES

CAPTIONS_EACH = 4
#: regular patterns and fine veins take longest to learn: these are drawn twice as often
HARD_FAMILIES: tuple[str, ...] = (
    "herringbone_bricks", "basket_bricks", "herringbone_tiles", "herringbone_parquet", "subway_tiles",
    "hexagon_tiles", "cobblestone", "roof_tiles", "wood_planks", "plaid", "knit", "leather", "marble",
    "leaves", "grass", "gravel", "diamond_plate", "terrazzo",
)  # fmt: skip


@dataclass
class Pool:
    """`pixels` (n, 3, S, S) uint8 sRGB; `ids` (n, 4, 32) int64; `labels` (n, 2) family, colour.

    The last `photos` entries are photographs, labelled -1.
    """

    pixels: torch.Tensor
    ids: torch.Tensor
    labels: torch.Tensor
    photos: int

    @property
    def rendered(self) -> int:
        """How many entries come first that we rendered ourselves."""
        return len(self.pixels) - self.photos

    def draw(self, count: int, photo_share: float) -> torch.Tensor:
        """`count` random indices, about `photo_share` of them photographs."""
        return draw_index(self.rendered, self.photos, count, photo_share, self.ids.device)


@dataclass
class Latents:
    """A pool as the autoencoder sees it: `values` (n, 8, h, w) float16, `ids` as in `Pool`.

    The last `photos` entries are photographs.
    """

    values: torch.Tensor
    ids: torch.Tensor
    photos: int

    def draw(self, count: int, photo_share: float) -> torch.Tensor:
        """`count` random indices, about `photo_share` of them photographs."""
        rendered = len(self.values) - self.photos
        return draw_index(rendered, self.photos, count, photo_share, self.ids.device)

    def after(self, earlier: Latents) -> Latents:
        """This pool with the renders of an earlier one in front."""
        kept = len(earlier.values) - earlier.photos
        return Latents(
            torch.cat([earlier.values[:kept], self.values]),
            torch.cat([earlier.ids[:kept], self.ids]),
            self.photos,
        )

    def save(self, path: Path) -> None:
        """Keep on the training machine, for the next command."""
        torch.save((self.values.cpu(), self.ids.short().cpu(), self.photos), path)

    @classmethod
    def load(cls, path: Path, device: str) -> Latents:
        """What `save` wrote."""
        values, ids, photos = torch.load(path, map_location=device, weights_only=True)
        return cls(values, ids.long(), photos)


def draw_index(
    rendered: int, photos: int, count: int, photo_share: float, device: torch.device
) -> torch.Tensor:
    """`count` random indices below rendered + photos, about `photo_share` of them at the end."""
    index = torch.randint(rendered, (count,), device=device)
    if photos:
        photo = rendered + torch.randint(photos, (count,), device=device)
        index = torch.where(torch.rand(count, device=device) < photo_share, photo, index)
    return index


def make_pool(
    count: int,
    *,
    tokenizer: Path,
    photos: Path | None,
    seed: int,
    device: str,
    size: int = 256,
    batch: int = 128,
    workers: int = 10,
    max_seconds: float = 120.0,
) -> Pool:
    """Render `count` materials, all families in turn; captions are written by worker processes."""
    began = time.monotonic()
    rng = random.Random(seed)  # noqa: S311  not secret
    photographs = load_photos(photos) if photos else []
    total = count + len(photographs)
    pixels = torch.empty(total, 3, size, size, dtype=torch.uint8, device=device)
    labels = torch.full((total, 2), -1, dtype=torch.long)
    futures: list[Future[np.ndarray]] = []
    ids: list[np.ndarray] = []
    order: list[str] = []
    filled, turn = 0, 0
    executor = (
        ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) if workers else None
    )
    try:
        while filled < count and (time.monotonic() - began < max_seconds or turn < 80):
            if not order:
                order = [*FAMILY_NAMES, *HARD_FAMILIES]
                rng.shuffle(order)
            n = min(batch, count - filled)
            params = sample_batch(rng, order.pop(), n)
            image = render_materials(
                params, seed=seed * 1_000_003 + turn, size=size, device=device
            ).image
            pixels[filled : filled + n] = (image * 255 + 0.5).to(torch.uint8)
            task = (str(tokenizer), params, seed * 7919 + turn, CAPTIONS_EACH)
            if executor is None:
                ids.append(caption_ids(task))
            else:
                futures.append(executor.submit(caption_ids, task))
            labels[filled : filled + n] = torch.tensor(
                [[FAMILY_NAMES.index(p.family), COLOR_NAMES.index(p.color)] for p in params]
            )
            filled, turn = filled + n, turn + 1
        ids += [future.result() for future in futures]
    finally:
        if executor is not None:
            executor.shutdown(wait=False, cancel_futures=True)
    fast = FastTokenizer(tokenizer)
    for k, photo in enumerate(photographs):
        picture = torch.from_numpy(photo.pixels).permute(2, 0, 1)[None].to(device)
        if size != 256:
            picture = picture.repeat(1, 1, -(-size // 256), -(-size // 256))[..., :size, :size]
        pixels[filled + k] = picture[0]
        ids.append(fast(photo.captions(rng, CAPTIONS_EACH)).reshape(1, CAPTIONS_EACH, TOKENS))
    end = filled + len(photographs)
    labels = torch.cat([labels[:filled], labels[count : count + len(photographs)]])
    all_ids = torch.from_numpy(np.concatenate(ids)).long().to(device)
    return Pool(pixels[:end], all_ids, labels.to(device), len(photographs))
