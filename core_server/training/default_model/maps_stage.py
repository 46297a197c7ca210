"""The stage of a training command that is about the maps network."""

from __future__ import annotations

import time

import torch

from core_server.training.default_model.maps import MapsNetwork, measure_maps, train_maps
from core_server.training.default_model.maps_pool import make_maps_pool
from core_server.training.default_model.run import Run
from core_server.training.default_model.sheets import draw_pairs
from core_server.training.materials import FAMILY_NAMES


def train_maps_network(run: Run) -> None:
    """The picture-to-maps network, resumed or new; saves it and a sheet of fresh renders."""
    began = time.monotonic()
    kept = run.folder / "maps"
    resumed = [f for f in (kept, run.args.resume and run.args.resume / "maps") if f and f.exists()]
    network = MapsNetwork.load(resumed[0]) if resumed else MapsNetwork()
    pool = make_maps_pool(
        run.args.maps_pool, seed=run.seed, device=run.device, size=run.args.size,
        seconds=0.3 * run.args.maps_seconds,
    )  # fmt: skip
    fresh = make_maps_pool(
        min(run.args.maps_pool, 8 * len(FAMILY_NAMES)), seed=991, device=run.device,
        size=run.args.size, batch=8,
    )  # fmt: skip
    run.log("maps pool", rendered=len(pool))
    train_maps(
        network, pool, seconds=run.args.maps_seconds - (time.monotonic() - began),
        device=run.device, log=run.log, peak_lr=run.args.maps_lr, max_steps=run.args.max_steps,
        compiled=run.device != "cpu" and not run.args.no_compile,
    )  # fmt: skip
    run.log("maps scores", **measure_maps(network, fresh))
    network.save(kept)
    index = torch.arange(0, len(fresh), max(1, len(fresh) // 16))
    with torch.no_grad():
        mine = network(fresh.images[index].float() / 255)
    for channel, title in ((slice(1, 4), "normal"), (slice(0, 1), "height")):
        truth = fresh.targets[index, channel].float()
        pictures = [(x.expand(-1, 3, -1, -1) * 255).byte() for x in (truth, mine[:, channel])]
        draw_pairs(pictures[0], pictures[1], run.args.out / f"maps-{title}.jpg")
