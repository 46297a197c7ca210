"""Project from view: paint what cameras see of an object, one after the other, and bake it into its texture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .bake import Subject, bleed, render, texels_seen
from .errors import Refused
from .pictures import Picture, Source
from .raster import Floats, covered, tiles_of
from .repaint import inpaint_of, to_pixels
from .request import DEFAULT_OPTIONS, Ask, Options
from .views import View

if TYPE_CHECKING:
    from scumble.client import Client, Patch

_SAME = 0.1
"""Difference between what the model got and gave, 0..1, from which nothing of the old detail is kept."""
_SEEN = 0.02  # share of a texel's paint that is still missing below which a later camera leaves it alone
_MARGIN = 8  # px carried into the gutter


@dataclass(frozen=True, slots=True)
class ProjectRequest:
    """Paint `subject`'s texture from `views`, each only where the earlier ones did not see it."""

    prompt: str
    source: Source
    subject: Subject
    views: tuple[View, ...]
    seed: int
    strength: float = 1.0
    depth_control: bool = False
    """Steer the shape by depth; the server refuses it where the model has no such network."""
    options: Options = DEFAULT_OPTIONS

    def paint(self, client: Client, ask: Ask) -> tuple[Picture, ...]:
        """One picture: the texture. Raises Refused where no camera sees anything of it."""
        before = self.source.to_wire()
        whole = 255.0 if before.dtype == np.uint8 else 1.0
        texture = before[::-1, :, :3].astype(np.float64) / whole
        done = np.zeros(texture.shape[:2])
        patch: Patch | None = None
        for number, view in enumerate(self.views):
            painted = self._from_view(
                client, ask, view, texture, done, share=(number, len(self.views))
            )
            patch = painted or patch
        if patch is None:
            raise Refused(
                "The camera sees nothing of the object that is left to paint: move it, or look at another side."
            )
        filled = bleed(texture, done > 0, self._islands(), _MARGIN)
        touched = ((done > 0) | filled)[::-1, :, None]
        values = texture[::-1] * whole
        if before.dtype == np.uint8:
            values = np.rint(np.clip(values, 0, whole))
        after = before.copy()
        after[..., :3] = np.where(touched, values, before[..., :3]).astype(before.dtype)
        return (self.source.to_picture(after, before, seed=patch.seed, recipe=patch.recipe),)

    def _from_view(
        self,
        client: Client,
        ask: Ask,
        view: View,
        texture: Floats,
        done: Floats,
        *,
        share: tuple[int, int],
    ) -> Patch | None:
        """Paints one view into `texture` and notes it in `done`; None where it sees nothing that is left to paint."""
        both = np.concatenate([texture, done[..., None]], axis=2)
        seen_colors, inside, depth, seen = render(view, self.subject, both)
        left = np.where(inside, 1 - seen_colors[..., 3], 0)
        left = np.where(left > _SEEN, left, 0)
        if not left.any():
            return None
        texels = texels_seen(view, self.subject, seen, self.source.width, self.source.height)
        shown, patch = self._ask(client, ask, seen_colors[..., :3], left, depth=depth, share=share)
        got, gave = texels.sample(shown[0]), texels.sample(shown[1])
        flat, flat_done = texture.reshape(-1, 3), done.reshape(-1)
        old = flat[texels.place]
        # The view has fewer px than the texture has texels, perhaps: detail it could not show is kept where the model
        # changed nothing.
        kept = 1 - np.clip(np.abs(gave - got).max(axis=1) / _SAME, 0, 1)
        new = gave + kept[:, None] * (old - got)
        amount = texels.amount * (1 - flat_done[texels.place])
        flat[texels.place] = old + amount[:, None] * (new - old)
        flat_done[texels.place] += amount
        return patch

    def _ask(
        self,
        client: Client,
        ask: Ask,
        colors: Floats,
        left: Floats,
        *,
        depth: Floats,
        share: tuple[int, int],
    ) -> tuple[tuple[Floats, Floats], Patch]:
        """What the model was shown and what it gave, both like `colors`, and the patch."""
        from scumble.client import CanvasOptions, ControlImage, paste

        space = self.source.color_space
        if self.source.is_float:
            document: NDArray[Any] = np.ascontiguousarray(colors[::-1], np.float32)
            whole = 1.0
        else:
            document = np.ascontiguousarray(np.rint(np.clip(colors[::-1], 0, 1) * 255), np.uint8)
            whole = 255.0
        mask = np.where(left[::-1] > 0, np.uint8(255), np.uint8(0))
        control: tuple[ControlImage, ...] = ()
        if self.depth_control:
            bright = np.rint(depth[::-1] * 255).astype(np.uint8)[..., None]
            control = (ControlImage("depth", to_pixels(np.repeat(bright, 3, axis=2), "non_color")),)
        request = inpaint_of(
            client, document, mask, space, prompt=self.prompt, strength=self.strength,
            canvas=CanvasOptions(), seed=self.seed, options=self.options, control=control,
        )  # fmt: skip
        patch = ask(request, *share)[0]
        pasted = paste(to_pixels(document, space), patch).numpy()
        got, gave = document[::-1] / whole, pasted[::-1] / whole
        return (np.asarray(got, np.float64), np.asarray(gave, np.float64)), patch

    def _islands(self) -> NDArray[np.bool_]:
        """Where any face lies in the texture."""
        width, height = self.source.width, self.source.height
        uv = self.subject.uv[self.subject.target]
        found = np.zeros((height, width), bool)
        for square in tiles_of(uv):
            found |= covered((uv - np.array(square)) * np.array([width, height]), width, height)
        return found
