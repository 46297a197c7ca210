"""What the canvas costs: planning alone, and a small selection in a small and in a large document."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from core_server.benchmarks.machine import machine_line
from core_server.benchmarks.report import Report, Row, at_most
from core_server.benchmarks.setting import Setting
from core_server.benchmarks.timing import noise_picture, only, timed
from core_server.canvas.geometry import Bounds as PlannedBounds
from core_server.canvas.geometry import Extent as PlannedExtent
from core_server.canvas.masks import make_masks
from core_server.canvas.plan import CanvasOptions, SeamlessAxes
from core_server.canvas.planner import plan_canvas

if TYPE_CHECKING:
    from scumble.client import CanvasPlan, Client, Patch

DOCUMENT, SELECTION, STEPS = 4096, 512, 2
PLAN_MS = 1.0
LIKE_CONTEXT = 1.15
"""A document of 64 times the pixels may cost so much of what its context alone costs."""


@dataclass(frozen=True)
class _Sizes:
    """What the planner asks of a model."""

    min_extent: PlannedExtent
    max_extent: PlannedExtent
    multiple: int


_MODEL = _Sizes(PlannedExtent(256, 256), PlannedExtent(1024, 1024), 8)


#: name -> document, selection, options: the kinds of work a planner meets
_CASES = {
    "512 px in 4096": ((4096, 4096), (1700, 1900, 512, 512), CanvasOptions()),
    "60 px, enlarged": ((2048, 2048), (900, 700, 60, 60), CanvasOptions()),
    "3000 px, two passes": ((8192, 8192), (2000, 2000, 3000, 3000), CanvasOptions()),
    "sliver": ((1000, 4096), (0, 5, 1, 4000), CanvasOptions(feather=3)),
    "around the border": ((2048, 2048), (1900, 300, 400, 400), CanvasOptions(seamless=SeamlessAxes.XY)),
}  # fmt: skip


def run(setting: Setting) -> Report:
    """Planning in this process; the rest through the server, with the model named."""
    rows = [*_planning(200 if setting.quick else 2000), _mask_row(256 if setting.quick else 2048)]
    document, selection = (1024, 128) if setting.quick else (DOCUMENT, SELECTION)
    with setting.connect() as client:
        trip = _Trip(client, setting.model, document, selection)
        plans = [timed(trip.plan) for _ in range(20)]
        large, context, pastes = [], [], []
        trip.whole()
        trip.context_alone()
        for _ in range(setting.runs):
            large.append(timed(trip.whole))
            context.append(timed(trip.context_alone))
            pastes.append(trip.paste_seconds)
        device = client.server_info().device
        cut = trip.planned.context
    megapixels = document**2 / (cut.width * cut.height)
    rows += [
        Row("PlanCanvas over gRPC", median(plans) * 1000, "ms", note="a call to the server and back"),
        Row(f"{selection} px of {document} x {document}", min(large), "s", headline=True,
            note=f"plan, cut, paint, paste; fastest of {setting.runs}"),
        Row("its context as a document", min(context), "s",
            note=f"{cut.width} x {cut.height} px: {megapixels:.0f} times fewer pixels"),
        Row("ratio to its context", min(large) / min(context), "", at_most(LIKE_CONTEXT),
            headline=True),
        Row("of it paste", median(pastes) * 1000, "ms", note="copies the document once"),
    ]  # fmt: skip
    return Report("canvas", setting.command("canvas"), machine_line(device), rows)


def _planning(repeats: int) -> list[Row]:
    slowest, name_of_slowest = 0.0, ""
    for name, (document, selection, options) in _CASES.items():
        seconds = []
        for _ in range(repeats):
            start = perf_counter()
            plan_canvas(PlannedExtent(*document), PlannedBounds(*selection), options, 1.0, _MODEL)
            seconds.append(perf_counter() - start)
        if median(seconds) > slowest:
            slowest, name_of_slowest = median(seconds), name
    return [
        Row("planning", slowest * 1000, "ms", at_most(PLAN_MS), headline=True,
            note=f"median of {repeats}, slowest of {len(_CASES)} cases: {name_of_slowest}")
    ]  # fmt: skip


def _mask_row(side: int) -> Row:
    """Masks of a round selection that fills a square context of `side` px."""
    extent = PlannedExtent(side, side)
    inner = PlannedBounds(side // 4, side // 4, side // 2, side // 2)
    plan = plan_canvas(extent, inner, CanvasOptions(padding=side), 1.0, _MODEL)
    y, x = np.mgrid[:side, :side] - side / 2
    selection = (np.hypot(x, y) < side / 4).astype(np.float32)
    context = plan.context
    selection = selection[context.y : context.bottom, context.x : context.right]
    seconds = median(timed(lambda: make_masks(selection, plan)) for _ in range(5))
    return Row("masks", seconds * 1000 / (selection.size / 1e6), "ms/Mpx",
               note=f"denoise and composite mask at {context.width} x {context.height} px")  # fmt: skip


class _Trip:
    """One selection in one document, as a host goes through it; noise, so that nothing is known."""

    def __init__(self, client: Client, model: str, document: int, selection: int) -> None:
        from scumble.client import Bounds  # noqa: PLC0415

        self.client, self.model, self.seed = client, model, 0
        self.document = noise_picture(1, document, document)
        start = (document - selection) // 2
        self.selection = Bounds(start, start, selection, selection)
        self.planned = self.plan()
        self.paste_seconds = 0.0

    def plan(self) -> CanvasPlan:
        """The plan in the large document."""
        return self.client.plan(self.document.extent, self.selection, model=self.model)

    def whole(self) -> None:
        """Plan, cut the context, paint it and paste it into the large document."""
        from scumble.client import paste  # noqa: PLC0415

        plan = self.plan()
        patch = self._paint(plan)
        start = perf_counter()
        assert paste(self.document, patch).extent == self.document.extent
        self.paste_seconds = perf_counter() - start

    def context_alone(self) -> None:
        """The same painting, in a document that is no larger than the context."""
        self._paint(self.planned)

    def _paint(self, plan: CanvasPlan) -> Patch:
        from scumble.client import ColorSpace, Inpaint, Pixels  # noqa: PLC0415

        box, inner = plan.context, plan.selection
        self.seed += 1
        picture = self.document.numpy()[box.y : box.bottom, box.x : box.right].copy()
        picture[0, 0, 0] = self.seed % 256  # a new picture: the server would know the old one
        mask = np.zeros((box.height, box.width), np.uint8)
        top, left = inner.y - box.y, inner.x - box.x
        mask[top : top + inner.height, left : left + inner.width] = 255
        request = Inpaint(
            "stone", Pixels.from_numpy(picture), Pixels.from_numpy(mask, ColorSpace.NON_COLOR),
            plan=plan, model=self.model, num_inference_steps=STEPS, seed=self.seed,
        )  # fmt: skip
        return only(self.client.submit(request).result())
