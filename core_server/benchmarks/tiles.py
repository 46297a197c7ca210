"""Whether what should not be seen is not: the border of tiles in every seamless task, and the edge of a patch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from statistics import mean

import numpy as np

from core_server.benchmarks.default_model_pictures import Painter, Picture, given_tile, paint_all
from core_server.benchmarks.machine import machine_line
from core_server.benchmarks.report import Report, Row, Target, at_most
from core_server.benchmarks.setting import Setting
from core_server.canvas.edges import MOST
from core_server.canvas.seams import mean_ratio, seams
from core_server.training.evaluation.measures import SIDE
from core_server.training.evaluation.prompts import Question, questions

SEAM = at_most(1.05)
"""Geometric mean over the pictures; `canvas.seams` says what it compares."""
TILES, EDGES = 48, 8
"""Tiles a task; pictures a row of edges."""
_ROWS, _COLUMNS = np.mgrid[0:SIDE, 0:SIDE]
SURROUNDINGS = {
    "flat": np.full((SIDE, SIDE, 3), [0.62, 0.55, 0.45]),
    "gradient": np.stack(
        [0.25 + _COLUMNS / 640, 0.35 + _ROWS / 800, 0.6 - _COLUMNS / 960], axis=-1
    ),
}
EDGE_PROMPTS = ("smooth plaster", "grey concrete")


def run(setting: Setting) -> Report:
    """Through a server, with the model named."""
    asked = questions(2 if setting.quick else TILES)
    with setting.connect() as client:
        painter = Painter(client, setting.model, steps=2 if setting.quick else None)
        textures = [picture for picture, _ in paint_all(painter.texture, asked, "texture")]
        rows = [
            *seam_rows("texture", textures),
            *tile_rows(painter, asked),
            *edge_rows(painter, 1 if setting.quick else EDGES),
        ]
        device = client.server_info().device
    return Report("tiles", setting.command("tiles"), machine_line(device), rows)


def tile_rows(painter: Painter, asked: Sequence[Question]) -> list[Row]:
    """Seams of every task that starts from a tile, beside that tile's own."""
    tasks: dict[str, Callable[[Question], Sequence[Picture]]] = {
        "image to image": _one(painter.image_to_image),
        "inpainting across the border": _one(painter.inpaint),
        "upscaled": _one(painter.upscale),
        "outpainted along x": _one(partial(painter.outpaint, right=SIDE // 2)),
        "outpainted along y": _one(partial(painter.outpaint, bottom=SIDE // 2)),
        "material maps": painter.maps,
    }
    rows: list[Row] = []
    for title, paint in tasks.items():
        rows += _task_rows(title, paint, asked)
    return rows


def _one(paint: Callable[[Question], Picture]) -> Callable[[Question], Sequence[Picture]]:
    return lambda question: [paint(question)]


def _task_rows(
    title: str, paint: Callable[[Question], Sequence[Picture]], asked: Sequence[Question]
) -> list[Row]:
    from scumble.client import ScumbleError  # noqa: PLC0415

    try:
        painted = paint_all(paint, asked, title)
    except ScumbleError as error:  # a model or a server without this task: the rest still counts
        return [Row(f"seam ratio, {title}", None, note=str(error))]
    given = [given_tile(question) for question in asked]
    own = [tile for tile, group in zip(given, painted, strict=True) for _ in group]
    return seam_rows(title, [picture for group in painted for picture in group], start=own)


def seam_rows(
    title: str,
    pictures: Sequence[Picture],
    target: Target | None = SEAM,
    start: Sequence[Picture] = (),
) -> list[Row]:
    """start: the perfect tiles that the pictures were made from; then their own ratio is divided out."""
    rows = []
    for axis in ("x", "y"):
        found = [seams(picture)[axis] for picture in pictures]
        ratio = mean_ratio(found)
        note = (
            f"geometric mean of {len(found)}; inner lines reach {mean(seam.inside for seam in found):.2f}; "
            f"the border stands out in {mean(seam.shows for seam in found):.0%}"
        )
        if start:
            before = mean_ratio(seams(picture)[axis] for picture in start)
            note = f"{ratio:.3f} after, {before:.3f} before, in the perfect tiles given; {note}"
            ratio /= before
        rows.append(Row(f"seam ratio {axis}, {title}", ratio, "", target, note))
    return rows


def edge_rows(painter: Painter, count: int) -> list[Row]:
    """CIEDE2000 across the edge of an inpainted square above its surroundings' own, over `count` seeds."""
    rows = []
    for name, surroundings in SURROUNDINGS.items():
        document = (surroundings * 255).round().astype(np.uint8)
        for exact in (False, True):
            found = [
                painter.inpaint_square(
                    EDGE_PROMPTS[seed % len(EDGE_PROMPTS)], document, seed, exact=exact
                )
                for seed in range(count)
            ]
            kind = "exact selection" if exact else "soft edge"
            above = [edge.excess for edge in found]
            rows.append(
                Row(f"edge on {name}, {kind}", mean(above), "dE2000", at_most(MOST),
                    f"above the surroundings' own; mean of {count}, {min(above):.2f} to {max(above):.2f}; steps "
                    f"within the patch {mean(edge.within for edge in found):.2f}")
            )  # fmt: skip
    return rows
