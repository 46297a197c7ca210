"""Pictures from request to pixels in the client, by models of full size with random weights made on the device.

`--model` names cases (sd15, sdxl, klein, z-image), with commas; `--against diffusers` paints the same pictures by stock
diffusers in the same run, in turns, and compares the pixels with its; `--denoiser-precision` paints them all in that
precision, too, and compares with the pictures without.

The server may paint several pictures at once (`[batching]`), which only many clients that ask for alike pictures bring
about: for the figure without, each asks for a guidance of its own.
"""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from core_server.benchmarks.image_cases import CASES, PROMPT, QUICK_SIDE, QUICK_STEPS, SEED
from core_server.benchmarks.machine import machine_line
from core_server.benchmarks.made_models import need_model
from core_server.benchmarks.other_side import other_side
from core_server.benchmarks.report import Report, Row, at_least, at_most
from core_server.benchmarks.setting import Setting
from core_server.benchmarks.timing import only, timed

if TYPE_CHECKING:
    from scumble.client import Client, Job, Patch

CLIENTS, JOBS_EACH, JOBS_EACH_AT_ONCE = 8, 1, 2
AT_ONCE = 4
"""Pictures of a pass, where several are painted at once."""
MOST_LATER, DECIBELS = 3.0, 40.0
"""What the first picture may take more than the next ones, seconds; how like stock diffusers pictures must be."""
TRANSFORMERS = ("klein", "z-image")
COMPILE_SECONDS = 120.0
"""How long a case waits for the tier that compiles transformers."""
PER_SECOND = 1.3
"""SDXL pictures a second for many clients."""
MANY = ("sd15", "sdxl")
"""Cases with a figure for them: those whose pictures can be painted at once."""
_UNLIKE = 2.0**-10
"""A difference of guidance that nobody sees."""

Picture = npt.NDArray[np.float32]


def run(setting: Setting) -> Report:
    """Every case named, one after the other, on one server.

    With `--out` each figure is kept in its images.jsonl as soon as it is known.
    """
    fresh = setting.need_fresh()
    names = setting.model.split(",")
    rows: list[Row] = []
    details: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="scumble-bench-") as folder:
        data_dir = setting.out or Path(folder)
        for name in names:
            need_model(name, data_dir, setting)
        config, most = data_dir / "config.toml", AT_ONCE * max(CASES[it].side for it in names) ** 2
        if not config.exists():
            config.write_text(
                f"[batching]\npictures = {AT_ONCE}\nmax_pixels = {most}\n", encoding="utf-8"
            )
        with fresh(data_dir) as client:
            device = client.server_info().device
            for name in names:
                case = _Case(name, setting, client, data_dir)
                for row in case.measured():
                    rows.append(row)
                    # A long run that is ended early leaves what it has found.
                    with (data_dir / "images.jsonl").open("a", encoding="utf-8") as stream:
                        stream.write(json.dumps({"case": name} | asdict(row)) + "\n")
                details[name] = case.details
    return Report("images", setting.command("images"), machine_line(device), rows, details)


def _decibels(picture: Picture, expected: Picture) -> float:
    """PSNR; 99 for the same numbers."""
    error = float(np.mean((picture - expected) ** 2))
    return 99.0 if error == 0 else float(-10 * np.log10(error))


