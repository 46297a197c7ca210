"""One training command: its arguments, clock, log, folders and compiler processes."""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import torch

from core_server.training.default_model.team import Team
from core_server.training.default_model.vocabulary import train_vocabulary

DESCRIPTION = """Train the embedded default model.

docs/default-model.md holds the recipe, the commands that made the committed weights and what they
measured. On one GPU:

    python -m core_server.training.train_default_model --out OUT --photos ambientcg128/ \\
        --autoencoder-seconds 240 --unet-seconds 2400 --final-lr-share 0.02

On several, one process each:

    python -m core_server.training.launch 2 --out OUT ...

Several shorter commands do the same: each ends with the whole pipeline folder under OUT, and
`--resume FOLDER` starts from one. `--work DIR` keeps the exact state for the next command on the
same machine."""


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=DESCRIPTION, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="where the pipeline folder and the log go")
    add("--resume", type=Path, help="a pipeline folder to go on from")
    add("--work", type=Path, help="machine-local folder for exact state and latents")
    add("--photos", type=Path, help="folder of CC0 material photographs (ambientCG thumbnails)")
    add("--pool", type=int, default=131072, help="rendered pictures in each process")
    add("--pool-seconds", type=float, default=60, help="stop rendering after this long")
    add("--large-pool", type=int, default=0, help="rendered pictures of twice the side")
    add("--large-every", type=int, default=4, help="every so many steps a batch of those")
    add("--autoencoder-seconds", type=float, default=0)
    add("--sharpness-seconds", type=float, default=0)
    add("--decoder-seconds", type=float, default=0, help="train the lighter decoder")
    add("--unet-seconds", type=float, default=0)
    add("--few-step-seconds", type=float, default=0, help="train the few-step adapter")
    add("--few-step-guidance", type=float, default=2.5, help="the guidance folded into it")
    add("--maps-seconds", type=float, default=0, help="train the picture-to-maps network")
    add("--maps-pool", type=int, default=20000, help="renders the maps network trains on")
    add("--maps-lr", type=float, default=1e-3)
    add("--until", type=float, default=0, help="seconds after the start at which training must end")
    add("--batch", type=int, default=256, help="pictures a step in each process")
    add("--peak-lr", type=float, default=6e-4)
    add("--final-lr-share", type=float, default=1.0)
    add("--decay-share", type=float, default=0.3)
    add("--warmup-steps", type=int, default=300)
    add("--photo-share", type=float, default=0.1)
    add("--seed", type=int, default=0)
    add("--marks", type=float, nargs="*", default=[0.5])
    add("--max-steps", type=int)
    add("--size", type=int, default=256, help="picture side in pixels")
    add("--workers", type=int, default=10, help="caption processes; 0 writes them in this one")
    add("--judge-seconds", type=float, default=0, help="train a judge and score the samples")
    add("--no-compile", action="store_true")
    add("--profile", action="store_true", help="write where the time of a few steps goes")
    add("--compile-only", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


class Run:
    """What every stage shares."""

    def __init__(self, args: argparse.Namespace, team: Team) -> None:
        self.args, self.team, self.began = args, team, time.monotonic()
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.folder: Path = args.out / "default_model"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.compiler: subprocess.Popen[bytes] | None = None
        self.seed: int = args.seed * 64 + team.rank
        torch.manual_seed(self.seed)
        random.seed(self.seed)
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
        if args.work:
            args.work.mkdir(parents=True, exist_ok=True)

    def log(self, event: str, **values: object) -> None:
        """Print one line and append it to training.jsonl (of this process, if there are several)."""
        entry = {"seconds": round(time.monotonic() - self.began, 1), "event": event, **values}
        text = json.dumps(entry)
        sys.stdout.write((text if self.team.leads else f"[{self.team.rank}] {text}") + "\n")
        sys.stdout.flush()
        name = "training.jsonl" if self.team.leads else f"training-{self.team.rank}.jsonl"
        with (self.args.out / name).open("a", encoding="utf-8") as file:
            file.write(text + "\n")

    def work_file(self, name: str) -> Path | None:
        """A file of this process in the machine-local folder, if there is one."""
        return self.args.work / f"{self.team.rank}-{name}" if self.args.work else None

    def tokenizer(self) -> Path:
        """The folder of the tokenizer: the resumed one, or one trained now."""
        if self.args.resume and (self.args.resume / "tokenizer" / "vocab.json").exists():
            return Path(self.args.resume / "tokenizer")
        folder = self.folder / "tokenizer"
        if self.team.leads and not (folder / "vocab.json").exists():
            train_vocabulary(folder)
        self.team.agree(0.0, self.device)
        return folder

    def start_compiling(self) -> None:
        """Compile the UNet in another process while this one renders and encodes.

        Of several processes the first compiles for the usual size and the last for the double one:
        the cache on disk serves all.
        """
        args = self.args
        if self.device == "cpu" or args.no_compile or not args.unet_seconds:
            return
        size, batch = args.size, args.batch
        if self.team.size > 1 and not self.team.leads:
            if self.team.rank < self.team.size - 1 or not args.large_pool:
                return
            size, batch = 2 * size, max(1, batch // 4)
        command = [sys.executable, "-m", "core_server.training.train_default_model"]
        command += ["--compile-only", "--size", str(size), "--batch", str(batch)]
        command += ["--out", str(args.out)]
        if args.resume:
            command += ["--resume", str(args.resume)]
        alone = {
            k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        }
        self.compiler = subprocess.Popen(command, env=alone)
