"""The pictures of the default-model suite, painted as a host paints them: client, server, worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from core_server.benchmarks.timing import only
from core_server.canvas.edges import Edge, edge_of
from core_server.training.evaluation.measures import SIDE, true_picture
from core_server.training.evaluation.prompts import Question

if TYPE_CHECKING:
    from scumble.client import Client

Picture = npt.NDArray[np.uint8]
STRENGTH = 0.6
SELECTION = SIDE // 2
"""Side of the selection that lies around the tile's corner, across both borders."""


def given_tile(question: Question) -> Picture:
    """What the tasks start from: a true tile that begins anywhere. The generator lays borders where it changes least,
    which is beside joints; a texture artist's tile may be cut in the middle of a brick.
    """
    start = np.random.default_rng(question.seed).integers(SIDE, size=2)
    return np.ascontiguousarray(np.roll(true_picture(question), tuple(start), (0, 1)))


@dataclass(frozen=True)
class Painter:
    """Paints with one model; steps: None takes the model's default. structure: what `texture` starts from."""

    client: Client
    model: str
    steps: int | None = None
    structure: str = "auto"

    def texture(self, question: Question, side: int = SIDE) -> tuple[Picture, dict[str, Any]]:
        """A tile from the prompt alone, and its recipe."""
        from scumble.client import TextToImage  # noqa: PLC0415

        request = TextToImage(
            question.prompt, side, side, seed=question.seed, structure=self.structure,
            **self._common(),
        )  # fmt: skip
        patch = only(self.client.submit(request).result())
        return patch.pixels.numpy()[..., :3], patch.recipe

    def image_to_image(self, question: Question) -> Picture:
        """A true tile of the family in its own colour, repainted in the asked one."""
        from scumble.client import ImageToImage, Pixels  # noqa: PLC0415

        picture = Pixels.from_numpy(given_tile(question))
        request = ImageToImage(
            question.prompt, picture, strength=STRENGTH, seed=question.seed, **self._common()
        )
        return only(self.client.submit(request).result()).pixels.numpy()[..., :3]

    def inpaint(self, question: Question) -> Picture:
        """A true tile whose corner is selected, half the tile wide, across both borders."""
        from scumble.client import (  # noqa: PLC0415
            Bounds,
            CanvasOptions,
            ColorSpace,
            Inpaint,
            Pixels,
            SeamlessAxes,
            paste,
        )

        document = Pixels.from_numpy(given_tile(question))
        selection = Bounds(SIDE - SELECTION // 2, SIDE - SELECTION // 2, SELECTION, SELECTION)
        options = CanvasOptions(seamless=SeamlessAxes.XY)
        plan = self.client.plan(document.extent, selection, model=self.model, options=options)
        mask = np.zeros((SIDE, SIDE, 1), np.uint8)
        near = np.r_[0 : SELECTION // 2, SIDE - SELECTION // 2 : SIDE]
        mask[np.ix_(near, near)] = 255
        rows = np.arange(plan.context.y, plan.context.bottom) % SIDE
        columns = np.arange(plan.context.x, plan.context.right) % SIDE
        grid = np.ix_(rows, columns)
        request = Inpaint(
            question.prompt, Pixels.from_numpy(document.numpy()[grid]),
            Pixels.from_numpy(mask[grid], ColorSpace.NON_COLOR), plan=plan, seed=question.seed,
            **self._common(),
        )  # fmt: skip
        return paste(document, only(self.client.submit(request).result())).numpy()[..., :3]

    def maps(self, question: Question) -> list[Picture]:
        """The material maps of a true tile, each as three channels."""
        from scumble.client import MaterialMaps, Pixels  # noqa: PLC0415

        request = MaterialMaps(Pixels.from_numpy(given_tile(question)), seamless="xy")
        patches = self.client.submit(request).result()
        maps = [patch.pixels.numpy() for patch in patches if patch.map_name != "base_color"]
        return [np.repeat(m, 3, 2) if m.shape[2] == 1 else m[..., :3] for m in maps]

    def upscale(self, question: Question) -> Picture:
        """A true tile at twice its size."""
        from scumble.client import Pixels, Upscale  # noqa: PLC0415

        request = Upscale(
            Pixels.from_numpy(given_tile(question)), factor=2, prompt=question.prompt,
            seed=question.seed, **self._common(),
        )  # fmt: skip
        return only(self.client.submit(request).result()).pixels.numpy()[..., :3]

    def outpaint(self, question: Question, *, right: int = 0, bottom: int = 0) -> Picture:
        """A true tile, larger by so many px."""
        from scumble.client import Outpaint, Pixels  # noqa: PLC0415

        picture = Pixels.from_numpy(given_tile(question))
        request = Outpaint(
            question.prompt, picture, right=right, bottom=bottom, seed=question.seed,
            **self._common(),
        )  # fmt: skip
        return only(self.client.submit(request).result()).pixels.numpy()[..., :3]

    def inpaint_square(self, prompt: str, document: Picture, seed: int, *, exact: bool) -> Edge:
        """The edge of a square painted in the middle of a document, a third of its side."""
        from scumble.client import (  # noqa: PLC0415
            Bounds,
            CanvasOptions,
            ColorSpace,
            Inpaint,
            Pixels,
            paste,
        )

        pixels, side = Pixels.from_numpy(document), document.shape[0]
        inner = Bounds(side // 3, side // 3, side // 3, side // 3)
        mask = np.zeros((side, side, 1), np.uint8)
        mask[inner.y : inner.bottom, inner.x : inner.right] = 255
        plan = self.client.plan(
            pixels.extent, inner, model=self.model, options=CanvasOptions(exact_selection=exact)
        )
        box = np.s_[plan.context.y : plan.context.bottom, plan.context.x : plan.context.right]
        request = Inpaint(
            prompt, Pixels.from_numpy(document[box].copy()),
            Pixels.from_numpy(mask[box].copy(), ColorSpace.NON_COLOR), plan=plan, seed=seed,
            **{**self._common(), "seamless": "none"},
        )  # fmt: skip
        patch = only(self.client.submit(request).result())
        assert patch.composite_mask is not None
        weight = np.zeros((side, side), np.float32)
        at = np.s_[plan.mask.y : plan.mask.bottom, plan.mask.x : plan.mask.right]
        weight[at] = patch.composite_mask.numpy()[..., 0] / 255
        return edge_of(paste(pixels, patch).numpy()[..., :3] / np.float32(255), weight)

    def _common(self) -> dict[str, Any]:
        return {"model": self.model, "seamless": "xy", "num_inference_steps": self.steps}


def paint_all(
    painter: Callable[[Question], Any], asked: Sequence[Question], title: str
) -> list[Any]:
    """One after the other, with a progress bar on stderr."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import track  # noqa: PLC0415

    bar = track(asked, title, console=Console(stderr=True), transient=True)
    return [painter(question) for question in bar]