class _Case:
    def __init__(self, name: str, setting: Setting, client: Client, data_dir: Path) -> None:
        self.name, self.case = name, CASES[name]
        self.setting, self.client, self.data_dir = setting, client, data_dir
        self.side = QUICK_SIDE if setting.quick else self.case.side
        self.steps = QUICK_STEPS if setting.quick else self.case.steps
        self.seconds: dict[str, list[float]] = {"ours": [], "stock": []}
        self.recipe: dict[str, Any] = {}

    @property
    def details(self) -> dict[str, Any]:
        """All seconds, and which tiers painted."""
        tiers = {key: self.recipe[key] for key in ("kernels", "launched")}
        return {"seconds": self.seconds} | tiers

    def measured(self) -> Iterator[Row]:
        """Each figure as soon as it is known."""
        name, ours = self.name, self.seconds["ours"]
        yield Row(f"{name}: loading", timed(lambda: self.client.load_model(name)), "s")
        first = self.seconds["first"] = [self._timed()]
        yield Row(f"{name}: first picture", first[0], "s", note="after the model is resident")
        yield from self._compiled()
        picture = self.paint()
        same = bool((picture == self.paint()).all())
        yield Row(f"{name}: twice the same bits", float(same), "", at_least(1.0))
        target = at_most(self.case.seconds) if self.case.seconds else None
        title = f"{self.case.title}, {self.side} px, {self.steps} steps"
        for _ in range(self.setting.runs):
            ours.append(self._timed())
        tiers = f"kernels: {self.recipe['kernels']}; launched: {self.recipe['launched']}"
        yield Row(title, median(ours), "s", target, f"request to pixels, median of {len(ours)}; {tiers}",
                  headline=True)  # fmt: skip
        yield Row(f"{name}: first picture, above the next ones", first[0] - median(ours), "s",
                  at_most(MOST_LATER), headline=True)  # fmt: skip
        yield from self._many_clients()
        if self.setting.precision:
            yield from self._in(self.setting.precision, picture)
        if self.setting.against:
            yield from self._against(picture)

    def _compiled(self) -> Iterator[Row]:
        """Paints until a transformer's blocks are compiled, so that what follows is painted by one tier."""
        device = self.client.server_info().device
        if not device.startswith("cuda") or self.name not in TRANSFORMERS:
            return
        before, start = [self._timed() for _ in range(2)], perf_counter()
        while "compiled" not in self.recipe["kernels"] and perf_counter() - start < COMPILE_SECONDS:
            sleep(1.0)
            self.paint()
        took = perf_counter() - start
        note = f"kernels: {self.recipe['kernels']}"
        yield Row(
            f"{self.name}: before its blocks are compiled", min(before), "s", note="best of 2"
        )
        yield Row(f"{self.name}: until its blocks are compiled", took, "s", note=note)

    def _in(self, precision: str, picture: Picture) -> Iterator[Row]:
        """The same pictures with the denoiser's products in that precision."""
        name, seconds = f"{self.name} in {precision}", self.seconds.setdefault(precision, [])
        first = self._timed(precision)
        yield Row(f"{name}: first picture", first, "s", note="weights are turned, kernels compiled")
        found = self.paint(precision=precision)
        same = bool((found == self.paint(precision=precision)).all())
        yield Row(f"{name}: twice the same bits", float(same), "", at_least(1.0))
        yield Row(
            f"{name}: likeness to the pictures without",
            _decibels(found, picture),
            "dB",
            headline=True,
        )
        for _ in range(self.setting.runs):
            seconds.append(self._timed(precision))
        yield Row(
            name, median(seconds), "s", note=f"kernels: {self.recipe['kernels']}", headline=True
        )
        yield from self._many_clients(precision)

    def _against(self, picture: Picture) -> Iterator[Row]:
        """Stock diffusers, in turns with ours from now on."""
        name, ours, theirs = self.name, self.seconds["ours"], self.seconds["stock"]
        keep = self.data_dir / f"{name}.npy"
        device = "cuda" if self.setting.device == "auto" else self.setting.device
        folder = self.data_dir / "models" / name
        arguments = (name, folder, device, self.side, self.steps, keep)
        with other_side("stock_images", *arguments) as stock:
            stock()
            expected = np.load(keep)
            contrast = float(expected.max() - expected.min())
            yield Row(f"{name}: likeness to stock", _decibels(picture, expected), "dB",
                      at_least(DECIBELS), f"PSNR; the picture itself spans {contrast:.2f} of 1",
                      headline=True)  # fmt: skip
            for _ in range(self.setting.runs):
                theirs.append(stock())
                ours.append(self._timed())
        yield Row(f"{name}: stock diffusers", median(theirs), "s",
                  note="eager, same weights, same run, in turns", headline=True)  # fmt: skip
        yield Row(f"{name}: times faster", median(theirs) / median(ours[-len(theirs):]), "",
                  headline=True)  # fmt: skip

    def paint(
        self, client: Client | None = None, seed: int = SEED, precision: str = "", unlike: int = 0
    ) -> Picture:
        """(height, width, 3) sRGB 0..1, for comparisons. unlike: other numbers are never painted at once."""
        return _unit(self._patch(client, seed, precision, unlike))

    def _timed(self, precision: str = "") -> float:
        """Seconds from request to the client's pixels, which are what the server sent: 8 bits."""

        def received() -> None:
            self._patch(precision=precision).pixels.numpy()

        return timed(received)

    def _patch(
        self, client: Client | None = None, seed: int = SEED, precision: str = "", unlike: int = 0
    ) -> Patch:
        patch = only(self._submit(client or self.client, seed, precision, unlike).result())
        self.recipe = dict(patch.recipe)
        return patch

    def _submit(
        self, client: Client, seed: int, precision: str, unlike: int = 0, count: int = 1
    ) -> Job:
        from scumble.client import TextToImage  # noqa: PLC0415

        return client.submit(
            TextToImage(
                PROMPT, self.side, self.side, model=self.name, num_inference_steps=self.steps,
                guidance_scale=self.case.guidance_scale + unlike * _UNLIKE, seed=seed, count=count,
                denoiser_precision=precision or None,
            )
        )  # fmt: skip

    def _many_clients(self, precision: str = "") -> Iterator[Row]:
        """One after the other, and several at once."""
        if self.name not in MANY:
            return
        name = f"{self.name} in {precision}" if precision else self.name
        target = at_least(PER_SECOND) if self.name == "sdxl" else None
        jobs = 1 if self.setting.quick else JOBS_EACH
        rate, _ = self._rate(precision, jobs, at_once=False)
        yield Row(f"{name}: {CLIENTS} clients", rate, "pictures/s", target,
                  f"{jobs} pictures each, one after the other", headline=True)  # fmt: skip
        for count in (AT_ONCE, AT_ONCE // 2):  # graphs are recorded
            self._submit(self.client, SEED, precision, count=count).result()
        jobs = 1 if self.setting.quick else JOBS_EACH_AT_ONCE
        rate, found = self._rate(precision, jobs, at_once=True)
        shared = [it for it in found if it.recipe.get("batch", 1) > 1]
        told = f"{jobs} pictures each, {len(shared)} of {len(found)} painted {AT_ONCE} or {AT_ONCE // 2} at once"
        if shared:
            alone = self.paint(seed=int(shared[0].seed), precision=precision)
            told += f"; one of them to itself alone: {_decibels(_unit(shared[0]), alone):.1f} dB"
        yield Row(f"{name}: {CLIENTS} clients, up to {AT_ONCE} at once", rate, "pictures/s",
                  target, told, headline=True)  # fmt: skip

    def _rate(self, precision: str, jobs: int, *, at_once: bool) -> tuple[float, list[Patch]]:
        """Pictures a second of many clients with so many jobs each, and the pictures."""
        import scumble.client  # noqa: PLC0415

        clients = [scumble.client.connect(data_dir=self.data_dir) for _ in range(CLIENTS)]
        found: list[Patch] = []

        def work(number: int, client: Client) -> None:
            unlike = 0 if at_once else number + 1
            asked = [self._submit(client, 100 * number + k, precision, unlike) for k in range(jobs)]
            found.extend(only(job.result()) for job in asked)

        threads = [threading.Thread(target=work, args=it) for it in enumerate(clients)]
        start = perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rate = len(found) / (perf_counter() - start)
        for client in clients:
            client.close()
        return rate, found


def _unit(patch: Patch) -> Picture:
    return np.asarray(patch.pixels.numpy()[..., :3] / np.float32(255), np.float32)
