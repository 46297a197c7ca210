"""Train the evaluation's classifier of material and colour.

    python -m core_server.training.evaluation.train --out OUT --seconds 180 --photos ambientcg128/

About a third of the time renders pictures, the rest trains on them. OUT gets the weights (copy them
to core_server/training/evaluation/weights/), training.jsonl and confusion.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch
from torch.nn import functional as F  # noqa: N812  the name everyone knows

from core_server.training.default_model import autoencoder as ae
from core_server.training.default_model.checkpoint import load_autoencoder
from core_server.training.default_model.networks import Padding, use_padding
from core_server.training.evaluation.augment import degrade, place, recolour
from core_server.training.evaluation.classifier import SIDE, MaterialClassifier
from core_server.training.evaluation.data import (
    UNKNOWN,
    Labelled,
    load_labelled_photos,
    render_labelled,
)
from core_server.training.materials import FAMILY_NAMES

Tensor = torch.Tensor
MODEL_FOLDER = Path(__file__).parents[2] / "models" / "default_model"
_TEST_SEED, _TRAIN_SEED = 900_001, 71
_SMOOTHING = 0.05


class Log:
    """Prints an event and appends it to OUT/training.jsonl."""

    def __init__(self, path: Path) -> None:
        self.path, self.began = path, time.monotonic()

    def __call__(self, event: str, **values: object) -> None:
        entry = {"seconds": round(time.monotonic() - self.began, 1), "event": event, **values}
        sys.stdout.write(json.dumps(entry) + "\n")
        sys.stdout.flush()
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def main(argv: list[str] | None = None) -> None:
    """Render, train, test, save."""
    args = _arguments(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    log = Log(args.out / "training.jsonl")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(args.seed)
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    renders = render_labelled(
        args.pool,
        seed=_TRAIN_SEED + args.seed,
        device=device,
        seconds=0.3 * args.seconds,
        size=args.size,
        batch=min(64, max(1, args.pool // len(FAMILY_NAMES))),
    )
    tests = {
        "renders": render_labelled(
            args.test,
            seed=_TEST_SEED,
            device=device,
            size=args.size,
            batch=min(12, max(1, args.test // len(FAMILY_NAMES))),
        )
    }
    log("rendered", device=device, train=len(renders), test=len(tests["renders"]))
    photos = None
    if args.photos:
        photos = load_labelled_photos(args.photos, device, evaluation=False)
        tests["photos"] = load_labelled_photos(args.photos, device, evaluation=True)
        log("photos", train=len(photos), test=len(tests["photos"]))
    if (args.model / "vae").exists():
        _rebuild(renders, args.model, device, share=0.25)
        tests["rebuilt renders"] = Labelled(**vars(tests["renders"]))
        tests["rebuilt renders"].pixels = tests["renders"].pixels.clone()
        _rebuild(tests["rebuilt renders"], args.model, device, share=1.0)
        log("reconstructions made")
    classifier = MaterialClassifier().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch
    train(classifier, renders, photos, seconds=args.seconds - (time.monotonic() - log.began),
          batch=args.batch, log=log, max_steps=args.max_steps)  # fmt: skip
    scores = {}
    for name, labelled in tests.items():
        scores[name] = score(classifier, labelled)
        log(f"scores, {name}", count=len(labelled), **scores[name])
    counts = confusion(classifier, tests["renders"])
    (args.out / "confusion.json").write_text(
        json.dumps({"families": FAMILY_NAMES, "rows_true_columns_read": counts.tolist()}) + "\n",
        "utf-8",
    )
    log("most confused", pairs=most_confused(counts))
    classifier.save(args.out, scores=scores)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="where weights and logs go")
    add("--seconds", type=float, default=180.0, help="rendering and training together")
    add("--photos", type=Path, help="folder of CC0 material photographs (ambientCG thumbnails)")
    add("--model", type=Path, default=MODEL_FOLDER, help="its autoencoder rebuilds some pictures")
    add("--pool", type=int, default=110_000, help="rendered pictures at most")
    add("--test", type=int, default=4_740, help="rendered pictures held out (fresh seeds)")
    add("--batch", type=int, default=384)
    add("--size", type=int, default=SIDE, help="side of the renders in px")
    add("--seed", type=int, default=0)
    add("--max-steps", type=int)
    return parser.parse_args(argv)


@torch.no_grad()
def _rebuild(labelled: Labelled, model: Path, device: str, share: float) -> None:
    """Pass `share` of the pictures through the model's autoencoder, in place."""
    vae = load_autoencoder(model, device)
    padding = use_padding(vae, Padding("wrapped"))
    index = torch.randperm(len(labelled), device=device)[: int(share * len(labelled))]
    for part in index.split(256):  # type: ignore[no-untyped-call]  # torch
        labelled.pixels[part] = ae.decode(
            vae, ae.encode(vae, labelled.pixels[part], padding), padding
        )


