"""One golden case: read, planned, painted by a model that inverts colours, pasted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from core_server.canvas.colour import from_unit
from core_server.canvas.fill import fill
from core_server.canvas.geometry import Extent
from core_server.canvas.masks import make_masks, read_wrapped, selection_bounds
from core_server.canvas.pixels import Pixels
from core_server.canvas.plan import CanvasOptions, CanvasPlan, FillMode
from core_server.canvas.planner import plan_canvas, resolve
from core_server.canvas.rendition import Rendition
from core_server.pipelines.passes import Pass, paint_context, passes_of, unchanged
from core_server.rpc.convert.canvas import to_proto_plan
from scumble.client import Bounds, Patch, paste
from scumble.client import CanvasPlan as ClientPlan
from scumble.client import Pixels as ClientPixels
from scumble.client.convert import plan_from_message

CASES = Path(__file__).parent / "cases"


@dataclass(frozen=True)
class Sizes:
    """A model that paints 64 to 256 px a side."""

    min_extent: Extent = Extent(64, 64)  # noqa: RUF009
    max_extent: Extent = Extent(256, 256)  # noqa: RUF009
    multiple: int = 8


def names() -> list[str]:
    """The cases, by folder."""
    return sorted(path.name for path in CASES.iterdir() if path.is_dir())


def make(case: Path) -> tuple[CanvasPlan, npt.NDArray[Any]]:
    """Plan and composite of a case. options.json: `strength`, `prompt` and `options` as in CanvasOptions."""
    told = json.loads((case / "options.json").read_text())
    document = Pixels(read(case / "document.png"))
    selection = read(case / "selection.png")[..., 0]
    options = msgspec.convert(told["options"], CanvasOptions)
    strength = told["strength"]
    bounds = selection_bounds(selection, options.seamless)
    plan = plan_canvas(document.extent, bounds, options, strength, Sizes(), max_pixels=90_000)
    intent, mode = resolve(plan.intent, plan.fill, told["prompt"])
    plan = msgspec.structs.replace(plan, intent=intent, fill=mode)
    context = Rendition.of(Pixels(read_wrapped(document.array, plan.context)))
    soft = read_wrapped(selection, plan.context).astype(np.float32) / np.float32(255)
    masks = make_masks(soft, plan)
    image = fill(context.rgb, masks.denoise, mode, plan.wrapped_axes(plan.context))
    passes = passes_of(plan, 8, strength, Sizes.multiple)
    painted = paint_context(image, masks.denoise, passes, _inverted)
    seen = paint_context(image, masks.denoise, passes, unchanged)
    inner = plan.mask.moved(-plan.context.x, -plan.context.y)
    shown = None if mode is FillMode.NONE else 1 - masks.denoise[inner.slices]
    patch = context.cut(inner).restore(painted[inner.slices], seen[inner.slices], shown)
    composite = from_unit(masks.composite[inner.slices], np.dtype(np.uint8))[..., None]
    whole = paste(
        ClientPixels.from_numpy(document.array),
        Patch(
            pixels=ClientPixels.from_numpy(patch.array),
            seed=0,
            recipe={},
            bounds=Bounds(*plan.mask),
            composite_mask=ClientPixels.from_numpy(composite, "non_color"),
            plan=_client_plan(plan),
        ),
    )
    return plan, whole.numpy()


def plan_text(plan: CanvasPlan) -> str:
    """The plan as it is kept: JSON, one field a line."""
    fields = msgspec.to_builtins(plan)
    return (
        "{\n"
        + ",\n".join(f'  "{key}": {json.dumps(value)}' for key, value in fields.items())
        + "\n}\n"
    )


def read(path: Path) -> npt.NDArray[Any]:
    """(height, width, channels) of a PNG."""
    array = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if array.ndim == 2:
        return array[..., None]
    return np.ascontiguousarray(array[..., [2, 1, 0, 3][: array.shape[2]]])


def write(path: Path, array: npt.NDArray[Any]) -> None:
    """The way back of `read`."""
    swapped = array[..., [2, 1, 0, 3][: array.shape[2]]] if array.shape[2] > 1 else array
    cv2.imwrite(str(path), swapped, [cv2.IMWRITE_PNG_COMPRESSION, 9])


def _inverted(_: Pass, image: npt.NDArray[Any], mask: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.where(mask[..., None] > 0, 1 - image, image).astype(np.float32)


def _client_plan(plan: CanvasPlan) -> ClientPlan:
    return plan_from_message(to_proto_plan(plan))
