"""Draws the pictures of docs/canvas.md with the canvas's own code: python docs/img/make_canvas_pictures.py"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from core_server.canvas.fill import fill
from core_server.canvas.geometry import Extent
from core_server.canvas.growth import Sides, grown, increments
from core_server.canvas.joint import feather_joint
from core_server.canvas.masks import make_masks, read_wrapped, selection_bounds
from core_server.canvas.plan import CanvasOptions, CanvasPlan, FillMode
from core_server.canvas.planner import plan_canvas
from core_server.commands.plan_drawing import draw_plan, resolved
from core_server.rpc.convert.canvas import to_proto_plan
from scumble.client import Pixels
from scumble.client.convert import plan_from_message

FOLDER = Path(__file__).parent
Picture = npt.NDArray[np.float32]


class Sizes:
    """A model that paints 256 to 1024 px a side."""

    min_extent = Extent(256, 256)
    max_extent = Extent(1024, 1024)
    multiple = 8


def main() -> None:
    """Writes canvas-*.jpg beside this file."""
    document = wall(1600, 1200)
    selection = np.zeros((1200, 1600), np.uint8)
    cv2.ellipse(selection, (620, 520), (170, 120), 20, 0, 360, 255, -1)
    plan = planned(document, selection, CanvasOptions())
    told = plan_from_message(to_proto_plan(plan))
    drawing = draw_plan(Pixels.from_numpy(samples(document)), selection, resolved(told, "a door"))
    save("plan", drawing.resize((drawing.width * 5 // 8, drawing.height * 5 // 8)))
    save("masks", masks(document, selection))
    save("fills", fills(document[300:812, 300:812]))
    save("growth", growth())
    save("joint", joint(document[200:520, 200:840]))


def masks(document: Picture, selection: npt.NDArray[np.uint8]) -> Image.Image:
    """The soft selection and what becomes of it."""
    soft = np.asarray(cv2.GaussianBlur(selection, (0, 0), 12), np.uint8)
    shown = []
    for exact in (False, True):
        plan = planned(document, soft, CanvasOptions(exact_selection=exact))
        context = read_wrapped(soft, plan.context).astype(np.float32) / 255
        both = make_masks(context, plan)
        inner = plan.mask.moved(-plan.context.x, -plan.context.y).slices
        if not exact:
            shown += [("selection", context[inner]), ("denoise mask", both.denoise[inner])]
        shown.append(("exact selection" if exact else "composite mask", both.composite[inner]))
    return row([(name, np.repeat(mask[..., None], 3, 2)) for name, mask in shown], 230)


def fills(image: Picture) -> Image.Image:
    """A hole, and what each mode puts there."""
    mask = np.zeros(image.shape[:2], np.float32)
    cv2.ellipse(mask, (256, 250), (95, 75), 15, 0, 360, 1, -1)
    shown = [("hole", np.where(mask[..., None] > 0, np.float32((1, 0, 1)), image))]
    for mode in (FillMode.BLUR, FillMode.NEUTRAL, FillMode.BORDER, FillMode.STRUCTURE):
        shown.append((mode.value, fill(image, mask, mode)))
    return row(shown, 200)


def growth() -> Image.Image:
    """Increments of an outpainting, numbered."""
    extent, sides = Extent(360, 240), Sides(260, 90, 70, 150)
    whole = grown(extent, sides)
    image = Image.new("RGB", whole.extent, (30, 30, 30))
    original = Image.fromarray(samples(wall(*extent)))
    image.paste(original, (sides.left, sides.top))
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(22)
    for number, step in enumerate(increments(extent, sides, 160), start=1):
        added = step.added.moved(sides.left, sides.top)
        box = (added.x, added.y, added.right - 1, added.bottom - 1)
        pen.rectangle(box, fill=(40 + 18 * number, 60, 140 - 8 * number), outline=(230, 230, 230))
        middle = (added.x + added.width // 2, added.y + added.height // 2)
        pen.text(middle, str(number), (255, 255, 255), font, anchor="mm")
    return image


def joint(image: Picture) -> Image.Image:
    """A model that paints too bright and too red, without and with the feathered joint."""
    new = np.zeros(image.shape[:2], np.bool_)
    new[:, 320:] = True
    painted = np.clip(image + np.float32((0.1, 0.03, 0.0)), 0, 1)
    plain = np.where(new[..., None], painted, image)
    return row(
        [("as painted", plain), ("joint feathered", feather_joint(painted, image, new))], 480
    )


def planned(
    document: Picture, selection: npt.NDArray[np.uint8], options: CanvasOptions
) -> CanvasPlan:
    """At full strength."""
    extent = Extent(document.shape[1], document.shape[0])
    return plan_canvas(extent, selection_bounds(selection), options, 1.0, Sizes())


def wall(width: int, height: int) -> Picture:
    """Bricks in uneven light; float32 sRGB."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    rows = (y // 40).astype(int)
    columns = ((x + rows % 2 * 45) // 90).astype(int)
    tone = rng.uniform(0.75, 1.1, (rows.max() + 1, columns.max() + 1, 1))
    brick = np.float32((0.62, 0.3, 0.22)) * tone[rows, columns]
    grain = cv2.GaussianBlur(rng.normal(0, 1, (height, width)), (0, 0), 1.5)[..., None] * 0.08
    joints = ((y % 40 < 5) | ((x + rows % 2 * 45) % 90 < 5))[..., None]
    light = (0.75 + 0.4 * (x / width) - 0.15 * (y / height))[..., None]
    colour = np.where(joints, np.float32((0.62, 0.6, 0.56)), brick) + grain
    return np.asarray(np.clip(cv2.GaussianBlur(colour * light, (0, 0), 0.8), 0, 1), np.float32)


def row(shown: list[tuple[str, npt.NDArray[Any]]], width: int) -> Image.Image:
    """Pictures side by side with their names below."""
    height = round(width * shown[0][1].shape[0] / shown[0][1].shape[1])
    sheet = Image.new("RGB", (len(shown) * (width + 6) - 6, height + 26), (255, 255, 255))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for number, (name, image) in enumerate(shown):
        left = number * (width + 6)
        small = Image.fromarray(samples(image)).resize((width, height), Image.Resampling.LANCZOS)
        sheet.paste(small, (left, 0))
        pen.text((left + width // 2, height + 4), name, (0, 0, 0), font, anchor="ma")
    return sheet


def samples(image: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """0..1 to 8 bit."""
    return np.ascontiguousarray((np.clip(image, 0, 1) * 255).round().astype(np.uint8))


def save(name: str, image: Image.Image) -> None:
    """docs/img/canvas-NAME.jpg."""
    image.convert("RGB").save(FOLDER / f"canvas-{name}.jpg", quality=85, optimize=True)


if __name__ == "__main__":
    main()