def train(
    classifier: MaterialClassifier,
    renders: Labelled,
    photos: Labelled | None,
    *,
    seconds: float,
    batch: int,
    log: Log,
    photo_share: float = 0.1,
    max_steps: int | None = None,
) -> None:
    """Both networks on the same augmented pictures; only the material network sees other colours."""
    device = renders.pixels.device
    classifier.train()
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=0.0, weight_decay=0.03)
    from_photos = int(batch * photo_share) if photos else 0
    began, step = time.monotonic(), 0
    sums = torch.zeros(3, device=device)
    while (done := (time.monotonic() - began) / seconds) < 1 and step != max_steps:
        optimizer.param_groups[0]["lr"] = 3e-3 * min(1, (step + 1) / 200) * (1 - done) ** 1.2 + 1e-5
        parts = [_draw(renders, batch - from_photos)]
        if photos and from_photos:
            parts.append(_draw(photos, from_photos))
        pixels = torch.cat([part.pixels for part in parts]).float() / 255
        families = torch.cat([part.families for part in parts])
        colors = torch.cat([part.colors for part in parts])
        turnable = torch.cat([part.may_turn for part in parts])
        pictures = degrade(place(pixels, turnable))
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            material = classifier.material(_input(recolour(pictures)))
            color = classifier.color(_input(pictures))
        chances = material.float().log_softmax(1)
        right = chances.masked_fill(~families, -torch.inf).logsumexp(1)
        loss = -((1 - _SMOOTHING) * right + _SMOOTHING * chances.mean(1)).mean()
        color_loss = F.cross_entropy(color.float(), colors, ignore_index=UNKNOWN)
        optimizer.zero_grad(set_to_none=True)
        (loss + color_loss).backward()
        norm = torch.nn.utils.clip_grad_norm_(classifier.parameters(), 2.0)
        if bool(torch.isfinite(norm)):
            optimizer.step()
        step += 1
        hits = families.gather(1, material.argmax(1, keepdim=True)).float().mean()
        sums += torch.stack([loss.detach(), color_loss.detach(), hits])
        if step % 250 == 0:
            means = [round(v, 4) for v in (sums / 250).tolist()]
            sums.zero_()
            log("train", step=step, material_loss=means[0], color_loss=means[1], material_top1=means[2],
                per_s=round(step * batch / (time.monotonic() - began)))  # fmt: skip
    classifier.eval()
    log("train end", steps=step, pictures=step * batch)


def _draw(labelled: Labelled, count: int) -> Labelled:
    index = torch.randint(len(labelled), (count,), device=labelled.pixels.device)
    return Labelled(labelled.pixels[index], labelled.families[index], labelled.colors[index],
                    labelled.may_turn[index])  # fmt: skip


def _input(pictures: Tensor) -> Tensor:
    return (pictures * 2 - 1).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def _logits(classifier: MaterialClassifier, pixels: Tensor) -> tuple[Tensor, Tensor]:
    material, color = [], []
    for chunk in pixels.split(64):  # type: ignore[no-untyped-call]  # torch
        x = _input(chunk.float() / 255)
        material.append(classifier.material(x).float())
        color.append(classifier.color(x).float())
    return torch.cat(material), torch.cat(color)


def score(classifier: MaterialClassifier, labelled: Labelled) -> dict[str, float]:
    """Shares of pictures whose material is read right first, in the first three; colour likewise."""
    material, color = _logits(classifier, labelled.pixels)
    hit = labelled.families.gather(1, material.topk(3).indices)
    known = labelled.colors != UNKNOWN
    out = {"material_top1": hit[:, 0], "material_top3": hit.any(1)}
    if known.any():
        match = color[known].topk(3).indices == labelled.colors[known, None]
        out |= {"color_top1": match[:, 0], "color_top3": match.any(1)}
    return {name: round(float(values.float().mean()), 4) for name, values in out.items()}


def confusion(classifier: MaterialClassifier, labelled: Labelled) -> Tensor:
    """(families, families) counts, row the true one, column the one read first."""
    material, _ = _logits(classifier, labelled.pixels)
    size = len(FAMILY_NAMES)
    index = labelled.families.float().argmax(1) * size + material.argmax(1)
    return torch.bincount(index, minlength=size * size).view(size, size).cpu()


def most_confused(counts: Tensor, most: int = 25) -> list[tuple[str, str, float]]:
    """Pairs (true, read, share of the true one's pictures), worst first."""
    share = counts / counts.sum(1, keepdim=True).clamp(min=1)
    share.fill_diagonal_(0)
    worst = share.flatten().topk(most).indices.tolist()
    size = len(counts)
    return [(FAMILY_NAMES[i // size], FAMILY_NAMES[i % size], round(float(share[i // size, i % size]), 3))
            for i in worst]  # fmt: skip


if __name__ == "__main__":
    main()
